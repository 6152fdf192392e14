"""What `genloc test` and `validate` keep for `genloc report`: labels, and the worst and median crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from genloc.data.coco import Instance, read_image
from genloc.data.transforms import square_crop
from genloc.metrics.matching import match_boxes
from genloc.metrics.mean_pose import mean_pose
from genloc.metrics.oks import oks
from genloc.report.record import Detected, Record, Shown, choose
from genloc.skeleton import Skeleton
from genloc.training.data import KeypointData


class Evaluated(NamedTuple):
    """Labelled animals, the boxes whose crops were looked at and their results, side by side; and how
    many results there are in all."""

    animals: list[Instance]
    boxes: list[Instance]
    results: list[dict[str, Any]]
    total: int


def evaluated(data: KeypointData, name: str, records: Sequence[dict[str, Any]]) -> Evaluated:
    """Labelled animals, boxes and results of the set `name`; of a detector's boxes those with an animal."""
    source = data.sources[name]
    asked = {instance.annotation_id: instance for instance in source.instances}
    if source.box_scores is None:
        same = [asked[record["annotation_id"]] for record in records]
        return Evaluated(same, same, list(records), len(records))
    boxes = [asked[record["detection"]] for record in records]
    pairs = match_boxes(_places(boxes), _places(source.labelled))
    rows = sorted(pairs)
    return Evaluated(
        [source.labelled[n] for n in rows],
        [boxes[pairs[n]] for n in rows],
        [records[pairs[n]] for n in rows],
        len(records),
    )


def crops_to_show(of: Evaluated, skeleton: Skeleton) -> list[int]:
    """Ids of the boxes whose crops the report shows, chosen from their results.

    Args:
        of: what `evaluated` gives. skeleton: with the sigmas that the numbers are scored by.
    """
    animals, boxes, found, _ = of
    if not animals:
        return []
    xy = np.array([r["keypoints"] for r in found], np.float64).reshape(len(found), -1, 3)
    truth = np.array([i.keypoints for i in animals])
    area = np.array([i.area for i in animals])
    similar = oks(xy, truth, area, skeleton.sigmas)
    worst, median = choose(similar, (truth[..., 2] > 0).sum(axis=1))
    return [boxes[i].annotation_id for i in (*worst, *median)]


def record_of(
    data: KeypointData,
    name: str,
    of: Evaluated,
    maps: Mapping[int, np.ndarray],
    skeleton: Skeleton,
) -> Record | None:
    """The record of an evaluation; None where no box of a detector holds a labelled animal.

    Args:
        data: with the set `name` read.
        name: "val" or "test".
        of: what `evaluated` gives for it.
        maps: id of a box -> [K, h, w], for the crops of `crops_to_show`.
        skeleton: with the sigmas that the numbers are scored by, so that the report agrees with them.

    Raises:
        OSError: a picture is no longer there.
    """
    source, trained_on = data.sources[name], data.training_source()
    animals, boxes, _, total = of
    if not animals:
        return None

    def column(read: Callable[[Instance], Any]) -> np.ndarray:
        return np.array([read(instance) for instance in animals])

    return Record(
        skeleton=skeleton,
        species={i.category_id: source.species(i.category_id) for i in animals},
        annotation_id=column(lambda i: i.annotation_id),
        image_id=column(lambda i: i.image_id),
        category_id=column(lambda i: i.category_id),
        area=column(lambda i: i.area),
        boxes=column(lambda i: i.box),
        keypoints=column(lambda i: i.keypoints),
        mean_pose=mean_pose((trained_on or source).labelled),
        mean_pose_of="these annotations" if trained_on is None else "the training set",
        shown=tuple(
            _shown(data, animal.annotation_id, box, maps[box.annotation_id])
            for animal, box in zip(animals, boxes, strict=True)
            if box.annotation_id in maps
        ),
        detected=None
        if source.box_scores is None
        else Detected(
            np.array([box.annotation_id for box in boxes]),
            animals=len(source.labelled),
            boxes=total,
        ),
    )


def _places(instances: Sequence[Instance]) -> list[tuple[int, int, Sequence[float]]]:
    return [(i.image_id, i.category_id, i.box) for i in instances]


def _shown(data: KeypointData, annotation_id: int, box: Instance, maps: np.ndarray) -> Shown:
    crop = square_crop(box.box, data.crop_size, padding=data.padding)
    picture = crop.image(read_image(box.file, size=box.image_size))
    return Shown(annotation_id, picture, crop.inverse, maps)
