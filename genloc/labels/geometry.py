"""What is wrong or odd in the places of keypoints and boxes.

Letters: N annotations, K keypoints.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genloc.labels.findings import Findings
from genloc.labels.records import Group

SLACK = 1.0  # pixels: rounding and the two pixel conventions are no mistakes
TINY = 16.0  # pixels, longer side of a box: below it a crop shows next to nothing


def check_geometry(group: Group, images: dict[int, dict[str, Any]], findings: Findings) -> None:
    """Add what is found to `findings`. Fast: arrays, no loop over annotations."""
    ids, rows = group.ids, group.keypoints
    xy, v = rows[..., :2], rows[..., 2]
    known = (v == 0) | (v == 1) | (v == 2)
    labelled = v > 0
    finite = np.isfinite(xy).all(axis=2)

    def where(mask: np.ndarray) -> list[int]:
        return ids[mask].tolist()

    findings.error("v is not 0, 1 or 2", "annotation", where((~known).any(axis=1)))
    findings.error(
        "a keypoint with v > 0 has no finite x, y",
        "annotation",
        where((labelled & ~finite).any(axis=1)),
    )
    used = labelled & finite
    zero = (xy == 0).all(axis=2)
    findings.odd(
        "v > 0 at x = y = 0, which mostly means not labelled", "annotation",
        where((used & zero).any(axis=1)),
    )  # fmt: skip
    beside = known & (v == 0) & finite & ~zero & (xy > 0).all(axis=2)
    findings.odd(
        "v = 0 beside x, y that are not 0: counts as not labelled", "annotation",
        where(beside.any(axis=1)),
    )  # fmt: skip
    findings.odd("no labelled keypoint: left out", "annotation", where(~used.any(axis=1)))
    if len(v) and used.any() and not (v == 2).any():
        findings.odd("v is 1 (hidden) for every labelled keypoint of the file", "file", ["-"])
    several = used.sum(axis=1) > 1
    spread = np.where(used[..., None], xy, np.nan)
    with np.errstate(all="ignore"):
        extent = np.where(
            several[:, None],
            np.fmax.reduce(spread, axis=1) - np.fmin.reduce(spread, axis=1),
            np.nan,
        )
    findings.odd("all keypoints in one place", "annotation", where(extent.max(axis=1) < 1))
    findings.odd(
        "two keypoints in one place", "annotation",
        where(_coincide(xy, used) & ~(extent.max(axis=1) < 1)),
    )  # fmt: skip
    _check_boxes(group, images, used, findings)
    _check_twins(group, used, findings)


def _coincide(xy: np.ndarray, used: np.ndarray) -> np.ndarray:
    """bool [N]: two labelled keypoints less than a hundredth of a pixel apart."""
    places = np.where(used, np.nan_to_num(xy[..., 0]) + 1j * np.nan_to_num(xy[..., 1]), np.nan)
    places = np.sort_complex(np.round(places, 2))
    with np.errstate(invalid="ignore"):
        return (np.abs(np.diff(places, axis=1)) == 0).any(axis=1)


def _check_boxes(
    group: Group, images: dict[int, dict[str, Any]], used: np.ndarray, findings: Findings
) -> None:
    ids, boxes = group.ids, group.boxes
    xy = group.keypoints[..., :2]
    size = np.array([_size(images[i]) for i in group.image_ids.tolist()]).reshape(-1, 2)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    with np.errstate(invalid="ignore"):
        away = good & ((high <= 0) | (low >= size)).any(axis=1)
        beyond = good & ~away & ((low < -SLACK) | (high > size + SLACK)).any(axis=1)
        out = used & ((xy < -SLACK) | (xy > size[:, None] - 1 + SLACK)).any(axis=2)
        unboxed = used & good[:, None]
        unboxed &= ((xy < low[:, None] - SLACK) | (xy > high[:, None] + SLACK)).any(axis=2)
        tiny = good & (boxes[:, 2:].max(axis=1) < TINY)
        area, whole = group.areas, boxes[:, 2] * boxes[:, 3]
        large = good & (area > 1.01 * whole + 1)
        nothing = ~np.isnan(area) & ~(area > 0)
    findings.error("its box lies outside its image", "annotation", ids[away].tolist())
    findings.odd("its box reaches beyond its image", "annotation", ids[beyond].tolist())
    for mask, what in (
        (out, "keypoints outside its image"),
        (unboxed, "keypoints outside its box"),
    ):
        total = f"{int(mask.sum())} in all"
        findings.odd(what, "annotation", ids[mask.any(axis=1)].tolist(), total)
    findings.odd(
        f"its box is tiny: longer side under {TINY:g} pixels", "annotation", ids[tiny].tolist()
    )
    findings.odd(
        "without an area: that of its box is taken", "annotation", ids[np.isnan(area)].tolist()
    )
    findings.odd(
        "its area is not above 0: that of its box is taken", "annotation", ids[nothing].tolist()
    )
    findings.odd("its area is larger than its box", "annotation", ids[large].tolist())


def _size(image: dict[str, Any]) -> tuple[float, float]:
    try:
        width, height = float(image["width"]), float(image["height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return np.nan, np.nan
    return (width, height) if width > 0 and height > 0 else (np.nan, np.nan)


def _check_twins(group: Group, used: np.ndarray, findings: Findings) -> None:
    """The same animal labelled twice: the same keypoints in the same image, to a tenth of a pixel."""
    rows = np.where(used[..., None], np.nan_to_num(group.keypoints), 0)
    n = len(rows)
    key = np.column_stack([group.image_ids, np.round(rows.reshape(n, -1), 1)])
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    again = (first[inverse.ravel()] != np.arange(n)) & used.any(axis=1)
    findings.odd(
        "the same keypoints in the same image as another: labelled twice?", "annotation",
        group.ids[again].tolist(),
    )  # fmt: skip
