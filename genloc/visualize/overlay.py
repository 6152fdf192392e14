"""Keypoints on pictures: of one instance, or of all instances of a picture or video frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genloc.keypoints import Keypoints
from genloc.skeleton import Side, Skeleton
from genloc.visualize.heat import draw_instance_heatmaps
from genloc.visualize.marks import (
    COLOURS,
    MISS,
    Colour,
    as_visibility,
    checked_picture,
    checked_rows,
    cross,
    dot,
    frame,
    halo,
    line,
    words,
)


def draw_keypoints(
    image: np.ndarray,
    xy: np.ndarray,
    *,
    skeleton: Skeleton,
    scores: np.ndarray | None = None,
    visible: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    flagged: np.ndarray | None = None,
    radius: float | None = None,
) -> np.ndarray:
    """Draw one instance's keypoints and edges on a copy of a picture.

    Args:
        image: uint8 [H, W, 3] RGB.
        xy: [K, 2], picture pixels. Rows that are not finite are left out.
        skeleton: gives edges and sides of the K rows.
        scores: [K] in 0 to 1; the less sure a keypoint, the more it lets the picture through.
        visible: [K]; 0 or False is left out, 1 is a ring (labelled but hidden), 2 or True a disc.
        truth: [K, 3] x, y, v; where v > 0 a cross, joined by a red line to a prediction that lies
            more than one dot away.
        flagged: bool [K]; a red circle around those that are shown and true.
        radius: of a dot in pixels; about 1 % of the picture's side by default.

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        ValueError: a shape does not fit the skeleton, or the picture is not uint8 RGB.
    """
    k = skeleton.num_keypoints
    canvas = checked_picture(image).copy()
    xy = checked_rows("xy", xy, (k, 2))
    shown = np.full(k, 2) if visible is None else as_visibility(visible, k)
    sure = np.ones(k) if scores is None else checked_rows("scores", scores, (k,))
    r = max(2.0, 0.0115 * max(canvas.shape[:2])) if radius is None else float(radius)
    crosses = None if truth is None else checked_rows("truth", truth, (k, 3))
    _draw(canvas, xy, shown, sure, skeleton, r, crosses)
    if flagged is not None:
        if np.shape(flagged) != (k,):
            raise ValueError(f"flagged has shape {list(np.shape(flagged))}, expected [{k}]")
        for i in np.flatnonzero(np.asarray(flagged, bool) & (shown > 0) & np.isfinite(xy).all(1)):
            halo(canvas, xy[i], MISS, r)
    return canvas


def draw_instances(
    image: np.ndarray,
    found: Keypoints,
    *,
    boxes: bool = False,
    labels: Sequence[str] | None = None,
    min_score: float = 0.0,
    crop_size: int | None = None,
    radius: float | None = None,
) -> np.ndarray:
    """Draw all instances found in a picture or video frame on a copy of it.

    Dots and lines are sized by each instance's box, so that a small animal in a large picture is
    not hidden by them. The surest instance lies on top.

    Args:
        image: uint8 [H, W, 3] RGB, the whole picture.
        found: N instances in pixels of this picture.
        boxes: draw the box of each instance, too.
        labels: N short lines, each written at its box, such as "dog 0.87".
        min_score: keypoints with a lower score are left out.
        crop_size: S, side in pixels of the crops that `found.heatmaps` were made from; given, the
            heatmaps are laid over the darkened picture.
        radius: of a dot in pixels, for all instances.

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        ValueError: the picture is not uint8 RGB; labels are not N; or there are no heatmaps.
    """
    if labels is not None and len(labels) != len(found):
        raise ValueError(f"labels holds {len(labels)}, expected one for each of {len(found)}")
    if crop_size is None:
        canvas = checked_picture(image).copy()
    else:
        canvas = draw_instance_heatmaps(image, found, crop_size)
    order = np.argsort(found.instance_scores(), kind="stable").tolist()
    sizes = [radius or instance_radius(box, canvas.shape) for box in found.boxes]
    for i in order if boxes else ():
        frame(canvas, found.boxes[i], COLOURS["centre"], max(1.0, 0.4 * sizes[i]))
    for i in order:
        scores = found.scores[i].astype(np.float64)
        shown = np.where(scores >= min_score, 2, 0)
        _draw(canvas, found.xy[i].astype(np.float64), shown, scores, found.skeleton, sizes[i])
    if labels is not None:
        for i in order:
            place = found.boxes[i, :2] + (0, -1.5 * sizes[i] - 2)
            words(canvas, labels[i], place, COLOURS["centre"], max(12.0, 2.8 * sizes[i]))
    return canvas


def draw_box(
    image: np.ndarray, box: Sequence[float] | np.ndarray, *, label: str = "", colour: Colour = MISS
) -> np.ndarray:
    """Draw a box [4] (x, y, width, height) with a line of words on a copy of a picture.

    Raises:
        ValueError: the picture is not uint8 RGB, or the box not four finite numbers.
    """
    canvas = checked_picture(image).copy()
    box = checked_rows("box", np.asarray(box), (4,))
    if not np.isfinite(box).all():
        raise ValueError(f"box is {box.tolist()}, expected four finite numbers")
    r = max(2.0, 0.0115 * max(canvas.shape[:2]))
    frame(canvas, box, colour, max(1.0, 0.6 * r))
    if label:
        words(canvas, label, box[:2] - (0, r + 2), colour, max(12.0, 3 * r))
    return canvas


def instance_radius(box: np.ndarray, shape: tuple[int, ...]) -> float:
    """Radius in pixels of the dots of an instance with that box in a picture of shape [H, W, ...]."""
    most = max(3.0, 0.006 * max(shape[:2]))
    return float(np.clip(0.0115 * max(box[2:4]), 2.0, most))


def _draw(canvas: np.ndarray, xy: np.ndarray, shown: np.ndarray, sure: np.ndarray,
          skeleton: Skeleton, r: float, truth: np.ndarray | None = None) -> None:  # fmt: skip
    """Edges, misses, crosses and dots of one instance, in place."""
    shown = np.where(np.isfinite(xy).all(axis=1), shown, 0)
    xy = np.where(shown[:, None] > 0, xy, 0.0)
    sure = np.where(np.isfinite(sure), np.clip(sure, 0, 1), 0.0)
    opacity = 0.3 + 0.7 * np.sqrt(sure)
    for a, b in skeleton.edges:
        if shown[a] and shown[b]:
            colour = COLOURS[_edge_side(skeleton, a, b)]
            line(canvas, xy[a], xy[b], colour, 0.6 * r, opacity=0.85 * min(opacity[a], opacity[b]))
    if truth is not None:
        for i in np.flatnonzero((truth[:, 2] > 0) & (shown > 0)):
            if np.hypot(*(truth[i, :2] - xy[i])) > r:
                line(canvas, truth[i, :2], xy[i], MISS, 0.45 * r)
        for i in np.flatnonzero(truth[:, 2] > 0):
            cross(canvas, truth[i, :2], COLOURS[skeleton.sides[i]], r)
    for i in np.flatnonzero(shown):
        colour = COLOURS[skeleton.sides[i]]
        dot(canvas, xy[i], colour, r, ring=shown[i] == 1, opacity=opacity[i])


def _edge_side(skeleton: Skeleton, a: int, b: int) -> Side:
    """An edge from the middle out to one side has that side's colour."""
    sides = {skeleton.sides[a], skeleton.sides[b]} - {"centre"}
    return sides.pop() if len(sides) == 1 else "centre"
