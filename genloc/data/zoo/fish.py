"""Fish: a bent body of upright slices, fins of thin sheets.

Frame and unit are those of `animal.py`; the body is 1.6 long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genloc.data.zoo.capsules import COAT, DARK, EYE, FACE, MANE, TAIL, Capsules, Vector
from genloc.data.zoo.species import (
    BLUE,
    BROWN,
    CREAM,
    GREEN,
    GREY,
    ORANGE,
    RED,
    WHITE,
    YELLOW,
    Colours,
)

KEYPOINTS = (
    "mouth", "left_eye", "right_eye", "dorsal_fin_front", "dorsal_fin_tip", "anal_fin_tip",
    "left_pectoral_tip", "right_pectoral_tip", "tail_root", "upper_tail_tip", "lower_tail_tip",
    "belly",
)  # fmt: skip
EDGES = (
    (1, 2),
    (1, 3),
    (1, 4),
    (4, 5),
    (4, 9),
    (9, 10),
    (9, 11),
    (9, 6),
    (1, 12),
    (12, 7),
    (12, 8),
    (12, 9),
)
LENGTH, SLICES = 1.6, 26


@dataclass(frozen=True)
class FishPlan:
    """Proportions in units of `animal.py`'s."""

    depth: float = 0.24  # half the height of the body
    width: float = 0.15  # half its width
    nose: float = 0.5  # how blunt the head is: 0 pointed, 1 blunt
    dorsal: float = 0.22  # height of the fin on the back
    dorsal_at: float = 0.45  # where it begins, from the mouth, as part of the length
    dorsal_long: float = 0.3
    anal: float = 0.16
    tail: float = 0.38
    tail_uneven: float = 0.0  # above 0 the upper lobe is longer
    pectoral: float = 0.28


FISHES: dict[str, tuple[FishPlan, Colours]] = {
    "trout": (FishPlan(), (GREY, BROWN, GREEN)),
    "shark": (
        FishPlan(
            depth=0.2,
            width=0.17,
            nose=0.15,
            dorsal=0.34,
            dorsal_at=0.38,
            dorsal_long=0.16,
            anal=0.1,
            tail=0.48,
            tail_uneven=0.35,
            pectoral=0.5,
        ),
        (GREY, BLUE, BROWN),
    ),
    "angelfish": (
        FishPlan(
            depth=0.5,
            width=0.1,
            nose=0.35,
            dorsal=0.5,
            dorsal_at=0.35,
            dorsal_long=0.5,
            anal=0.5,
            tail=0.34,
            pectoral=0.2,
        ),
        (YELLOW, WHITE, BLUE),
    ),
    "goldfish": (
        FishPlan(
            depth=0.34,
            width=0.27,
            nose=0.9,
            dorsal=0.3,
            dorsal_at=0.32,
            dorsal_long=0.42,
            anal=0.2,
            tail=0.6,
            pectoral=0.24,
        ),
        (ORANGE, RED, CREAM),
    ),
    "tuna": (
        FishPlan(
            depth=0.28,
            width=0.21,
            nose=0.3,
            dorsal=0.26,
            dorsal_at=0.4,
            dorsal_long=0.12,
            anal=0.24,
            tail=0.46,
            pectoral=0.34,
        ),
        (BLUE, GREY, BROWN),
    ),
}


