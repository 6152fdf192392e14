"""One record of a COCO keypoints json, in any of its published spellings, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genloc.data.names import plain
from genloc.skeleton import Skeleton

Box = tuple[float, float, float, float]

FAR = 1e7
"""Pixels: a place further away than any picture is wide is a mistake."""

NO_AREA = "annotations have no area: that of the box is taken"


@dataclass
class Annotation:
    """One record after reading.

    Args:
        id, image_id, category_id: integers, as in the file.
        keypoints: float32 [K, 3]: x, y, v in the skeleton's order; rows with v = 0 are all 0.
        labelled: how many v > 0 the file has, before cutting to the skeleton.
        box: x, y, width, height of what is cropped. The extent of the labelled keypoints where the
            file has no box, as tools that only set points write it. None where it has one without area:
            a mistake, of which no crop is made.
        region: the box for evaluation, which measures a labelled animal by keypoints and area. As
            `box`; where that is None the extent of the labelled keypoints, else what the file has.
        area: square pixels; that of the region where the file has none, 0 without both.
        crowd: a region of many, not an instance.
        remarks: what was read otherwise than written; plural, to be counted.
        reason: why it is left out of the instances, or None.
    """

    id: int
    image_id: int
    category_id: int
    keypoints: np.ndarray
    labelled: int
    box: Box | None
    region: Box | None
    area: float
    crowd: bool
    remarks: tuple[str, ...]
    reason: str | None = None

    @property
    def evaluated(self) -> bool:
        """Whether evaluation asks for it: labelled, and no crowd."""
        return not self.crowd and bool((self.keypoints[:, 2] > 0).any())


def read_annotation(
    record: dict[str, Any], id_: int, order: KeypointOrder, *, corners: bool
) -> Annotation:
    """Read one record.

    Args:
        record: an entry of `annotations`.
        id_: its id (not every file gives one).
        order: where the skeleton's keypoints are among the file's.
        corners: `bbox` is two corners instead of x, y, width, height.

    Raises:
        ValueError: ids are absent, or keypoints or bbox are not numbers of the expected shape.
    """
    where = f"{order.file}: annotation {id_}"
    if "image_id" not in record or "category_id" not in record:
        raise ValueError(f"{where} has no image_id or no category_id, it has {sorted(record)}")
    category, image = whole(record["category_id"]), whole(record["image_id"])
    if category is None or image is None:
        raise ValueError(
            f"{where}: image_id is {record['image_id']!r} and category_id {record['category_id']!r}, "
            "expected whole numbers"
        )
    keypoints, labelled, stated = order.take(record, category, where)
    remarks = []
    if category not in order.names:
        remarks.append(f"annotations have category_id {category}, which categories lack")
    if stated is not None and stated != labelled:
        remarks.append("annotations state another num_keypoints than they label: v decides")
    region = _box(record, corners, where)
    box = region if _has_area(region) else None
    crowd = bool(record.get("iscrowd"))
    visible = keypoints[:, 2] > 0
    if box is None and visible.any():
        region = _extent(keypoints[visible, :2])
        if not record.get("bbox"):
            box = region
            remarks.append("annotations have no box: the extent of their keypoints, 10 % wider")
        elif not crowd:
            remarks.append(
                "annotations have a box without area: evaluation takes the extent of their keypoints"
            )
    area = _area(record.get("area"), where)
    if not area > 0 and region is not None and _has_area(region):
        area = region[2] * region[3]
        remarks.append(NO_AREA)
    return Annotation(
        id=id_,
        image_id=image,
        category_id=category,
        keypoints=keypoints,
        labelled=labelled,
        box=box,
        region=region,
        area=area,
        crowd=crowd,
        remarks=tuple(remarks),
    )


def whole(value: Any) -> int | None:
    """A whole number that a file gives, also as `7.0` or `"7"`; None for anything else."""
    if isinstance(value, (bool, list, dict)) or value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 2**63 and (isinstance(value, str) or number == value) else None


def stated_size(image: dict[str, Any]) -> tuple[int, int] | None:
    """(width, height) of an image record, or None where they are not stated as whole numbers above 0."""
    width, height = whole(image.get("width")), whole(image.get("height"))
    return (width, height) if width and height and width > 0 and height > 0 else None


def is_outside(box: Box, size: tuple[int, int] | None) -> bool:
    """Whether nothing of a box is in its picture.

    Args:
        box: x, y, width, height.
        size: (width, height) of the picture; None where it is not known, and then nothing is outside.
    """
    if size is None:
        return False
    x, y, w, h = box
    return x + w <= 0 or y + h <= 0 or x >= size[0] or y >= size[1]


class KeypointOrder:
    """Where the skeleton's keypoints are among a file's, by name where the file has names.

    Args:
        skeleton: the K keypoints wanted.
        categories: `categories` of the file.
        file: named in errors.
        called: keypoint of the skeleton -> its name in the file; the others are not labelled. None:
            all of them, each by its own name.

    Raises:
        ValueError: `called` names a keypoint that the skeleton does not have.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        categories: list[dict[str, Any]],
        file: Path,
        called: Mapping[str, str] | None = None,
    ) -> None:
        self.skeleton = skeleton
        self.file = file
        for name in called or ():
            skeleton.index(name)
        self.called = {name: name for name in skeleton.keypoints} if called is None else called
        self.names = {int(c["id"]): [str(k) for k in c.get("keypoints") or []] for c in categories}
        self._rows: dict[tuple[int, int], np.ndarray] = {}

    def take(
        self, record: dict[str, Any], category: int, where: str
    ) -> tuple[np.ndarray, int, int | None]:
        """float32 [K, 3] of one record, its number of v > 0 before cutting to K, and the number
        that the record states.

        Raises:
            ValueError: the skeleton's keypoints are not all there, or a value is no keypoint.
        """
        k = self.skeleton.num_keypoints
        rows = triples(record.get("keypoints") or [], where)
        stated = record.get("num_keypoints")
        if len(rows) < k and record.get(f"keypoints_{k}"):
            # Human-Art keeps its 21 beside COCO's 17.
            rows = triples(record[f"keypoints_{k}"], where)
            stated = record.get(f"num_keypoints_{k}")
        if len(rows) == 0:
            return np.zeros((k, 3), np.float32), 0, stated
        key = (category, len(rows))
        if key not in self._rows:
            self._rows[key] = self._find(category, len(rows))
        v = rows[:, 2]
        known = (v == 0) | (v == 1) | (v == 2)  # np.isin takes ten times as long
        if not known.all():
            bad = v[~known][0]
            raise ValueError(
                f"{where}: v is {bad}, expected 0 (not labelled), 1 (hidden), 2 (seen)"
            )
        rows[v == 0] = 0  # some sets write -1 or null here; v alone says what is missing
        if not (np.abs(rows) < FAR).all():  # neither are NaN and infinity
            raise ValueError(f"{where}: a keypoint with v > 0 has no finite x, y in pixels")
        padded = np.vstack([rows, np.zeros((1, 3))])  # row -1: not labelled
        return padded[self._rows[key]].astype(np.float32), int((v > 0).sum()), stated

    def _find(self, category: int, count: int) -> np.ndarray:
        """Index of each skeleton keypoint among the `count` rows of a category's annotations; -1
        for those that are not asked for."""
        wanted = self.skeleton
        names = self.names.get(category)
        if names is None:  # Animal Kingdom: a category that is not listed; all listed ones agree
            known = {tuple(n) for n in self.names.values() if n}
            names = list(known.pop()) if len(known) == 1 else []
        if not names:
            if count != wanted.num_keypoints:
                raise ValueError(
                    f"{self.file}: category {category} names no keypoints and its annotations have "
                    f"{count}, but skeleton {wanted.name!r} has {wanted.num_keypoints}; give a "
                    "skeleton of that many (the path of the json itself, or a yaml)"
                )
            return np.array([i if n in self.called else -1 for i, n in enumerate(wanted.keypoints)])
        if count > len(names):
            raise ValueError(
                f"{self.file}: category {category} names {len(names)} keypoints but an annotation "
                f"has {count}; name them all, or cut the annotations"
            )
        names = [n.strip() for n in names[:count]]
        place = {plain(n): i for i, n in reversed(list(enumerate(names)))}
        place |= {n: i for i, n in enumerate(names)}  # its exact name comes first
        found = {n: place.get(c, place.get(plain(c), -1)) for n, c in self.called.items()}
        if -1 in found.values() or len(set(found.values())) != len(found):
            lacking = [self.called[n] for n, i in found.items() if i < 0]
            raise ValueError(
                f"{self.file}: skeleton {wanted.name!r} needs keypoints {lacking}, which category "
                f"{category} does not have; it has {names}. Use another skeleton: the path of the "
                "json itself takes its own"
            )
        return np.array([found.get(n, -1) for n in wanted.keypoints])


