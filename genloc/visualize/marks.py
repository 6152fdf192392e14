"""Dots, lines and crosses that read on any picture, and their colours."""

from __future__ import annotations

import numpy as np

from genloc.skeleton import Side

Colour = tuple[int, int, int]

COLOURS: dict[Side, Colour] = {
    "left": (255, 146, 20),
    "right": (28, 146, 255),
    "centre": (250, 250, 250),
}
"""RGB of each side of the body. Orange and blue are told apart in every common colour blindness."""

OUTLINE: Colour = (16, 18, 24)
MISS: Colour = (255, 45, 85)


def line(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, colour: Colour, width: float,
         opacity: float = 1.0) -> None:  # fmt: skip
    """Draw in place a line of `width` pixels from a to b, both [2]."""
    _blend(canvas, _capsule(canvas.shape, a, b, width / 2 + _rim(width)), OUTLINE, 0.75 * opacity)
    _blend(canvas, _capsule(canvas.shape, a, b, width / 2), colour, opacity)


def dot(canvas: np.ndarray, at: np.ndarray, colour: Colour, radius: float, *, ring: bool = False,
        opacity: float = 1.0) -> None:  # fmt: skip
    """Draw in place a disc, or a ring where the point is known but hidden."""
    _blend(canvas, _capsule(canvas.shape, at, at, radius + _rim(radius)), OUTLINE, 0.9 * opacity)
    disc = _capsule(canvas.shape, at, at, radius)
    if ring:
        _blend(canvas, disc, colour, opacity)
        disc, colour = _capsule(canvas.shape, at, at, 0.5 * radius), OUTLINE
    _blend(canvas, disc, colour, opacity)


def cross(canvas: np.ndarray, at: np.ndarray, colour: Colour, radius: float) -> None:
    """Draw in place an upright cross whose arms are 1.9 radii long."""
    arm, width = 1.9 * radius, max(1.0, 0.36 * radius)
    ends = [(np.array(at) - d, np.array(at) + d) for d in ((arm, 0.0), (0.0, arm))]
    for a, b in ends:
        _blend(canvas, _capsule(canvas.shape, a, b, width / 2 + _rim(width)), OUTLINE, 0.9)
    for a, b in ends:
        _blend(canvas, _capsule(canvas.shape, a, b, width / 2), colour, 1.0)


def _rim(width: float) -> float:
    return max(0.8, 0.28 * width)


def _capsule(
    shape: tuple[int, ...], a: np.ndarray, b: np.ndarray, radius: float
) -> tuple[slice, slice, np.ndarray]:
    """Coverage in 0 to 1 of the points within `radius` of the segment ab, and where it lies."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low = np.floor(np.minimum(a, b) - radius - 1)
    high = np.ceil(np.maximum(a, b) + radius + 2)
    x0, y0 = np.clip(low, 0, (shape[1], shape[0])).astype(int)
    x1, y1 = np.clip(high, 0, (shape[1], shape[0])).astype(int)
    y, x = np.mgrid[y0:y1, x0:x1]
    along = b - a
    t = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-9)
    t = np.clip(t, 0, 1)
    distance = np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1])
    return slice(y0, y1), slice(x0, x1), np.clip(radius + 0.5 - distance, 0, 1)


def _blend(
    canvas: np.ndarray, area: tuple[slice, slice, np.ndarray], colour: Colour, opacity: float
) -> None:
    rows, columns, coverage = area
    if not coverage.size:
        return
    alpha = (opacity * coverage)[..., None]
    mixed = canvas[rows, columns] * (1 - alpha) + np.asarray(colour, np.float64) * alpha
    canvas[rows, columns] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def checked_picture(image: np.ndarray) -> np.ndarray:
    """The picture, or ValueError where it is not uint8 [H, W, 3]."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image is {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3] RGB"
        )
    return image


def checked_rows(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float64 of that shape, or ValueError naming the argument."""
    values = np.asarray(values, np.float64)
    if values.shape != shape:
        raise ValueError(f"{name} has shape {list(values.shape)}, expected {list(shape)}")
    return values


def as_visibility(visible: np.ndarray, k: int) -> np.ndarray:
    """[K] of 0, 1 or 2 from COCO's v or from booleans (True is 2)."""
    visible = np.asarray(visible)
    if visible.shape != (k,):
        raise ValueError(f"visible has shape {list(visible.shape)}, expected [{k}]")
    return 2 * visible.astype(int) if visible.dtype == bool else visible.astype(int)
