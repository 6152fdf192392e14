"""The records of a COCO keypoints json as plain arrays, with all that is wrong in their form.

Nothing here stops at the first mistake: what cannot be read is found, said and left out.

Letters: N annotations, K keypoints.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genloc.data.annotation import whole
from genloc.labels.findings import Findings


@dataclass
class Group:
    """Annotations with the same keypoints, in the order of the file.

    Args:
        names: K names; `keypoint_0`... where the file gives none.
        edges: pairs of indices from 0.
        ids: int64 [N], annotation ids, numbered by place where the file's are absent or repeat.
        image_ids: int64 [N].
        keypoints: float64 [N, K, 3]; rows with v = 0 as in the file, values that are no numbers NaN.
        boxes: float64 [N, 4], x, y, width, height; NaN where there is none.
        areas: float64 [N]; NaN where there is none.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    ids: np.ndarray
    image_ids: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray


@dataclass
class Records:
    """A json as read.

    Args:
        images: id -> record, the first of each id.
        groups: see `Group`; crowds are left out.
        crowds: how many are.
    """

    images: dict[int, dict[str, Any]]
    groups: list[Group]
    annotations: int = 0
    crowds: int = 0
    corners: bool = False
    without: set[int] = field(default_factory=set)


def read_records(content: dict[str, Any], findings: Findings) -> Records:
    """Read all records of `read_coco_json`'s object, adding what is wrong to `findings`."""
    images = _images(content["images"], findings)
    categories = _categories(content["categories"], findings)
    corners = isinstance(content["images"], dict)
    rows = content["annotations"]
    if not isinstance(rows, list):
        findings.error(f"annotations is {type(rows).__name__}, expected a list", "file", ["-"])
        rows = []
    ids = _ids(rows, findings)
    for key in ("id", "image_id", "category_id"):
        text = [
            i
            for i, r in zip(ids, rows, strict=True)
            if isinstance(r, dict) and _is_text(r.get(key))
        ]
        findings.odd(f"its {key} is text: read as the number it says", "annotation", text)
    found: dict[tuple[int, int], list[tuple[int, dict[str, Any], np.ndarray]]] = {}
    unlisted, unnamed, counts, crowds = [], [], [], 0
    for id_, row in zip(ids, rows, strict=True):
        if not isinstance(row, dict):
            findings.error("not an object of values", "annotation", [id_])
            continue
        image = whole(row.get("image_id"))
        if image not in images:
            findings.error("image_id is not among images", "annotation", [id_])
            continue
        if row.get("iscrowd"):
            crowds += 1
            continue
        keypoints = _keypoints(row, id_, findings)
        if keypoints is None:
            continue
        category = -1 if (known := whole(row.get("category_id"))) is None else known
        if category not in categories:
            unlisted.append(id_)
        names = categories.get(category, ((), ()))[0]
        if names and len(keypoints) not in (0, len(names)):
            other = row.get(f"keypoints_{len(names)}")
            flat = np.array(_numbers(other, 3 * len(names))).reshape(-1, 3)
            if np.isfinite(flat).all():  # Human-Art's 21 beside COCO's 17
                keypoints = flat
            else:
                counts.append(id_)
        elif not names and len(keypoints) and category in categories:
            unnamed.append(category)
        if len(keypoints) == 0:
            keypoints = np.zeros((len(names) or 1, 3))
        found.setdefault((category, len(keypoints)), []).append(
            (id_, {**row, "image_id": image}, keypoints)
        )
    findings.odd("its category_id is not among categories", "annotation", unlisted)
    findings.error("another number of keypoints than its category names", "annotation", counts)
    findings.odd("its category names no keypoints", "category", dict.fromkeys(unnamed))
    groups = _groups(found, categories, corners, findings)
    with_rows = {whole(r.get("image_id")) for r in rows if isinstance(r, dict)}
    return Records(
        images=images,
        groups=groups,
        annotations=len(rows),
        crowds=crowds,
        corners=corners,
        without={i for i in images if i not in with_rows},
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and whole(value) is not None


def _whole(value: Any) -> bool:
    # COCO's tools keep ids in 64 bits.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _images(listed: Any, findings: Findings) -> dict[int, dict[str, Any]]:
    if isinstance(listed, dict):
        findings.odd(
            "images is an object from id to file name and boxes are two corners, as Animal Pose has it",
            "file", ["-"],
        )  # fmt: skip
        listed = [{"id": whole(i), "file_name": n} for i, n in listed.items()]
    if not isinstance(listed, list):
        findings.error(f"images is {type(listed).__name__}, expected a list", "file", ["-"])
        return {}
    images: dict[int, dict[str, Any]] = {}
    names: Counter[str] = Counter()
    for place, image in enumerate(listed, 1):
        ok = isinstance(image, dict) and _is_name(image.get("file_name"))
        id_ = whole(image.get("id")) if ok else None
        if id_ is None or isinstance(image["id"], str):
            findings.error(
                "not an object with a whole id and a file_name (places in the list)",
                "image",
                [place],
            )
        if id_ is None:
            continue
        if id_ in images:
            findings.error("its id is used before: only the first counts", "image", [id_])
        else:  # also where the id is text, which the reader takes
            images[id_] = image
            names[image["file_name"]] += 1
            if names[image["file_name"]] > 1:
                findings.odd("its file is listed before under another id", "image", [id_])
    return images


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _categories(
    listed: Any, findings: Findings
) -> dict[Any, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]]:
    """Category id -> its keypoint names and edges."""
    if not isinstance(listed, list) or not all(isinstance(c, dict) for c in listed):
        findings.error("categories is not a list of objects", "file", ["-"])
        return {}
    found: dict[Any, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]] = {}
    for place, category in enumerate(listed, 1):
        id_ = category.get("id")
        if not _whole(id_):
            findings.error("without a whole id (places in the list)", "category", [place])
            continue
        if id_ in found:
            findings.error("its id is used before", "category", [id_])
            continue
        given = category.get("keypoints") or []
        names = tuple(str(n).strip() for n in given) if isinstance(given, list) else ()
        if len(set(names)) != len(names):
            findings.error("names a keypoint twice", "category", [id_])
        found[id_] = (names, _edges(category.get("skeleton") or [], names, id_, findings))
        if not category.get("name"):
            findings.odd("without a name", "category", [id_])
    if len({names for names, _ in found.values() if names}) > 1:
        findings.error(
            "their keypoints differ from each other's: a run has one skeleton", "category", found
        )
    return found


