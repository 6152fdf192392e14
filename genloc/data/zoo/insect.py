"""Insects: those that go on six legs, and those that show their four wings.

Frame and unit are those of `animal.py`; the whole is about 1.5 long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genloc.data.zoo.capsules import (
    BELLY,
    COAT,
    DARK,
    EAR,
    EYE,
    FACE,
    LEG,
    TAIL,
    Capsules,
    Vector,
    direction,
)
from genloc.data.zoo.species import (
    BLACK,
    BLUE,
    BROWN,
    GREEN,
    ORANGE,
    RED,
    TAN,
    WHITE,
    YELLOW,
    Colours,
)

_ROWS = ("front", "middle", "hind")
CRAWLER_KEYPOINTS = (
    "left_antenna_tip", "right_antenna_tip", "head", "thorax", "abdomen_tip",
    *(f"{side}_{row}_{part}" for side in ("left", "right") for row in _ROWS for part in ("knee", "foot")),
)  # fmt: skip
CRAWLER_EDGES = (
    (1, 3), (2, 3), (3, 4), (4, 5),
    *((4, k) for k in (6, 8, 10, 12, 14, 16)), *((k, k + 1) for k in (6, 8, 10, 12, 14, 16)),
)  # fmt: skip
FLIER_KEYPOINTS = (
    "left_antenna_tip", "right_antenna_tip", "head", "thorax", "abdomen_tip",
    "left_forewing_tip", "right_forewing_tip", "left_hindwing_tip", "right_hindwing_tip",
)  # fmt: skip
FLIER_EDGES = ((1, 3), (2, 3), (3, 4), (4, 5), (4, 6), (4, 7), (4, 8), (4, 9))


@dataclass(frozen=True)
class InsectPlan:
    """Proportions; a plan with `wings` shows them and hides its legs."""

    head: float = 0.13
    thorax: float = 0.16
    abdomen: float = 0.2  # radius
    abdomen_long: float = 0.55
    waist: float = 0.10
    leg: float = 0.7
    hind: float = 1.0  # the hind legs, relative to the others
    antenna: float = 0.5
    jaws: float = 0.0
    wings: float = 0.0  # length of a forewing
    wing_wide: float = 0.35
    hindwing: float = 0.8


INSECTS: dict[str, tuple[InsectPlan, Colours]] = {
    "ant": (
        InsectPlan(head=0.17, thorax=0.13, abdomen=0.2, abdomen_long=0.42, waist=0.16, jaws=0.12),
        (BLACK, RED, BROWN),
    ),
    "beetle": (
        InsectPlan(
            head=0.14,
            thorax=0.24,
            abdomen=0.36,
            abdomen_long=0.62,
            waist=-0.1,
            leg=0.62,
            antenna=0.3,
            jaws=0.16,
        ),
        (BLACK, GREEN, BLUE, RED),
    ),
    "grasshopper": (
        InsectPlan(
            head=0.15,
            thorax=0.17,
            abdomen=0.15,
            abdomen_long=0.95,
            waist=-0.08,
            leg=0.58,
            hind=2.0,
            antenna=0.6,
        ),
        (GREEN, TAN, BROWN),
    ),
    "butterfly": (
        InsectPlan(
            head=0.1,
            thorax=0.1,
            abdomen=0.08,
            abdomen_long=0.5,
            waist=0.0,
            antenna=0.42,
            wings=1.0,
            wing_wide=0.44,
            hindwing=0.72,
        ),
        (ORANGE, BLUE, YELLOW, WHITE),
    ),
    "dragonfly": (
        InsectPlan(
            head=0.14,
            thorax=0.15,
            abdomen=0.07,
            abdomen_long=1.15,
            waist=0.0,
            antenna=0.12,
            wings=1.1,
            wing_wide=0.13,
            hindwing=0.95,
        ),
        (BLUE, GREEN, RED),
    ),
}


def make_insect(
    plan: InsectPlan, rng: np.random.Generator
) -> tuple[Capsules, np.ndarray, np.ndarray, str]:
    """Capsules, joints [17 or 9, 3], the radius around each, and the pose."""
    count = len(FLIER_KEYPOINTS) if plan.wings else len(CRAWLER_KEYPOINTS)
    body, joints, radius = Capsules(), np.zeros((count, 3)), np.zeros(count)
    size = float(np.exp(rng.normal(0, 0.1)))
    bend, nod = rng.normal(0, 8), rng.normal(-12, 10)
    thorax = np.zeros(3)
    front, back = direction(0, 0), -direction(rng.normal(4, 6), bend)
    r = plan.thorax * size
    body.add(thorax - 0.14 * front, thorax + 0.12 * front, r, 0.85 * r, COAT)
    joints[3], radius[3] = thorax + 0.4 * r * np.array([0, 0, 1.0]), 0.8 * r
    base = thorax + (0.1 + r + plan.waist) * back
    end = base + plan.abdomen_long * back
    wide = plan.abdomen * size
    body.add(thorax, base, 0.35 * r, 0.5 * wide, DARK)
    body.add(
        base + 0.3 * wide * back, base + 0.5 * plan.abdomen_long * back, 0.8 * wide, wide, BELLY
    )
    body.add(base + 0.5 * plan.abdomen_long * back, end, wide, 0.35 * wide, TAIL)
    joints[4], radius[4] = end + 0.25 * wide * back, 0.35 * wide

    way, look = direction(nod, rng.normal(0, 14)), rng.normal(0, 6)
    skull = thorax + (0.12 + 0.7 * r + 0.8 * plan.head) * way
    body.add(thorax + 0.1 * front, skull, 0.6 * plan.head, plan.head, FACE)
    joints[2], radius[2] = skull, plan.head
    for side, sign in enumerate((1.0, -1.0)):
        left = np.array([0.0, sign, 0.0])
        eye = skull + plan.head * (0.55 * way + 0.7 * left + 0.3 * np.array([0, 0, 1.0]))
        body.add(eye, eye, 0.36 * plan.head, 0.36 * plan.head, EYE)
        elbow = skull + 0.8 * plan.head * way + 0.4 * plan.antenna * direction(50, sign * 30 + look)
        tip = elbow + 0.6 * plan.antenna * direction(rng.uniform(-5, 25), sign * 28 + look)
        body.add(skull + 0.7 * plan.head * way, elbow, 0.022, 0.02, DARK)
        body.add(elbow, tip, 0.02, 0.026, DARK)
        joints[side], radius[side] = tip, 0.03
        if plan.jaws:
            jaw = skull + 0.8 * plan.head * way + 0.35 * plan.head * left
            body.add(jaw, jaw + plan.jaws * (way - 0.1 * left), 0.04, 0.015, DARK)
    if plan.wings:
        return body, *_wings(body, joints, radius, plan, thorax, r, rng)
    _legs(body, joints, radius, plan, thorax, r, rng)
    lift = np.array([0.0, 0.0, -body.lowest()])
    body.move(lift)
    return body, joints + lift, radius, "walking"


def _legs(
    body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: InsectPlan, thorax: Vector, r: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    gait = rng.uniform(-14, 14)
    for side, sign in enumerate((1.0, -1.0)):
        for row, (at, yaw) in enumerate(((0.1, 42), (0.0, 92), (-0.12, 138))):
            # Tripod gait: the middle leg of one side goes with the outer ones of the other.
            turn = yaw + gait * (1 if (row + side) % 2 else -1) + rng.normal(0, 4)
            long = plan.leg * (plan.hind if row == 2 else 1.0)
            start = thorax + np.array([at, sign * 0.7 * r, -0.4 * r])
            knee = start + 0.45 * long * direction(
                42 if row < 2 or plan.hind <= 1 else 58, sign * turn
            )
            foot = knee + 0.68 * long * direction(-62, sign * turn)
            foot[2] = -0.32 * plan.leg - 0.12
            body.add(start, knee, 0.05, 0.038, LEG)
            body.add(knee, foot, 0.036, 0.024, LEG)
            body.add(foot, foot + 0.09 * direction(0, sign * turn), 0.026, 0.016, DARK)
            k = 5 + 6 * side + 2 * row
            joints[k : k + 2], radius[k : k + 2] = (knee, foot), (0.045, 0.035)


def _wings(
    body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: InsectPlan, thorax: Vector, r: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, str]:  # fmt: skip
    lift = rng.uniform(5, 50)
    for side, sign in enumerate((1.0, -1.0)):
        for row, (at, yaw, long) in enumerate(
            ((0.08, 62, plan.wings), (-0.08, 118, plan.wings * plan.hindwing))
        ):
            root = thorax + np.array([at, 0.4 * sign * r, 0.6 * r])
            way, across = direction(lift, sign * yaw), direction(0, sign * (yaw - 90))
            tip = root + long * way
            wide = plan.wing_wide * long
            # Two sheets: the wing widens to its middle and narrows to a round tip.
            one, two = (
                root + 0.7 * long * way - wide * across,
                root + 0.7 * long * way + wide * across,
            )
            body.sheet((root, one), (root, two), 16, 0.035, EAR)
            body.sheet(
                (one, tip - 0.3 * wide * across), (two, tip + 0.3 * wide * across), 16, 0.035, EAR
            )
            k = 5 + 2 * row + side
            joints[k], radius[k] = tip, 0.06
    rise = np.array([0.0, 0.0, rng.uniform(0.0, 0.5) - body.lowest()])
    body.move(rise)
    return joints + rise, radius, "flying"
