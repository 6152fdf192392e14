"""Furniture that has a front: seats, beds and desks of boards, cushions and legs.

Frame as in `animal.py`: x is where somebody sitting on it looks, y that person's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genloc.data.zoo.capsules import BELLY, COAT, DARK, HORN, LEG, Capsules, Vector
from genloc.data.zoo.species import BLUE, BROWN, CREAM, GREEN, GREY, RED, WHITE, Colours

Edges = tuple[tuple[int, int], ...]
_CORNERS = ("left_front", "right_front", "left_back", "right_back")
SEAT_KEYPOINTS = (
    *(f"{corner}_foot" for corner in _CORNERS), *(f"{corner}_seat" for corner in _CORNERS),
    "left_back_top", "right_back_top",
)  # fmt: skip
SEAT_EDGES = (
    (1, 5),
    (2, 6),
    (3, 7),
    (4, 8),
    (5, 6),
    (6, 8),
    (8, 7),
    (7, 5),
    (7, 9),
    (8, 10),
    (9, 10),
)
ARMCHAIR_KEYPOINTS = (*SEAT_KEYPOINTS, "left_arm_front", "right_arm_front")
ARMCHAIR_EDGES = (*SEAT_EDGES, (5, 11), (6, 12))
BED_KEYPOINTS = (
    *(f"{corner}_foot" for corner in _CORNERS), *(f"{corner}_mattress" for corner in _CORNERS),
    "left_headboard_top", "right_headboard_top", "pillow",
)  # fmt: skip
BED_EDGES = (*SEAT_EDGES, (9, 11), (10, 11))
DESK_KEYPOINTS = (
    *(f"{corner}_foot" for corner in _CORNERS), *(f"{corner}_top" for corner in _CORNERS),
    "upper_drawer_knob", "lower_drawer_knob",
)  # fmt: skip
DESK_EDGES = ((1, 5), (2, 6), (3, 7), (4, 8), (5, 6), (6, 8), (8, 7), (7, 5), (6, 9), (9, 10))


@dataclass(frozen=True)
class FurniturePlan:
    """Half width (y), half depth (x) and height of the seat, mattress or top, and what stands on it."""

    kind: str = "seat"  # seat, bed or desk
    width: float = 0.42
    depth: float = 0.42
    height: float = 0.75
    thick: float = 0.06
    back: float = 0.85
    arms: float = 0.0  # height of the arm rests
    leg: float = 0.05


PIECES: dict[str, tuple[FurniturePlan, Colours, tuple[str, ...], Edges]] = {
    "chair": (
        FurniturePlan(),
        (BROWN, RED, WHITE, BLUE),
        SEAT_KEYPOINTS,
        SEAT_EDGES,
    ),
    "armchair": (
        FurniturePlan(width=0.5, depth=0.46, height=0.5, thick=0.1, back=0.75, arms=0.36, leg=0.06),
        (RED, GREEN, GREY, BROWN),
        ARMCHAIR_KEYPOINTS,
        ARMCHAIR_EDGES,
    ),
    "sofa": (
        FurniturePlan(
            width=1.15, depth=0.46, height=0.45, thick=0.11, back=0.6, arms=0.3, leg=0.06
        ),
        (GREY, BLUE, CREAM, RED),
        ARMCHAIR_KEYPOINTS,
        ARMCHAIR_EDGES,
    ),
    "bed": (
        FurniturePlan("bed", width=0.7, depth=1.1, height=0.42, thick=0.12, back=0.6, leg=0.06),
        (WHITE, BLUE, CREAM),
        BED_KEYPOINTS,
        BED_EDGES,
    ),
    "desk": (
        FurniturePlan("desk", width=0.9, depth=0.45, height=0.85, thick=0.05, leg=0.05),
        (BROWN, WHITE, GREY),
        DESK_KEYPOINTS,
        DESK_EDGES,
    ),
}


def make_furniture(
    plan: FurniturePlan, rng: np.random.Generator
) -> tuple[Capsules, np.ndarray, np.ndarray, str]:
    """Capsules, joints [10 to 12, 3], the radius around each, and "standing"."""
    w, d, h, b = (
        float(v * np.exp(rng.normal(0, 0.11)))
        for v in (plan.width, plan.depth, plan.height, plan.back)
    )
    t, leg = plan.thick, plan.leg * float(np.exp(rng.normal(0, 0.2)))
    wood = int(rng.choice([HORN, DARK, LEG]))
    body = Capsules()
    joints: list[Vector] = []
    radius: list[float] = []
    corners = [np.array([x * d, y * w, 0.0]) for x in (1, -1) for y in (1, -1)]
    splay = rng.uniform(0, 0.07)
    for corner in corners:
        foot = corner * (1 + splay) + np.array([0, 0, leg])
        body.add(foot, corner * 0.97 + np.array([0, 0, h]), leg, 1.15 * leg, wood)
        joints.append(foot)
        radius.append(1.2 * leg)
    up = np.array([0.0, 0.0, 1.0])
    tops = [corner + h * up for corner in corners]
    boards = max(5, round(2 * w / (1.1 * t)))
    body.sheet(
        (tops[0], tops[2]), (tops[1], tops[3]), boards, t, COAT if plan.kind != "desk" else wood
    )
    joints += [top + 0.5 * t * up for top in tops]
    radius += [1.4 * t] * 4
    if plan.kind == "desk":
        _drawers(body, joints, radius, tops, w, h, wood)
    else:
        lean = np.array([-rng.uniform(0.02, 0.22), 0.0, 1.0]) * b
        if plan.kind == "bed":
            lean[0] = 0.0
        ends = [tops[2] + lean, tops[3] + lean]
        for foot, end in zip(tops[2:], ends, strict=True):
            body.add(foot, end, 1.1 * leg, leg, wood)
        across = (
            max(3, round(b / (2.6 * t))) if rng.random() < 0.6 else max(4, round(b / (1.2 * t)))
        )
        low = [top + 0.2 * lean for top in tops[2:]]
        body.sheet((low[0], low[1]), (ends[0], ends[1]), across, 0.7 * t, COAT)
        joints += ends
        radius += [1.3 * leg + 0.02] * 2
    if plan.kind == "bed":
        middle = 0.72 * (tops[2] + tops[3]) / 2 + 0.28 * (tops[0] + tops[1]) / 2 + 1.6 * t * up
        side = np.array([0.0, 0.5 * w, 0.0])
        body.add(middle - side, middle + side, 1.3 * t, 1.3 * t, BELLY)
        joints.append(middle + 0.8 * t * up)
        radius.append(1.6 * t)
    if plan.arms:
        for front, back in ((tops[0], tops[2]), (tops[1], tops[3])):
            end = front + plan.arms * up - np.array([0.06, 0, 0])
            body.sheet((front, back), (end, back + plan.arms * up), 5, 1.2 * t, COAT)
            joints.append(end)
            radius.append(1.6 * t)
    return body, np.array(joints), np.array(radius), "standing"


def _drawers(
    body: Capsules, joints: list[Vector], radius: list[float], tops: list[Vector], w: float, h: float,
    wood: int,
) -> None:  # fmt: skip
    """A block of two drawers below the top's right end (of somebody who sits behind it)."""
    up, r = np.array([0.0, 0.0, 1.0]), 0.06
    inner = np.array([0.0, 0.62 * w, 0.0])
    right_front, right_back = tops[1] - 0.05 * up, tops[3] - 0.05 * up
    for y in np.linspace(0, 1, 6):
        shift = y * inner
        body.sheet(
            (right_front + shift, right_back + shift),
            (right_front + shift - 0.62 * h * up, right_back + shift - 0.62 * h * up),
            6,
            r,
            COAT,
        )
    for part in (0.2, 0.47):
        knob = right_back + 0.5 * inner - part * h * up - np.array([1.3 * r, 0, 0])
        body.add(knob, knob, 0.045, 0.045, DARK if wood != DARK else HORN)
        joints.append(knob)
        radius.append(0.05)