def triples(values: list[Any], where: str) -> np.ndarray:
    """Keypoints as float64 [n, 3], from x, y, v flat or nested. null becomes NaN.

    Raises:
        ValueError: names `where` the values are.
    """
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        shown = repr(values)[:60]
        raise ValueError(f"{where}: keypoints are not x, y, v numbers: {shown}...") from None
    if array.size % 3 or array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 3):
        raise ValueError(f"{where}: keypoints has {array.size} numbers, expected x, y, v triples")
    return array.reshape(-1, 3)


def _box(record: dict[str, Any], corners: bool, where: str) -> Box | None:
    """x, y, width, height as the file has them, None where they are not finite or far away."""
    values = record.get("bbox")
    if not values:
        return None
    if not isinstance(values, list) or len(values) != 4:
        raise ValueError(f"{where}: bbox is {repr(values)[:60]}, expected x, y, width, height")
    try:
        x, y, w, h = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: bbox is {values}, expected four numbers") from None
    if corners:
        w, h = w - x, h - y
    near = all(abs(value) < FAR for value in (x, y, w, h))  # false for NaN, too
    return (x, y, w, h) if near else None


def _has_area(box: Box | None) -> bool:
    return box is not None and box[2] > 0 and box[3] > 0


def _area(value: Any, where: str) -> float:
    """Square pixels, 0 where there is none."""
    try:
        area = float(value or 0)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: area is {repr(value)[:60]}, expected a number") from None
    return area if 0 < area < FAR**2 else 0.0


def _extent(points: np.ndarray) -> Box:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(1.0, 0.1 * float((high - low).max()))
    x, y = (float(v) - margin for v in low)
    return (x, y, float(high[0]) + margin - x, float(high[1]) + margin - y)
