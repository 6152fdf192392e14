"""Dots, lines and crosses that read on any picture, and their colours."""

from __future__ import annotations

import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
    _stroke(canvas, a, b, width / 2, colour, opacity, rim=_rim(width), rim_opacity=0.75)


def dot(canvas: np.ndarray, at: np.ndarray, colour: Colour, radius: float, *, ring: bool = False,
        opacity: float = 1.0) -> None:  # fmt: skip
    """Draw in place a disc, or a ring where the point is known but hidden."""
    _stroke(canvas, at, at, radius, colour, opacity, rim=_rim(radius))
    if ring:
        _stroke(canvas, at, at, 0.5 * radius, OUTLINE, opacity)


def halo(canvas: np.ndarray, at: np.ndarray, colour: Colour, radius: float) -> None:
    """Draw in place a circle around a dot of that radius: look here."""
    inner, outer = 2.2 * radius, 2.8 * radius + 1
    _stroke(canvas, at, at, outer, colour, 1.0, rim=_rim(0.6 * radius), hollow=inner)


def cross(canvas: np.ndarray, at: np.ndarray, colour: Colour, radius: float) -> None:
    """Draw in place an upright cross whose arms are 1.9 radii long."""
    arm, width = 1.9 * radius, max(1.0, 0.36 * radius)
    ends = [(np.array(at) - d, np.array(at) + d) for d in ((arm, 0.0), (0.0, arm))]
    for a, b in ends:
        _stroke(canvas, a, b, width / 2 + _rim(width), OUTLINE, 0.9)
    for a, b in ends:
        _stroke(canvas, a, b, width / 2, colour, 1.0)


def frame(canvas: np.ndarray, box: np.ndarray, colour: Colour, width: float) -> None:
    """Draw in place the border of a box [4]: x, y, width, height."""
    x, y, w, h = (float(v) for v in box)
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
    for radius, ink in ((width / 2 + _rim(width), OUTLINE), (width / 2, colour)):
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            _stroke(canvas, a, b, radius, ink, 1.0)


def words(canvas: np.ndarray, text: str, at: np.ndarray, colour: Colour, height: float) -> None:
    """Write a line in place, letters of `height` pixels, above and to the right of `at` [2].

    It is moved into the picture where it would leave it, and cut where it is longer than that.
    """
    pen, face = max(1, round(height / 9)), font(max(6, round(height)))
    left, top, right, bottom = (round(v) for v in face.getbbox(text, stroke_width=pen))
    size = np.minimum((right - left, bottom - top), canvas.shape[1::-1])
    x, y = np.clip(np.asarray(at) - (0, size[1]), 0, canvas.shape[1::-1] - size).astype(int)
    part = canvas[y : y + size[1], x : x + size[0]]
    picture = Image.fromarray(part)
    ImageDraw.Draw(picture).text(
        (-left, -top), text, colour, face, stroke_width=pen, stroke_fill=OUTLINE
    )
    part[...] = np.asarray(picture)


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own face, so many pixels tall."""
    face = ImageFont.load_default(size)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which captions are written with")
    return face


def _rim(width: float) -> float:
    return max(0.8, 0.28 * width)


def _stroke(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float, colour: Colour,
            opacity: float, *, rim: float = 0.0, rim_opacity: float = 0.9,
            hollow: float = 0.0) -> None:  # fmt: skip
    """Blend in the points within `radius` of the segment ab, on a dark rim.

    Looks at a narrow band along the segment only, so that a long line across a large picture costs
    little more than a short one.

    Args:
        canvas: uint8 [H, W, 3], changed in place.
        a, b: [2]. radius: half the width of a line, or a disc's where a is b.
        opacity: of the colour; the rim has `rim_opacity` of it.
        rim: pixels that the rim goes beyond the radius; 0 for none.
        hollow: points nearer than this are left alone.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    along = b - a
    u = int(abs(along[1]) > abs(along[0]))  # the axis that the band follows: 0 is x
    v = 1 - u
    limit, whole = canvas.shape[1::-1], radius + rim
    low = max(0, math.floor(min(a[u], b[u]) - whole - 1))
    high = min(limit[u], math.ceil(max(a[u], b[u]) + whole + 2))
    if high <= low:
        return
    steps = np.arange(low, high, dtype=np.float64)[:, None]
    slope = along[v] / along[u] if along[u] else 0.0
    reach = math.ceil(1.42 * (whole + 0.5)) + 1  # the band lies at most 45 degrees to its axis
    across = np.rint(a[v] + slope * (steps - a[u])) + np.arange(-reach, reach + 1)
    inside = (across >= 0) & (across < limit[v])
    at = np.empty((2, int(inside.sum())))
    at[u], at[v] = np.broadcast_to(steps, across.shape)[inside], across[inside]

    x, y = at[0] - a[0], at[1] - a[1]
    t = np.clip((along[0] * x + along[1] * y) / max(float(along @ along), 1e-9), 0, 1)
    distance = np.hypot(x - along[0] * t, y - along[1] * t)
    seen = distance < whole + 0.5
    columns, rows = at[:, seen].astype(np.intp)
    distance = distance[seen]

    mixed = canvas[rows, columns].astype(np.float32)
    for ink, r, strength in (
        (OUTLINE, rim and whole, rim_opacity * opacity),
        (colour, radius, opacity),
    ):
        if r:
            cover = np.clip(r + 0.5 - distance, 0, 1)
            if hollow:
                cover *= np.clip(distance - hollow + (r - radius) + 0.5, 0, 1)
            alpha = (strength * cover).astype(np.float32)[:, None]
            mixed += (np.asarray(ink, np.float32) - mixed) * alpha
    canvas[rows, columns] = (mixed + 0.5).astype(np.uint8)


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
