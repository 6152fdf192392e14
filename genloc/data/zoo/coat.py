"""Colours of one individual's coat, and the colour of every pixel of its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from genloc.data.zoo.animal import Animal
from genloc.data.zoo.capsules import BELLY, COAT, DARK, EAR, EYE, FACE, HORN, LEG, MANE, PAW, TAIL
from genloc.data.zoo.render import Buffers, Camera

PATTERNS = (
    "plain", "countershade", "spots", "stripes", "patches", "saddle", "socks", "mask", "backstripe",
    "rings", "panda",
)  # fmt: skip


@cache
def _noise_volume() -> np.ndarray:
    """Smooth periodic noise [32,32,32] float32 in 0..1, the same in every picture."""
    rng = np.random.default_rng(7)
    volume = np.zeros((32, 32, 32), np.float32)
    for cells, weight in ((4, 1.0), (8, 0.6), (16, 0.3)):
        coarse = rng.random((cells, cells, cells)).astype(np.float32)
        index = np.arange(32) * cells / 32
        low, t = index.astype(int) % cells, (index % 1).astype(np.float32)
        high = (low + 1) % cells
        for axis in range(3):
            shape = [1, 1, 1]
            shape[axis] = 32
            w = t.reshape(shape)
            coarse = np.take(coarse, low, axis) * (1 - w) + np.take(coarse, high, axis) * w
        volume += weight * coarse
    volume -= volume.min()
    return volume / volume.max()


@cache
def _spot_volume() -> np.ndarray:
    """Distance to the nearest of random points, periodic [32,32,32] float32, about 0..1."""
    rng = np.random.default_rng(11)
    points = rng.random((48, 3)) * 32
    axis = np.arange(32) + 0.5
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 1, 3)
    gap = np.abs(grid - points[None])
    gap = np.minimum(gap, 32 - gap)
    return (np.sqrt((gap**2).sum(-1)).min(1) / 6).reshape(32, 32, 32).astype(np.float32)


def _look_up(volume: np.ndarray, place: np.ndarray) -> np.ndarray:
    index = np.floor(place).astype(np.int32) & 31
    return volume[index[:, 0], index[:, 1], index[:, 2]]


@dataclass(frozen=True)
class Coat:
    """One individual's colours (RGB 0..1) and pattern; `name` and `pattern` are words for captions."""

    base: np.ndarray
    second: np.ndarray
    dark: np.ndarray
    eye: np.ndarray
    pattern: str
    frequency: float
    amount: float
    offset: np.ndarray
    fur: float
    name: str


_NAMES = {
    "white": (0.90, 0.90, 0.88), "cream": (0.83, 0.73, 0.56), "orange": (0.80, 0.46, 0.18),
    "brown": (0.45, 0.31, 0.19), "reddish": (0.52, 0.23, 0.14), "black": (0.10, 0.10, 0.11),
    "gray": (0.52, 0.52, 0.52), "pink": (0.86, 0.60, 0.60), "bluish": (0.35, 0.42, 0.58),
    "greenish": (0.36, 0.46, 0.28), "purplish": (0.50, 0.32, 0.52),
}  # fmt: skip


