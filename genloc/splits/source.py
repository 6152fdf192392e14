"""What a split needs to know of an annotation file: who is on which picture, and the file's checksum."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True, order=True)
class Label:
    """One annotated animal or person that can be trained and scored on.

    Args:
        annotation_id, image_id: as in the file; annotations without ids, or with repeated ones, are numbered
            from 1 by their place (as `genloc.data.coco.CocoKeypoints` does).
        species: name of its category.
        family: `supercategory` of its category; empty where the file has none.
        labelled: places of its labelled keypoints in the file's order, from 0.
    """

    annotation_id: int
    image_id: int
    species: str
    family: str
    labelled: tuple[int, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Source:
    """An annotation file as splits see it: nothing here depends on the order of its records.

    Args:
        file: its name. checksum: first 16 hex digits of its sha256.
        labels: those with a box in their picture and a labelled keypoint that are no crowds, by annotation id.
        keypoints: names that its categories give, in the file's order; empty where they give none, or differ.
        file_names: image id -> file of the picture, where the file says it.
    """

    file: str
    checksum: str
    labels: tuple[Label, ...]
    keypoints: tuple[str, ...] = ()
    file_names: Mapping[int, str] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def images_of(self) -> dict[str, list[int]]:
        """Species -> ids of the images that show it, ascending; species in alphabetical order."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for label in self.labels:
            found[label.species].add(label.image_id)
        return {name: sorted(found[name]) for name in sorted(found)}

    @cached_property
    def family_of(self) -> dict[str, str]:
        """Species -> family."""
        return {label.species: label.family for label in self.labels}


def checksum_of(path: str | Path) -> str:
    """First 16 hex digits of a file's sha256.

    Raises:
        FileNotFoundError: no such file.
        IsADirectoryError: it is a folder.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no annotation file {Path(path).absolute()}") from None
    except IsADirectoryError:
        raise IsADirectoryError(
            f"{Path(path).absolute()} is a folder; name one of its annotation files"
        ) from None
    return hashlib.sha256(content).hexdigest()[:16]


def read_source(path: str | Path) -> Source:
    """Read a COCO keypoints json (or Animal Pose's own form of it).

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not in the format, or nothing in it is labelled.
    """
    path = Path(path)
    checksum = checksum_of(path)
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    wanted = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(key in content for key in wanted):
        raise ValueError(
            f"{path} is not in COCO keypoints format: expected an object with {', '.join(wanted)}"
        )
    listed = content["images"]
    # Animal Pose's own form has an object from id to file name.
    corners = isinstance(listed, dict)
    if corners:
        listed = [{"id": i, "file_name": name} for i, name in listed.items()]
    images: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for i, image in enumerate(_records(listed, f"{path}: images")):
        number = _number(image, "id", f"{path}: images[{i}]")
        images.setdefault(number, str(image.get("file_name") or ""))
        width, height = _whole(image.get("width")) or 0, _whole(image.get("height")) or 0
        if width > 0 and height > 0:
            sizes.setdefault(number, (width, height))
    categories: dict[int, dict[str, Any]] = {}
    for i, category in enumerate(_records(content["categories"], f"{path}: categories")):
        categories[_number(category, "id", f"{path}: categories[{i}]")] = category
    records = _records(content["annotations"], f"{path}: annotations")
    ids = [_whole(record.get("id")) for record in records]
    if None in ids or len(set(ids)) != len(ids):
        ids = list(range(1, len(records) + 1))
    labels = []
    for id_, record in zip(ids, records, strict=True):
        assert id_ is not None
        where = f"{path}: annotation {id_}"
        image_id = _number(record, "image_id", where)
        category_id = _number(record, "category_id", where)
        if image_id not in images or record.get("iscrowd"):
            continue
        labelled = _labelled(record, where)
        if not labelled or not _has_box(record, corners, sizes.get(image_id), where):
            continue
        known = categories.get(category_id, {})
        labels.append(
            Label(
                id_,
                image_id,
                str(known.get("name", f"category {category_id}")),
                str(known.get("supercategory") or ""),
                labelled,
            )
        )
    if not labels:
        raise ValueError(f"{path}: no annotation has a box and a labelled keypoint")
    names = {tuple(map(str, c["keypoints"])) for c in categories.values() if c.get("keypoints")}
    keypoints = tuple(k.strip() for k in names.pop()) if len(names) == 1 else ()
    return Source(path.name, checksum, tuple(sorted(labels)), keypoints, images)


def _whole(value: Any) -> int | None:
    """A whole number, also as `7.0` or `"7"`, as the reader of the data takes it; None for anything else."""
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


def _number(record: Mapping[str, Any], key: str, where: str) -> int:
    found = _whole(record.get(key))
    if found is None:
        raise ValueError(f"{where}: {key} is {record.get(key)!r}, expected a whole number")
    return found


def _records(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is a {type(value).__name__}, expected a list of objects")
    for i, record in enumerate(value):
        if not isinstance(record, dict):
            raise ValueError(f"{where}[{i}] is {repr(record)[:40]}, expected an object")
    return value


def _labelled(record: dict[str, Any], where: str) -> tuple[int, ...]:
    """Places of the keypoints with v > 0."""
    values = record.get("keypoints") or []
    try:
        if values and isinstance(values[0], list):
            states = [row[2] for row in values]
        else:
            states = list(values[2::3])
        return tuple(i for i, v in enumerate(states) if v and v > 0)
    except (TypeError, KeyError, IndexError):
        raise ValueError(
            f"{where}: keypoints are not x, y, v numbers: {repr(values)[:60]}"
        ) from None


def _has_box(
    record: dict[str, Any], corners: bool, size: tuple[int, int] | None, where: str
) -> bool:
    """Whether a crop can be made of it, as the reader of the data sees it."""
    box = record.get("bbox")
    if not box:  # the extent of its keypoints will be the box
        return True
    try:
        x, y, w, h = (float(value) for value in box)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: bbox is {repr(box)[:60]}, expected four numbers") from None
    if corners:
        w, h = w - x, h - y
    if not (w > 0 and h > 0 and math.isfinite(x + y + w + h)):
        return False
    return size is None or (x + w > 0 and y + h > 0 and x < size[0] and y < size[1])