def _edges(
    pairs: Any, names: tuple[str, ...], id_: int, findings: Findings
) -> tuple[tuple[int, int], ...]:
    good = isinstance(pairs, list) and all(
        isinstance(p, list) and len(p) == 2 and all(_whole(i) for i in p) for p in pairs
    )
    flat = [i for p in pairs for i in p] if good else []
    first = 0 if 0 in flat else 1
    if not good or any(not 0 <= i - first < len(names) for i in flat):
        findings.odd("skeleton names keypoints that are not there", "category", [id_])
        return ()
    if flat and first == 0:
        findings.odd("skeleton counts keypoints from 0, COCO from 1", "category", [id_])
    return tuple((a - first, b - first) for a, b in pairs)


def _ids(rows: list[Any], findings: Findings) -> list[int]:
    ids = [whole(row.get("id")) if isinstance(row, dict) else None for row in rows]
    absent = [place for place, i in enumerate(ids, 1) if i is None]
    times = Counter(i for i in ids if i is not None)
    repeated: list[int | str] = [i for i, n in times.items() if n > 1 for _ in range(n)]
    if absent:
        findings.odd("without a whole id: numbered by their places", "annotation", absent)
    findings.error("share their id with others: numbered by their places", "annotation", repeated)
    if absent or repeated:
        return list(range(1, len(rows) + 1))
    return [i for i in ids if i is not None]


def _keypoints(row: dict[str, Any], id_: int, findings: Findings) -> np.ndarray | None:
    """float64 [K, 3], or None where there is nothing that could be keypoints."""
    values = row.get("keypoints") or []
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        findings.error("keypoints are not numbers x, y, v", "annotation", [id_])
        return None
    if array.size % 3 or array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 3):
        findings.error("keypoints are not triples of x, y, v", "annotation", [id_])
        return None
    array = array.reshape(-1, 3)
    stated = row.get("num_keypoints")
    if stated is not None and stated != int((array[:, 2] > 0).sum()):
        findings.odd("num_keypoints differs from the count of v > 0", "annotation", [id_])
    return array


def _numbers(value: Any, count: int) -> list[float]:
    """`count` floats, NaN where the value is something else."""
    good = isinstance(value, (list, tuple)) and len(value) == count
    try:
        return [float(v) for v in value] if good else [math.nan] * count
    except (TypeError, ValueError, OverflowError):
        return [math.nan] * count


def _groups(
    found: dict[tuple[int, int], list[tuple[int, dict[str, Any], np.ndarray]]],
    categories: dict[Any, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]],
    corners: bool,
    findings: Findings,
) -> list[Group]:
    merged: dict[tuple[tuple[str, ...], int], list[tuple[int, dict[str, Any], np.ndarray]]] = {}
    edges: dict[tuple[tuple[str, ...], int], tuple[tuple[int, int], ...]] = {}
    listed = {names for names, _ in categories.values() if names}
    for (category, count), rows in found.items():
        names, lines = categories.get(category, ((), ()))
        if not names and len(listed) == 1:  # a category that is not listed
            names = next(iter(listed))
        if len(names) != count:
            names, lines = tuple(f"keypoint_{i}" for i in range(count)), ()
        merged.setdefault((names, count), []).extend(rows)
        edges[names, count] = edges.get((names, count)) or lines
    groups = []
    for key, rows in merged.items():
        boxes = np.array([_numbers(row.get("bbox"), 4) for _, row, _ in rows])
        if corners:
            boxes[:, 2:] -= boxes[:, :2]
        areas = [
            _numbers([row["area"]], 1)[0] if row.get("area") is not None else math.nan
            for _, row, _ in rows
        ]
        absent = [i for i, row, _ in rows if not row.get("bbox")]
        findings.odd("without a box: made of its keypoints", "annotation", absent)
        broken = [
            i
            for (i, row, _), box in zip(rows, boxes, strict=True)
            if row.get("bbox") and not (np.isfinite(box).all() and (box[2:] > 0).all())
        ]
        findings.error("its box is not four numbers or has no area: left out", "annotation", broken)
        groups.append(
            Group(
                names=key[0],
                edges=edges[key],
                ids=np.array([i for i, _, _ in rows], np.int64),
                image_ids=np.array([row["image_id"] for _, row, _ in rows], np.int64),
                keypoints=np.stack([k for _, _, k in rows]),
                boxes=boxes,
                areas=np.array(areas, float),
            )
        )
    return groups