def draw_coat(animal: Animal, rng: np.random.Generator) -> Coat:
    """An individual's coat: near its family's half of the time, anything furry otherwise."""
    palette = list(_NAMES.values())
    if rng.random() < 0.5:
        base = np.array(animal.colours[rng.integers(len(animal.colours))], float)
    else:
        base = np.array(
            palette[int(rng.choice(11, p=[0.11, 0.12, 0.11, 0.16, 0.1, 0.1, 0.15] + [0.0375] * 4))]
        )
    base = np.clip(base * np.exp(rng.normal(0, 0.18)) + rng.normal(0, 0.045, 3), 0.1, 0.97)
    if rng.random() < 0.6:
        pattern = animal.patterns[int(rng.integers(len(animal.patterns)))]
    else:
        pattern = PATTERNS[int(rng.integers(len(PATTERNS) - 1))]
    bright = base.mean() > 0.45
    toward = (
        np.array([0.08, 0.07, 0.06]) if bright or rng.random() < 0.2 else np.array([0.9, 0.87, 0.8])
    )
    if pattern in ("countershade", "backstripe") and rng.random() < 0.8:
        toward = np.array([0.93, 0.9, 0.84])
    second = base + rng.uniform(0.55, 0.95) * (toward - base) + rng.normal(0, 0.04, 3)
    name = min(_NAMES, key=lambda n: float(np.abs(np.array(_NAMES[n]) - base).sum()))
    return Coat(
        base=base,
        second=np.clip(second, 0.02, 0.97),
        dark=np.clip(np.array([0.09, 0.075, 0.07]) + rng.uniform(0, 0.14), 0, 1),
        eye=np.array([0.03, 0.025, 0.02]) if rng.random() < 0.75 else rng.uniform(0.2, 0.75, 3),
        pattern=pattern,
        frequency=float(rng.uniform(0.7, 1.5)),
        amount=float(rng.uniform(0.35, 0.6)),
        offset=rng.random(3) * 32,
        fur=float(rng.uniform(0.03, 0.16)),
        name=name,
    )


def _pattern_weight(
    coat: Coat, material: np.ndarray, place: np.ndarray, along: np.ndarray, rise: np.ndarray
) -> np.ndarray:
    """How much of the second colour each of n pixels has, 0..1.

    place [n,3]: position in world units; along [n]: place along the part; rise [n]: world z of the normal.
    """
    zero = np.zeros(len(along), np.float32)
    p = place * np.float32(9.0 * coat.frequency) + coat.offset.astype(np.float32)
    trunk = (material == COAT) | (material == BELLY)
    if coat.pattern == "countershade":
        face = (material == FACE) | (material == PAW)
        return np.clip(-rise * 1.6 + 0.1, 0, 1) * (trunk | (material == LEG)) + 0.8 * face
    if coat.pattern == "spots":
        return (_look_up(_spot_volume(), p * np.float32(2.2)) < 0.75 * coat.amount + 0.1).astype(
            np.float32
        )
    if coat.pattern == "stripes":
        wobble = _look_up(_noise_volume(), p * np.float32(1.3))
        phase = place[:, 0] * np.float32(16 * coat.frequency) + 5.0 * wobble
        legs = (material == LEG) | (material == TAIL)
        phase = np.where(legs, along * np.float32(13) + 2 * wobble, phase)
        return np.clip((np.sin(phase) - 0.9 + 1.6 * coat.amount) * 5, 0, 1)
    if coat.pattern == "patches":
        return np.clip(
            (_look_up(_noise_volume(), p * np.float32(0.9)) - 1 + coat.amount) * 14, 0, 1
        )
    if coat.pattern == "saddle":
        return np.clip(rise * 3 - 0.4, 0, 1) * trunk
    if coat.pattern == "socks":
        return np.clip((along - 0.35) * 6, 0, 1) * (material == LEG) * (rise < 2) + (
            material == PAW
        )
    if coat.pattern == "mask":
        return ((material == FACE) | (material == EAR)).astype(np.float32)
    if coat.pattern == "backstripe":
        return np.clip((rise - 0.86) * 12, 0, 1) * (trunk | (material == TAIL))
    if coat.pattern == "rings":
        return ((material == TAIL) & (np.sin(along * 14) > 0)).astype(np.float32)
    if coat.pattern == "panda":
        return ((material == LEG) | (material == EAR) | (material == PAW)).astype(np.float32)
    return zero


