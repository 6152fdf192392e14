"""Keypoints and heatmaps on one picture."""

from __future__ import annotations

import cv2
import numpy as np

from genloc.skeleton import Side, Skeleton
from genloc.visualize.marks import (
    COLOURS,
    MISS,
    as_visibility,
    checked_picture,
    checked_rows,
    cross,
    dot,
    line,
)


def draw_keypoints(
    image: np.ndarray,
    xy: np.ndarray,
    *,
    skeleton: Skeleton,
    scores: np.ndarray | None = None,
    visible: np.ndarray | None = None,
    truth: np.ndarray | None = None,
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
    shown = np.where(np.isfinite(xy).all(1), shown, 0)
    xy = np.where(shown[:, None] > 0, xy, 0.0)
    sure = np.ones(k) if scores is None else np.clip(checked_rows("scores", scores, (k,)), 0, 1)
    sure = np.where(np.isfinite(sure), sure, 0.0)
    opacity = 0.3 + 0.7 * np.sqrt(sure)
    r = max(2.0, 0.0115 * max(canvas.shape[:2])) if radius is None else float(radius)

    for a, b in skeleton.edges:
        if shown[a] and shown[b]:
            colour = COLOURS[_edge_side(skeleton, a, b)]
            line(canvas, xy[a], xy[b], colour, 0.6 * r, opacity=0.85 * min(opacity[a], opacity[b]))
    if truth is not None:
        truth = checked_rows("truth", truth, (k, 3))
        for i in np.flatnonzero((truth[:, 2] > 0) & (shown > 0)):
            if np.hypot(*(truth[i, :2] - xy[i])) > r:
                line(canvas, truth[i, :2], xy[i], MISS, 0.45 * r)
    if truth is not None:
        for i in np.flatnonzero(truth[:, 2] > 0):
            cross(canvas, truth[i, :2], COLOURS[skeleton.sides[i]], r)
    for i in np.flatnonzero(shown):
        colour = COLOURS[skeleton.sides[i]]
        dot(canvas, xy[i], colour, r, ring=shown[i] == 1, opacity=opacity[i])
    return canvas


def draw_heatmaps(image: np.ndarray, maps: np.ndarray, *, skeleton: Skeleton) -> np.ndarray:
    """Lay all keypoints' maps over the darkened picture, coloured by side of the body.

    Every map is scaled to its own greatest value: the sheet shows where, the scores how surely.

    Args:
        image: uint8 [H, W, 3] RGB, the crop that the maps were made from.
        maps: [K, h, w], at least 0.
        skeleton: gives the sides.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: maps do not fit the skeleton.
    """
    image = checked_picture(image)
    maps = np.asarray(maps, np.float32)
    if maps.ndim != 3 or len(maps) != skeleton.num_keypoints:
        raise ValueError(
            f"maps has shape {list(maps.shape)}, expected [{skeleton.num_keypoints}, h, w] "
            f"for the skeleton {skeleton.name!r}"
        )
    canvas = 0.5 * _grey(image)
    for side in ("centre", "left", "right"):
        rows = [i for i, s in enumerate(skeleton.sides) if s == side]
        if not rows:
            continue
        strength = np.max([_scaled(maps[i], image.shape[:2]) for i in rows], axis=0)[..., None]
        glow = np.asarray(COLOURS[side], np.float32) + 90 * strength**4  # the peak turns white
        canvas = canvas * (1 - strength) + np.minimum(glow, 255) * strength
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def draw_map(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Lay one map [h, w] over the darkened picture, black to yellow, scaled to its own peak."""
    image = checked_picture(image)
    strength = _scaled(np.asarray(heatmap, np.float32), image.shape[:2])
    level = np.clip(255 * strength, 0, 255).astype(np.uint8)
    colour = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    keep = (1 - strength[..., None]) ** 2
    return np.clip(0.42 * _grey(image) * keep + colour * (1 - 0.55 * keep), 0, 255).astype(np.uint8)


def _edge_side(skeleton: Skeleton, a: int, b: int) -> Side:
    """An edge from the middle out to one side has that side's colour."""
    sides = {skeleton.sides[a], skeleton.sides[b]} - {"centre"}
    return sides.pop() if len(sides) == 1 else "centre"


def _grey(image: np.ndarray) -> np.ndarray:
    """float32 [H, W, 3] without colour."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2).astype(np.float32)


def _scaled(heatmap: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 [H, W] in 0 to 1. Cell centres stay where they are: cv2 aligns the outer edges."""
    top = float(np.nanmax(heatmap, initial=0.0))
    if top <= 0:
        return np.zeros(size, np.float32)
    even = np.nan_to_num(heatmap.astype(np.float32) / top)
    return np.clip(cv2.resize(even, size[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