def make_fish(
    plan: FishPlan, rng: np.random.Generator
) -> tuple[Capsules, np.ndarray, np.ndarray, str]:
    """Capsules, the 12 joints [12,3], the radius around each [12], and the pose."""
    deep, wide, fins = (float(np.exp(rng.normal(0, s))) for s in (0.12, 0.12, 0.15))
    depth, width = plan.depth * deep, plan.width * wide
    bend, phase, pitch = rng.uniform(0.0, 0.22), rng.uniform(0, 2 * np.pi), rng.normal(0, 13)
    tilt = np.tan(np.radians(pitch))
    body, joints, radius = Capsules(), np.zeros((12, 3)), np.zeros(12)
    up, left = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])

    def middle(t: float) -> Vector:
        """The body's axis; t is 0 at the mouth, 1 at the tail's root."""
        x = LENGTH * (0.5 - t)
        return np.array([x, bend * t * np.sin(phase + 3.0 * t), tilt * x])

    def half(t: float) -> float:
        """Half the height at t."""
        front = np.clip(t / 0.35, 0, 1) ** (0.85 - 0.45 * plan.nose)
        back = np.clip((1.04 - t) / 0.62, 0, 1) ** 0.9
        return depth * float(0.16 + 0.84 * min(front, back))

    for t in np.linspace(0.03, 1, SLICES):
        h = half(t)
        w = min(h, width * (0.35 + 0.65 * h / depth))
        p, room = middle(t), max(h - min(h, w), 0.0)
        body.add(p - room * up, p + room * up, w, w, FACE if t < 0.12 else COAT)

    def outer(t: float, sign: float) -> Vector:
        return middle(t) + sign * 0.92 * half(t) * up

    start, stop = plan.dorsal_at, min(0.95, plan.dorsal_at + plan.dorsal_long)
    back = np.array([-1.0, 0.0, 0.0])
    peak = outer(0.35 * start + 0.65 * stop, 1) + plan.dorsal * fins * (up + 0.45 * back)
    body.sheet((outer(start, 1), outer(start, 1)), (outer(stop, 1), peak), 16, 0.025, MANE)
    joints[3], radius[3] = outer(start, 1), max(0.05, 0.9 * width)
    joints[4], radius[4] = peak, 0.04
    low = outer(0.8, -1) - plan.anal * fins * (up - 0.6 * back)
    body.sheet((outer(0.66, -1), outer(0.66, -1)), (outer(0.9, -1), low), 11, 0.025, MANE)
    joints[5], radius[5] = low, 0.04

    root, end = middle(1.0), middle(1.12) - middle(1.0)
    way = end / np.linalg.norm(end)
    for k, sign in ((9, 1.0), (10, -1.0)):
        reach = plan.tail * fins * (1 + sign * plan.tail_uneven)
        tip = root + reach * (0.75 * way + 0.85 * sign * up)
        body.sheet(
            (root, root + 0.45 * plan.tail * fins * way),
            (root + 0.04 * sign * up, tip),
            9,
            0.03,
            TAIL,
        )
        joints[k], radius[k] = tip, 0.045
    joints[8], radius[8] = root, 0.08

    flap = rng.uniform(10, 55)
    for side, sign in enumerate((1.0, -1.0)):
        h = half(0.3)
        w = min(h, width * (0.35 + 0.65 * h / depth))
        foot = middle(0.3) + 0.9 * w * sign * left - 0.3 * h * up
        c, s = np.cos(np.radians(flap)), np.sin(np.radians(flap))
        tip = foot + plan.pectoral * fins * (c * back + s * sign * left - 0.35 * up)
        body.sheet((foot + 0.06 * up, tip + 0.05 * back), (foot - 0.06 * up, tip), 4, 0.025, MANE)
        joints[6 + side], radius[6 + side] = tip, 0.045
        eye = middle(0.13) + 0.25 * half(0.13) * up
        w = min(half(0.13), width * (0.35 + 0.65 * half(0.13) / depth))
        eye = eye + 0.97 * w * sign * left
        body.add(eye, eye, 0.04, 0.04, EYE)
        joints[1 + side], radius[1 + side] = eye, 0.045
    mouth = middle(0.0) + 0.06 * np.array([1.0, 0.0, 0.0]) - 0.1 * half(0.03) * up
    body.add(mouth, mouth, 0.035, 0.035, DARK)
    joints[0], radius[0] = mouth, 0.05
    joints[11], radius[11] = middle(0.42) - 0.9 * half(0.42) * up, 1.1 * width
    rise = np.array([0.0, 0.0, rng.uniform(0.0, 0.6) - body.lowest()])
    body.move(rise)
    return body, joints + rise, radius, "swimming"
