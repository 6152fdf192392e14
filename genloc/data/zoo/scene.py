"""Everything around the animals: ground, sky, clutter, light, and the finish of a style.

All functions draw on float32 RGB pictures in 0..1 and take every random choice from `rng`.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

GROUNDS: dict[str, tuple[tuple[float, float, float], float]] = {  # colour, roughness
    "grass": ((0.36, 0.47, 0.20), 0.5),
    "sand": ((0.78, 0.68, 0.48), 0.25),
    "snow": ((0.90, 0.92, 0.95), 0.15),
    "leaves": ((0.42, 0.31, 0.18), 0.7),
    "rock": ((0.48, 0.46, 0.44), 0.6),
    "mud": ((0.33, 0.26, 0.20), 0.4),
    "concrete": ((0.62, 0.62, 0.60), 0.15),
    "straw": ((0.74, 0.62, 0.33), 0.6),
}
WATERS: dict[str, tuple[tuple[float, float, float], float]] = {  # what fish swim before
    "sea": ((0.16, 0.36, 0.46), 0.35),
    "reef": ((0.42, 0.48, 0.42), 0.6),
    "pond": ((0.24, 0.32, 0.22), 0.45),
}
STYLES = ("photo", "cartoon", "sketch", "painting", "night")


@cache
def _grain() -> np.ndarray:
    """White noise [512,512,3] float32 with unit deviation, the same in every run."""
    return np.random.default_rng(3).standard_normal((512, 512, 3)).astype(np.float32)


def _noise(rng: np.random.Generator, size: int, cells: int, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise [size,size] in 0..1; `stretch` above 1 draws it out sideways."""
    low = rng.random((max(2, cells), max(2, int(cells / stretch)))).astype(np.float32)
    return cv2.resize(low, (size, size), interpolation=cv2.INTER_CUBIC)


def _jitter(
    rng: np.random.Generator, colour: tuple[float, float, float] | np.ndarray, spread: float
) -> np.ndarray:
    return np.clip(
        np.asarray(colour) * np.exp(rng.normal(0, spread)) + rng.normal(0, spread / 9, 3),
        0.02,
        0.98,
    )