# Colours in which single parts are painted, for pictures whose captions name such parts.
PAINTS = {
    "red": (0.85, 0.08, 0.08), "blue": (0.12, 0.22, 0.90), "green": (0.08, 0.72, 0.18),
    "yellow": (0.95, 0.86, 0.08), "purple": (0.58, 0.10, 0.72), "cyan": (0.08, 0.80, 0.86),
    "white": (0.97, 0.97, 0.97), "black": (0.03, 0.03, 0.03),
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A painted part: pixel x, y, depth of its middle, radius in pixels, and a word of `PAINTS`."""

    centre: tuple[float, float, float]
    radius: float
    paint: str


def shade(
    animal: Animal,
    coat: Coat,
    buffers: Buffers,
    camera: Camera,
    sun: np.ndarray,
    light: dict[str, float],
    flat: bool = False,
    marks: Sequence[Mark] = (),
) -> np.ndarray:
    """RGB [size,size,3] float32 0..1 of the animal's surface, zero elsewhere.

    Args:
        sun: direction towards the light, world, unit [3].
        light: ambient, diffuse and rim strengths.
        flat: two tones instead of smooth shading (cartoon).
        marks: parts to paint in one colour.
    """
    size = buffers.part.shape[0]
    image = np.zeros((size, size, 3), np.float32)
    ys, xs = np.nonzero(buffers.part >= 0)
    if len(ys) == 0:
        return image
    part = buffers.part[ys, xs]
    material = np.asarray(animal.capsules.material)[part]
    along = buffers.along[ys, xs]
    n = buffers.normal[ys, xs]
    axes = np.stack([camera.right, camera.up, camera.toward]).astype(np.float32)
    rise = n @ axes[:, 2]
    # Position on the animal, back from the picture (perspective neglected: it only moves a pattern).
    px = (xs - camera.centre[0]) / camera.scale
    py = -(ys - camera.centre[1]) / camera.scale
    pz = buffers.depth[ys, xs] / camera.scale
    place = (np.stack([px, py, pz], 1).astype(np.float32)) @ axes
    weight = _pattern_weight(coat, material, place, along, rise).astype(np.float32)[:, None]
    colour = coat.base.astype(np.float32) * (1 - weight) + coat.second.astype(np.float32) * weight
    for kind, paint in ((DARK, coat.dark), (EYE, coat.eye), (HORN, np.array([0.62, 0.54, 0.42]))):
        colour[material == kind] = paint
    colour[material == MANE] = 0.5 * coat.base + 0.5 * coat.dark
    grain = _look_up(_noise_volume(), place * np.float32(46)) - np.float32(0.5)
    furry = (material != EYE) & (material != DARK)
    colour *= 1 + (2.2 * coat.fur * grain * furry)[:, None].astype(np.float32)
    for mark in marks:
        x, y, z = mark.centre
        gap = (xs - x) ** 2 + (ys - y) ** 2 + (buffers.depth[ys, xs] - z) ** 2
        colour[gap < mark.radius**2] = PAINTS[mark.paint]
    facing = np.clip(n @ (axes @ sun.astype(np.float32)), -1, 1)
    if flat:
        lit = light["ambient"] + light["diffuse"] * (facing > 0.15) * 0.8
    else:
        lit = light["ambient"] * (0.75 + 0.25 * rise) + light["diffuse"] * np.clip(
            facing * 0.85 + 0.15, 0, 1
        )
        lit = lit + light["rim"] * np.clip(1 - n[:, 2], 0, 1) ** 3
    # Parts low on the body get less of the sky: a cheap stand-in for ambient occlusion.
    under = np.clip(place[:, 2] * 0.5 + 0.75, 0.7, 1.0)
    # What stands farther away gets less light, so that near legs can be told from far ones.
    far = np.clip(0.95 + 0.5 * (pz - np.median(pz)), 0.6, 1.1)
    colour *= (lit * under * far)[:, None].astype(np.float32)
    shine = (material == EYE) & (facing > 0.75)
    colour[shine] = 0.9
    image[ys, xs] = colour
    if not flat:
        # Where one part stands before another, a thin dark crease: the depth's second difference.
        depth = np.where(buffers.part >= 0, buffers.depth, buffers.depth[ys, xs].min())
        crease = np.clip((cv2.blur(depth, (5, 5)) - depth) / (0.10 * camera.scale), 0, 1)
        image *= (1 - 0.38 * crease)[..., None]
    return image
