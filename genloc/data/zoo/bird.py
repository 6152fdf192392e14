"""Birds: trunk, neck, head with beak, wings folded or spread, tail and two legs.

Frame and unit are those of `animal.py`: x forward, y left, z up, hip to chest is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genloc.data.zoo.capsules import (
    BELLY,
    COAT,
    DARK,
    EYE,
    HORN,
    LEG,
    MANE,
    TAIL,
    Capsules,
    Vector,
    direction,
)
from genloc.data.zoo.species import (
    BLUE,
    BROWN,
    CREAM,
    GREEN,
    GREY,
    RED,
    TAN,
    WHITE,
    YELLOW,
    Colours,
)

KEYPOINTS = (
    "beak_tip", "left_eye", "right_eye", "crown", "breast", "tail_tip",
    "left_wing_joint", "left_wing_tip", "right_wing_joint", "right_wing_tip",
    "left_heel", "left_foot", "right_heel", "right_foot",
)  # fmt: skip
EDGES = (
    (1, 2),
    (1, 3),
    (1, 4),
    (4, 5),
    (5, 6),
    (5, 7),
    (7, 8),
    (5, 9),
    (9, 10),
    (6, 11),
    (11, 12),
    (6, 13),
    (13, 14),
)
POSES = ("standing", "walking", "flying", "pecking")


@dataclass(frozen=True)
class BirdPlan:
    """Proportions in units of the trunk's length; angles in degrees."""

    upright: float = 22.0  # of the trunk
    girth: float = 0.34
    neck: float = 0.18
    head: float = 0.23
    beak: float = 0.22
    beak_width: float = 0.07
    hook: float = 0.0  # how far the beak's tip bends down
    eye_front: float = 0.2
    leg: float = 0.5
    wing: float = 1.05
    tail: float = 0.55
    tail_width: float = 0.16
    crest: float = 0.0


BIRDS: dict[str, tuple[BirdPlan, Colours]] = {
    "sparrow": (BirdPlan(), (BROWN, TAN, GREY)),
    "duck": (
        BirdPlan(upright=6, girth=0.36, neck=0.42, beak=0.24, beak_width=0.1, leg=0.3, tail=0.3),
        (GREEN, BROWN, WHITE),
    ),
    "heron": (
        BirdPlan(
            upright=30,
            girth=0.25,
            neck=1.05,
            head=0.16,
            beak=0.5,
            beak_width=0.055,
            leg=1.35,
            tail=0.28,
            crest=0.2,
        ),
        (GREY, WHITE, BLUE),
    ),
    "owl": (
        BirdPlan(
            upright=68,
            girth=0.4,
            neck=0.04,
            head=0.36,
            beak=0.02,
            beak_width=0.06,
            hook=0.8,
            eye_front=0.95,
            leg=0.26,
            tail=0.3,
            crest=-0.16,
        ),
        (BROWN, CREAM, GREY),
    ),
    "parrot": (
        BirdPlan(
            upright=52,
            girth=0.3,
            neck=0.1,
            head=0.25,
            beak=0.1,
            beak_width=0.11,
            hook=0.6,
            leg=0.24,
            tail=1.1,
            tail_width=0.1,
        ),
        (GREEN, RED, BLUE, YELLOW),
    ),
}


def make_bird(
    plan: BirdPlan, rng: np.random.Generator
) -> tuple[Capsules, np.ndarray, np.ndarray, str]:
    """Capsules, the 14 joints [14,3], the radius around each [14], and the pose."""
    pose = str(rng.choice(POSES, p=[0.4, 0.2, 0.25, 0.15]))
    vary = {
        name: float(np.exp(rng.normal(0, 0.1))) for name in ("girth", "neck", "beak", "leg", "tail")
    }
    flying = pose == "flying"
    pitch = plan.upright + rng.normal(0, 7) if not flying else rng.normal(8, 8)
    if pose == "pecking":
        pitch = min(pitch, 20.0) - 15
    r = plan.girth * vary["girth"]
    body, joints, radius = Capsules(), np.zeros((14, 3)), np.zeros(14)
    spine, left = direction(pitch, 0), np.array([0.0, 1.0, 0.0])
    up = np.cross(spine, left)
    hip = np.zeros(3)
    chest = hip + spine
    body.add(hip, chest, 0.72 * r, r, COAT)
    body.add(hip + 0.35 * spine - 0.15 * r * up, chest - 0.15 * r * up, 0.8 * r, 0.95 * r, BELLY)
    joints[4], radius[4] = chest + 0.35 * r * spine - 0.55 * r * up, 0.55 * r

    _head(body, joints, radius, plan, vary, chest + 0.45 * r * (spine + up), pose, rng)

    fall = -spine + (rng.uniform(-0.15, 0.25) - (0.25 if flying else 0.0)) * up
    fall /= np.linalg.norm(fall)
    root, end = hip - 0.45 * r * spine + 0.2 * r * up, plan.tail * vary["tail"]
    spread = plan.tail_width * (1.8 if flying else 1.0)
    tip = root + (0.5 * r + end) * fall
    body.sheet(
        (root + 0.08 * left, tip + spread * left),
        (root - 0.08 * left, tip - spread * left),
        5,
        0.045,
        TAIL,
    )
    joints[5], radius[5] = tip, 0.06

    lift = rng.uniform(-25, 50)
    swing = rng.uniform(-30, 30) if pose == "walking" else rng.normal(0, 5)
    for side, sign in enumerate((1.0, -1.0)):
        _wing(body, joints, radius, plan, chest, spine, up, sign, side, r, lift if flying else None)
        _leg(
            body,
            joints,
            radius,
            plan.leg * vary["leg"],
            hip,
            spine,
            up,
            sign,
            side,
            r,
            swing * sign,
            flying,
        )
    return body, joints, radius, pose


