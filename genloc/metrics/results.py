"""What a record of a COCO keypoint results file must be, so that pycocotools never sees another."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from genloc.skeleton import Skeleton

_WANTED = ("image_id", "category_id", "keypoints", "score")


def check_result(result: Any, place: int, skeleton: Skeleton) -> str:
    """Refuse what is no keypoint result, whatever else it is.

    Args:
        result: a record; `annotation_id`, `bbox` and `area` may be absent or null.
        place: of the record among all, from 1, for messages.
        skeleton: K keypoints.

    Returns:
        what messages call the record.

    Raises:
        ValueError: something is lacking, of another type, of another length or not finite.
    """
    where = f"result {place}"
    if not isinstance(result, dict):
        raise ValueError(
            f"{where} is {_shown(result)}, expected an object with {', '.join(_WANTED)}"
        )
    lacking = [key for key in _WANTED if result.get(key) is None]
    if lacking:
        raise ValueError(f"{where} lacks {lacking}: it is no keypoint result, {list(result)}")
    for key in ("image_id", "category_id", "annotation_id", "score", "area"):
        value = result.get(key)
        if value is not None and not _is_number(value):
            where += "" if key == "image_id" else f" (image {result['image_id']})"
            raise ValueError(f"{where}: {key} is {_shown(value)}, expected a number")
    where += f" (image {result['image_id']})"
    length = 3 * skeleton.num_keypoints
    keypoints = _listed(where, "keypoints", result["keypoints"], length)
    if len(keypoints) != length:
        raise ValueError(
            f"{where} has {len(keypoints)} numbers in keypoints, expected {length} "
            f"(x, y, score of the {skeleton.num_keypoints} of {skeleton.name!r})"
        )
    box = _listed(where, "bbox", result["bbox"], 4) if result.get("bbox") else ()
    if len(box) not in (0, 4):
        raise ValueError(f"{where}: bbox is {_shown(box)}, expected a list of 4 numbers")
    values = [*keypoints, *box, result["score"], result.get("area") or 0]
    if not _are_finite(values):
        raise ValueError(f"{where} holds a number that is not finite")
    return where


def _listed(where: str, key: str, values: Any, count: int) -> Any:
    """A list of numbers, as it is."""
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{where}: {key} is {_shown(values)}, expected a list of {count} numbers")
    # All that json has; one by one takes ten times as long.
    if set(map(type, values)) <= {int, float}:
        return values
    for i, value in enumerate(values):
        if not _is_number(value):
            raise ValueError(f"{where}: {key}[{i}] is {_shown(value)}, expected a number")
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _are_finite(values: list[Any]) -> bool:
    try:
        return bool(np.isfinite(np.array(values, float)).all())
    except OverflowError:  # an integer that no float holds
        return False


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else f"{shown[:56]}..."
