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
    """

    annotation_id: int
    image_id: int
    species: str
    family: str


@dataclass(frozen=True)
class Source:
    """An annotation file as splits see it: nothing here depends on the order of its records.

    Args:
        file: its name. checksum: first 16 hex digits of its sha256.
        labels: those with a box and a labelled keypoint that are no crowds, by annotation id.
        keypoints: names that its categories give; empty where they give none, or differ.
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
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no annotation file {Path(path).absolute()}") from None
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
    images: dict[int, str] = (
        {int(i): str(name) for i, name in listed.items()}
        if isinstance(listed, dict)
        else {i["id"]: str(i.get("file_name") or "") for i in listed}
    )
    corners = isinstance(listed, dict)
    categories = {int(c["id"]): c for c in content["categories"]}
    records = content["annotations"]
    ids = [record.get("id") for record in records]
    if None in ids or len(set(ids)) != len(ids):
        ids = list(range(1, len(records) + 1))
    labels = []
    for id_, record in zip(ids, records, strict=True):
        if record["image_id"] not in images or record.get("iscrowd"):
            continue
        if not _is_labelled(record) or not _has_box(record, corners):
            continue
        category = int(record["category_id"])
        known = categories.get(category, {})
        labels.append(
            Label(
                int(id_),
                int(record["image_id"]),
                str(known.get("name", f"category {category}")),
                str(known.get("supercategory") or ""),
            )
        )
    if not labels:
        raise ValueError(f"{path}: no annotation has a box and a labelled keypoint")
    names = {tuple(c["keypoints"]) for c in categories.values() if c.get("keypoints")}
    keypoints = tuple(str(k).strip() for k in names.pop()) if len(names) == 1 else ()
    return Source(path.name, checksum, tuple(sorted(labels)), keypoints, images)


def _is_labelled(record: dict[str, Any]) -> bool:
    values = record.get("keypoints") or []
    if values and isinstance(values[0], list):
        return any(len(row) > 2 and row[2] and row[2] > 0 for row in values)
    return any(v and v > 0 for v in values[2::3])


def _has_box(record: dict[str, Any], corners: bool) -> bool:
    box = record.get("bbox")
    if not box:  # the extent of its keypoints will be the box
        return True
    x, y, w, h = (float(value) for value in box)
    if corners:
        w, h = w - x, h - y
    return w > 0 and h > 0 and math.isfinite(x + y + w + h)
