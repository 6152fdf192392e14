"""What `genloc test` and `validate` keep for `genloc report`: labels, and the worst and median crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from genloc.data.coco import Instance, read_image
from genloc.data.transforms import square_crop
from genloc.metrics.mean_pose import mean_pose
from genloc.metrics.oks import oks
from genloc.report.record import Record, Shown, choose
from genloc.training.data import KeypointData


def crops_to_show(data: KeypointData, name: str, records: Sequence[dict[str, Any]]) -> list[int]:
    """Annotation ids of the crops that the report shows, chosen from the results of the set `name`."""
    instances = _evaluated(data, name, records)
    found = np.array([r["keypoints"] for r in records], np.float64).reshape(len(instances), -1, 3)
    truth = np.array([i.keypoints for i in instances])
    area = np.array([i.area for i in instances])
    similar = oks(found, truth, area, data.skeleton.sigmas)
    worst, median = choose(similar, (truth[..., 2] > 0).sum(axis=1))
    return [instances[i].annotation_id for i in (*worst, *median)]


def record_of(
    data: KeypointData,
    name: str,
    records: Sequence[dict[str, Any]],
    maps: Mapping[int, np.ndarray],
) -> Record:
    """The record of an evaluation.

    Args:
        data: with the set `name` read.
        name: "val" or "test".
        records: COCO results, one for each evaluated annotation.
        maps: annotation id -> [K, h, w], for the crops of `crops_to_show`.

    Raises:
        OSError: a picture is no longer there.
    """
    source, trained_on = data.sources[name], data.training_source()
    instances = _evaluated(data, name, records)

    def column(of: Callable[[Instance], Any]) -> np.ndarray:
        return np.array([of(instance) for instance in instances])

    return Record(
        skeleton=data.skeleton,
        species={i.category_id: source.species(i.category_id) for i in instances},
        annotation_id=column(lambda i: i.annotation_id),
        image_id=column(lambda i: i.image_id),
        category_id=column(lambda i: i.category_id),
        area=column(lambda i: i.area),
        boxes=column(lambda i: i.box),
        keypoints=column(lambda i: i.keypoints),
        mean_pose=mean_pose((trained_on or source).instances),
        mean_pose_of="these annotations" if trained_on is None else "the training set",
        shown=tuple(_shown(data, i, maps[i.annotation_id]) for i in instances if i.annotation_id in maps),
    )  # fmt: skip


def _evaluated(data: KeypointData, name: str, records: Sequence[dict[str, Any]]) -> list[Instance]:
    by_id = {instance.annotation_id: instance for instance in data.sources[name].instances}
    return [by_id[record["annotation_id"]] for record in records]


def _shown(data: KeypointData, instance: Instance, maps: np.ndarray) -> Shown:
    crop = square_crop(instance.box, data.crop_size, padding=data.padding)
    picture = crop.image(read_image(instance.file, size=instance.image_size))
    return Shown(instance.annotation_id, picture, crop.inverse, maps)
