"""Boxes that a detector found, in the place of a set's own."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from genloc.data.coco import CocoKeypoints, Instance


def with_detections(
    source: CocoKeypoints, path: str | Path, *, min_score: float = 0.0
) -> CocoKeypoints:
    """The same set with one instance for each detected box.

    The truth it is scored against stays as it is; the instances have no labels and are numbered by their place in
    the file (`annotation_id`), by which `box_scores` holds the detector's score.

    Args:
        source: the labelled set; detections on other images are left out and counted in its notes.
        path: COCO detections: a json list of image_id, category_id, bbox (x, y, width, height), score. For people
            usually COCO_val2017_detections_AP_H_56_person.json.
        min_score: leave out boxes below it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no list of detections, or none is on the set's images.
    """
    path = Path(path)
    records = _read(path)
    images = {image["id"]: image for image in source.ground_truth()["images"]}
    boxed = copy.copy(source)
    boxed.notes = list(source.notes)
    boxed.box_scores = {}
    boxed.instances = []
    seen = {"on other images": 0, f"scored below {min_score}": 0, "without area": 0}
    for number, record in enumerate(records, 1):
        where = f"{path}: detection {number}"
        image, category, box, score = _values(record, where)
        if image not in images:
            seen["on other images"] += 1
        elif score < min_score:
            seen[f"scored below {min_score}"] += 1
        elif not (box[2] > 0 and box[3] > 0):
            seen["without area"] += 1
        else:
            boxed.box_scores[number] = score
            boxed.instances.append(_instance(source, images[image], number, category, box))
    if not boxed.instances:
        raise ValueError(
            f"{path}: none of its {len(records)} detections is on an image of {source.annotations} "
            f"({', '.join(f'{n} {what}' for what, n in seen.items() if n) or 'it is empty'})"
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
    width, height = image.get("width"), image.get("height")
    return Instance(
        annotation_id=number,
        image_id=image["id"],
        category_id=category,
        file=(source.images or Path()) / image["file_name"],
        box=box,
        keypoints=np.zeros((source.skeleton.num_keypoints, 3), np.float32),
        area=box[2] * box[3],
        image_size=(int(width), int(height)) if width and height else None,
    )