def background(
    rng: np.random.Generator,
    size: int,
    ground: str,
    elevation: float,
    camouflage: np.ndarray | None,
    clutter: int,
) -> tuple[np.ndarray, float]:
    """Ground, what is behind it, and clutter.

    Args:
        elevation: of the camera, degrees; the horizon leaves the picture when it looks down.
        camouflage: a coat's colour [3] to paint the surroundings in, or None.
        clutter: number of limb-like things.

    Returns:
        Picture [size,size,3] and the horizon's row (may lie outside).
    """
    colour, rough = (GROUNDS | WATERS)[ground]
    base = _jitter(rng, camouflage if camouflage is not None else colour, 0.15).astype(np.float32)
    texture = (
        0.55 * _noise(rng, size, 6, 2.0)
        + 0.3 * _noise(rng, size, 20, 2.0)
        + 0.3 * _noise(rng, size, 90)
    )
    image = base * (0.72 + 0.5 * rough * (texture[..., None] - 0.55) * 1.6 + 0.25)
    horizon = size * (0.42 - elevation / 62 + rng.normal(0, 0.05))
    row = int(np.clip(horizon, 0, size))
    if row > 2:
        kind = rng.choice(["sky", "forest", "wall", "hills"], p=[0.3, 0.3, 0.15, 0.25])
        fade = np.linspace(0, 1, row, dtype=np.float32)[:, None, None]
        if kind == "wall":
            tone = _jitter(rng, (0.55, 0.5, 0.45), 0.35).astype(np.float32)
            back = tone * (0.9 + 0.1 * fade) * np.ones((1, size, 1), np.float32)
            for x in range(0, size, int(rng.integers(size // 12, size // 3))):
                back[:, x : x + max(1, size // 100)] *= 0.8
        else:
            top = _jitter(rng, (0.45, 0.62, 0.85), 0.25).astype(np.float32)
            low = _jitter(rng, (0.85, 0.86, 0.86), 0.12).astype(np.float32)
            back = (
                top * (1 - fade)
                + low * fade
                + 0.12 * (_noise(rng, size, 7, 1.5)[:row, :, None] - 0.5)
            )
            if kind == "forest":
                leaf = _jitter(rng, (0.20, 0.28, 0.13), 0.3).astype(np.float32)
                mass = np.clip((_noise(rng, size, 24)[:row, :, None] - 0.35) * 3 + fade, 0, 1)
                back = (
                    back * (1 - mass)
                    + leaf * (0.7 + 0.8 * _noise(rng, size, 60)[:row, :, None]) * mass
                )
            elif kind == "hills":
                ridge = row * (0.35 + 0.6 * _noise(rng, size, 5)[0])
                tone = _jitter(rng, (0.36, 0.42, 0.34), 0.3).astype(np.float32)
                mask = np.arange(row, dtype=np.float32)[:, None] > ridge[None]
                back[mask] = tone
        image[:row] = back
    for _ in range(clutter):
        _stick(rng, image, None, camouflage, behind=True, horizon=row)
    for _ in range(int(rng.integers(0, 4))):
        _stone(rng, image, None, row)
    return image, horizon


def _stick(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray | None,
    camouflage: np.ndarray | None,
    *,
    behind: bool,
    horizon: int,
) -> None:
    """A branch, post or trunk: bent, tapered and shaded much as a limb is."""
    size = image.shape[0]
    colour = _jitter(
        rng, camouflage if camouflage is not None and rng.random() < 0.6 else (0.38, 0.3, 0.2), 0.35
    )
    width = size * rng.uniform(0.008, 0.05 if behind else 0.035)
    angle = rng.normal(-np.pi / 2, 0.5) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
    y = rng.uniform(max(horizon, 0.35 * size), size) if behind else rng.uniform(0.6, 1.1) * size
    p = np.array([rng.uniform(0, size), y])
    for _ in range(int(rng.integers(1, 4))):
        step = size * rng.uniform(0.10, 0.28)
        q = p + step * np.array([np.cos(angle), np.sin(angle)])
        a, b = tuple(int(v) for v in p), tuple(int(v) for v in q)
        side = np.array([-np.sin(angle), np.cos(angle)]) * width * 0.22
        a2, b2 = tuple(int(v) for v in p - side), tuple(int(v) for v in q - side)
        w = max(1, int(width))
        cv2.line(image, a, b, (colour * 0.62).tolist(), w, cv2.LINE_AA)
        cv2.line(image, a2, b2, colour.tolist(), max(1, int(w * 0.55)), cv2.LINE_AA)
        if mask is not None:
            cv2.line(mask, a, b, 255, w, cv2.LINE_AA)
        p, angle, width = q, angle + rng.normal(0, 0.6), width * 0.8


def _stone(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray | None, horizon: int
) -> None:
    size = image.shape[0]
    colour = _jitter(rng, (0.45, 0.43, 0.40), 0.3)
    axes = (int(size * rng.uniform(0.02, 0.09)), int(size * rng.uniform(0.015, 0.06)))
    y = int(rng.uniform(min(max(horizon, 0), size - 1), size))
    at = (int(rng.uniform(0, size)), y)
    cv2.ellipse(
        image, at, axes, rng.normal(0, 12), 0, 360, (colour * 0.65).tolist(), -1, cv2.LINE_AA
    )
    up = (at[0] - axes[0] // 6, at[1] - axes[1] // 4)
    inner = (max(1, int(axes[0] * 0.75)), max(1, int(axes[1] * 0.7)))
    cv2.ellipse(image, up, inner, 0, 0, 360, colour.tolist(), -1, cv2.LINE_AA)
    if mask is not None:
        cv2.ellipse(mask, at, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)


def foreground(rng: np.random.Generator, image: np.ndarray, ground: str, things: int) -> np.ndarray:
    """Draw objects in front, in place; returns where they are [size,size] uint8 (255 inside)."""
    size = image.shape[0]
    mask = np.zeros((size, size), np.uint8)
    for _ in range(things):
        kind = rng.random()
        if kind < 0.45:
            _stick(rng, image, mask, None, behind=False, horizon=size)
        elif kind < 0.65:
            _stone(rng, image, mask, int(0.55 * size))
        else:  # a tuft of blades
            x, y = rng.uniform(0, size), rng.uniform(0.6, 1.05) * size
            tone = _jitter(
                rng,
                GROUNDS[ground][0] if ground in ("grass", "straw", "leaves") else (0.3, 0.4, 0.2),
                0.2,
            )
            for _ in range(int(rng.integers(8, 26))):
                a = (int(x + rng.normal(0, 0.03 * size)), int(y))
                b = (
                    int(a[0] + rng.normal(0, 0.03 * size)),
                    int(y - abs(rng.normal(0.09, 0.05)) * size),
                )
                shade = (tone * rng.uniform(0.6, 1.15)).tolist()
                wide = max(1, size // 130)
                cv2.line(image, a, b, shade, wide, cv2.LINE_AA)
                cv2.line(mask, a, b, 255, wide, cv2.LINE_AA)
    return mask


def finish(
    rng: np.random.Generator, image: np.ndarray, style: str, edges: np.ndarray
) -> np.ndarray:
    """The look of a style, then the camera's faults; returns uint8 RGB [size,size,3].

    Args:
        edges: outlines of the animals' parts [size,size] float32 0..1, for drawn styles.
    """
    size = image.shape[0]
    image = np.clip(image, 0, 1)
    if style == "cartoon":
        image = cv2.bilateralFilter(image.astype(np.float32), 7, 0.15, 5)
        image = np.round(image * 7) / 7
        image = image * (1 - 0.9 * edges[..., None])
    elif style == "painting":
        image = (
            cv2.medianBlur((image * 255).astype(np.uint8), 5 if size < 200 else 7).astype(
                np.float32
            )
            / 255
        )
        canvas = _noise(rng, size, size // 3)[..., None] - 0.5
        tint = rng.normal(0, 0.05, 3).astype(np.float32)
        image = np.clip((image - 0.5) * 1.25 + 0.5 + 0.14 * canvas + tint, 0, 1)
    elif style == "sketch":
        grey = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
        soft = cv2.GaussianBlur(grey, (0, 0), 1.2)
        lines = np.clip(np.abs(cv2.Laplacian(soft, cv2.CV_32F, ksize=3)) * 5, 0, 1)
        paper = 0.94 + 0.04 * _noise(rng, size, 40) - 0.22 * (1 - soft) ** 2
        ink = np.clip(paper - 0.75 * np.maximum(edges, lines), 0, 1)
        image = ink[..., None] * _jitter(rng, (0.97, 0.95, 0.9), 0.05).astype(np.float32)
    elif style == "night":
        grey = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
        yy, xx = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
        lamp = np.exp(-3.5 * ((xx - rng.normal(0, 0.12)) ** 2 + (yy - rng.normal(0, 0.1)) ** 2))
        image = (np.clip((grey * 0.9 + 0.02) * lamp * 1.15, 0, 1)[..., None]) * np.array(
            [0.92, 1, 0.94], np.float32
        )
    contrast, brightness = rng.uniform(0.78, 1.15), rng.normal(0, 0.04)
    image = (image - 0.5) * contrast + 0.5 + brightness
    image = np.clip(image, 0, 1) ** float(np.exp(rng.normal(0, 0.15)))
    if style in ("photo", "painting"):
        image = image * np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
        if rng.random() < 0.06:
            image = image.mean(-1, keepdims=True) * np.ones(3, np.float32)
    if rng.random() < 0.12:
        image = cv2.GaussianBlur(image, (0, 0), size / 256 * rng.uniform(0.6, 1.6))
    if rng.random() < 0.4:
        bank = _grain()
        y, x = rng.integers(0, bank.shape[0], 2)
        rows = np.arange(y, y + size) % bank.shape[0]
        columns = np.arange(x, x + size) % bank.shape[1]
        image = image + np.float32(abs(rng.normal(0, 0.025))) * bank[rows][:, columns]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
