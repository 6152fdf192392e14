"""Boxes that a detector found, in the place of a set's own."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from genloc.data.annotation import stated_size
from genloc.data.coco import CocoKeypoints, Instance


def with_detections(
    source: CocoKeypoints, path: str | Path, *, min_score: float = 0.0
) -> CocoKeypoints:
    """The same set with one instance for each detected box.

    The truth it is scored against stays as it is; the instances have no labels and are numbered by their place in
    the file (`annotation_id`), by which `box_scores` holds the detector's score.

    Args:
        source: the labelled set; detections on other images, and of categories that it does not list, are left
            out and counted in its notes.
        path: COCO detections: a json list of image_id, category_id, bbox (x, y, width, height), score. For people
            usually COCO_val2017_detections_AP_H_56_person.json.
        min_score: leave out boxes below it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no list of detections, none is on the set's images, or all are of one category where
            the set has several: AP is the mean over species.
    """
    path = Path(path)
    records = _read(path)
    truth = source.ground_truth()
    images = {image["id"]: image for image in truth["images"]}
    listed = {category["id"] for category in truth["categories"]}
    boxed = copy.copy(source)
    boxed.notes = list(source.notes)
    boxed.box_scores = {}
    boxed.instances = []
    other = "of categories that the annotations do not list"
    seen = {"on other images": 0, other: 0, f"scored below {min_score}": 0, "without area": 0}
    for number, record in enumerate(records, 1):
        where = f"{path}: detection {number}"
        image, category, box, score = _values(record, where)
        if image not in images:
            seen["on other images"] += 1
        elif category not in listed:
            seen[other] += 1
        elif score < min_score:
            seen[f"scored below {min_score}"] += 1
        elif not (box[2] > 0 and box[3] > 0):
            seen["without area"] += 1
        else:
            boxed.box_scores[number] = score
            boxed.instances.append(_instance(source, images[image], number, category, box))
    if not boxed.instances and seen[other]:
        raise ValueError(
            f"{path}: its detections on images of {source.annotations} are all of other categories than the "
            f"{len(listed)} listed there ({sorted(listed)[:5]} ...); give each box the category of its animal"
        )
    if not boxed.instances:
        raise ValueError(
            f"{path}: none of its {len(records)} detections is on an image of {source.annotations} "
            f"({', '.join(f'{n} {what}' for what, n in seen.items() if n) or 'it is empty'})"
        )
    found = {i.category_id for i in boxed.instances}
    of_image = {i.image_id for i in boxed.instances}
    there = {a["category_id"] for a in truth["annotations"] if a["image_id"] in of_image}
    if len(found) == 1 and there - found:
        raise ValueError(
            f"{path}: all its boxes there are of category {found.pop()}, the animals of {sorted(there)}. AP is the "
            "mean over species, so each box needs its animal's; with one for all of AP-10K it falls to about 0.05"
        )
    boxed.notes.append(f"boxes are {len(boxed.instances)} detections of {path.name}")
    boxed.notes += [f"{n} detections {what} are left out" for what, n in seen.items() if n]
    return boxed


def _read(path: Path) -> list[Any]:
    try:
        records = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"detections: no file {path.absolute()}; leave it out to take the boxes of the annotations. For COCO and "
            "Human-Art the usual files are published with HRNet and Human-Art, named *_detections_AP_H_56_person.json"
        ) from None
    except ValueError as error:
        raise ValueError(f"detections: {path} is not a json file: {error}") from None
    if not isinstance(records, list):
        raise ValueError(
            f"detections: {path} is not a COCO detections file: expected a list of image_id, category_id, bbox, "
            "score" + (" (this looks like annotations)" if "annotations" in records else "")
        )
    return records


def _values(record: Any, where: str) -> tuple[int, int, tuple[float, float, float, float], float]:
    try:
        x, y, w, h = (float(value) for value in record["bbox"])
        image, category = int(record["image_id"]), int(record["category_id"])
        score = float(record["score"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{where} lacks one of image_id, category_id, bbox (4 numbers) and score: {str(record)[:120]}"
        ) from None
    if not math.isfinite(x + y + w + h + score):
        raise ValueError(f"{where} holds a number that is not finite")
    return image, category, (x, y, w, h), score


def _instance(
    source: CocoKeypoints,
    image: dict[str, Any],
    number: int,
    category: int,
    box: tuple[float, float, float, float],
) -> Instance:
    return Instance(
        annotation_id=number,
        image_id=image["id"],
        category_id=category,
        file=(source.images or Path()) / image["file_name"],
        box=box,
        keypoints=np.zeros((source.skeleton.num_keypoints, 3), np.float32),
        area=box[2] * box[3],
        image_size=stated_size(image),
    )