def _head(
    body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: BirdPlan, vary: dict[str, float],
    base: Vector, pose: str, rng: np.random.Generator,
) -> None:  # fmt: skip
    look, neck, r = rng.normal(0, 22), plan.neck * vary["neck"], plan.head
    lean, nod = 70 + rng.normal(0, 12), rng.normal(-4, 9)
    if pose == "pecking":
        lean, nod = rng.uniform(-50, -20), rng.uniform(-65, -35)
    elif pose == "flying":
        lean = rng.uniform(5, 25)
    middle = base + 0.5 * neck * direction(lean + 18, 0)
    top = middle + 0.5 * neck * direction(lean - 10, 0.5 * look)
    wide = min(0.75 * plan.girth, 0.85 * r)
    body.add(base - 0.2 * plan.girth * direction(lean, 0), middle, 1.15 * wide, 0.8 * wide, COAT)
    body.add(middle, top, 0.8 * wide, 0.75 * wide, COAT)
    forward, side = direction(nod, look), direction(0, look + 90)
    crown = np.cross(forward, side)
    skull = top + 0.45 * r * forward + 0.3 * r * crown
    body.add(top, skull, 0.85 * r, r, COAT)
    foot, long = skull + 0.75 * r * forward - 0.12 * r * crown, plan.beak * vary["beak"]
    bend = foot + 0.6 * (0.25 * r + long) * forward
    tip = bend + 0.4 * (0.25 * r + long) * (forward - 1.6 * plan.hook * crown)
    body.add(foot, bend, 1.2 * plan.beak_width, 0.9 * plan.beak_width, HORN)
    body.add(bend, tip, 0.9 * plan.beak_width, 0.3 * plan.beak_width, HORN)
    joints[0], radius[0] = tip, 0.5 * plan.beak_width
    f = plan.eye_front
    for n, sign in enumerate((1.0, -1.0)):
        spot = (0.4 + 0.5 * f) * forward + sign * (0.9 - 0.35 * f) * side + 0.3 * crown
        eye = skull + 0.95 * r * spot / np.linalg.norm(spot)
        body.add(eye, eye, 0.19 * r, 0.19 * r, EYE)
        joints[1 + n], radius[1 + n] = eye, 0.19 * r
        if plan.crest < 0:  # two tufts, as an owl has
            tuft = skull + 0.75 * r * (crown + 0.6 * sign * side)
            body.add(tuft, tuft - plan.crest * (crown + 0.5 * sign * side), 0.07, 0.025, MANE)
    if plan.crest > 0:
        body.add(
            skull + 0.8 * r * crown,
            skull + r * crown - plan.crest * (forward - 0.7 * crown),
            0.09,
            0.03,
            MANE,
        )
    joints[3], radius[3] = skull + 0.85 * r * crown, 0.25 * r


def _wing(
    body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: BirdPlan, chest: Vector,
    spine: Vector, up: Vector, sign: float, side: int, r: float, lift: float | None,
) -> None:  # fmt: skip
    left = np.array([0.0, sign, 0.0])
    joint = chest - 0.12 * spine + 0.82 * r * left + 0.35 * r * up
    if lift is None:  # folded along the flank
        tip = joint - plan.wing * spine - 0.55 * r * left * 0.6 - 0.1 * up
        low = joint - 0.2 * spine - 0.75 * r * up
        body.sheet((joint, tip), (low, tip - 0.06 * up), 5, 0.085, MANE)
    else:
        c, s = np.cos(np.radians(lift)), np.sin(np.radians(lift))
        out = c * left + s * up
        elbow = joint + 0.5 * plan.wing * (out + 0.25 * spine)
        tip = elbow + 0.85 * plan.wing * (out - 0.35 * spine)
        body.add(joint, elbow, 0.1, 0.075, COAT)
        body.add(elbow, tip, 0.075, 0.04, COAT)
        body.sheet((joint, joint - 0.55 * spine), (elbow, elbow - 0.6 * spine), 8, 0.05, MANE)
        body.sheet((elbow, elbow - 0.6 * spine), (tip, tip - 0.12 * spine), 10, 0.05, MANE)
    joints[6 + 2 * side : 8 + 2 * side] = joint, tip
    radius[6 + 2 * side : 8 + 2 * side] = 0.12, 0.08


def _leg(
    body: Capsules, joints: np.ndarray, radius: np.ndarray, length: float, hip: Vector, spine: Vector,
    up: Vector, sign: float, side: int, r: float, swing: float, flying: bool,
) -> None:  # fmt: skip
    start = hip + 0.35 * spine + 0.45 * r * np.array([0.0, sign, 0.0]) - 0.45 * r * up
    if flying:
        heel = start - 0.35 * length * spine - 0.25 * length * up
        foot = heel - 0.65 * length * spine - 0.05 * up
        toes = -spine
    else:
        heel = start + (0.3 * length + 0.35 * r) * direction(-100 + swing, 0)
        foot = heel + 0.7 * length * direction(-82 + swing, 0)
        toes = direction(0, 0)
    body.add(start, heel, 0.45 * r, 0.07, LEG)
    body.add(heel, foot, 0.045, 0.04, HORN)
    for turn in (-0.55, 0.0, 0.55):
        way = toes + turn * np.array([0.0, 1.0, 0.0])
        body.add(foot, foot + 0.17 * way / np.linalg.norm(way), 0.035, 0.02, DARK)
    joints[10 + 2 * side : 12 + 2 * side] = heel, foot
    radius[10 + 2 * side : 12 + 2 * side] = 0.06, 0.05
