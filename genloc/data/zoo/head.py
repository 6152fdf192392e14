"""The head of a zoo animal: neck, skull, snout, eyes, ears, horns, trunk and mane."""

from __future__ import annotations

import math

import numpy as np

from genloc.data.zoo.capsules import (
    COAT,
    DARK,
    EAR,
    EYE,
    FACE,
    HORN,
    MANE,
    Capsules,
    Vector,
    direction,
)
from genloc.data.zoo.species import BodyPlan


def add_head(
    body: Capsules,
    joints: np.ndarray,
    radius: np.ndarray,
    plan: BodyPlan,
    chest: Vector,
    spine: Vector,
    up: Vector,
    pitch: float,
    turn: float,
    pose: str,
    rng: np.random.Generator,
) -> str:
    """Add neck and head; fill joints 0 to 3; return "up", "level" or "down" for captions."""
    look = turn + rng.normal(0, 24)
    neck_pitch = plan.neck_pitch + rng.normal(0, 12)
    if pose == "grazing":
        neck_pitch = rng.uniform(-68, -45)
    elif pose in ("sitting", "rearing"):
        neck_pitch += 22
    elif pose == "running":
        neck_pitch *= 0.7
    r = plan.head
    root = chest + 0.55 * plan.girth * spine + 0.35 * plan.girth * up
    top = root + plan.neck * direction(neck_pitch, 0.5 * (turn + look))
    body.add(chest + 0.25 * plan.girth * up, root, 0.8 * plan.girth, 1.15 * plan.neck_width, COAT)
    body.add(root, top, 1.15 * plan.neck_width, min(plan.neck_width, 0.95 * r), COAT)
    nod = rng.normal(-16, 12) if pose != "grazing" else rng.uniform(-75, -40)
    forward, left = direction(nod, look), direction(0, look + 90)
    crown = np.cross(forward, left)
    skull = top + 0.35 * r * forward
    body.add(top, skull, 0.93 * r, r, COAT)
    muzzle = skull + 0.25 * r * forward - 0.22 * r * crown
    tip = skull + (0.75 * r + plan.snout) * forward - 0.34 * r * crown
    w = plan.snout_width * r
    body.add(muzzle, tip, 1.02 * w, 0.74 * w, FACE)
    nose = tip + 0.6 * w * forward + 0.22 * w * crown
    body.add(nose, nose + 0.05 * w * forward, 0.3 * w, 0.3 * w, DARK)
    f = plan.eye_front
    for side, sign in enumerate((1.0, -1.0)):
        spot = (0.25 + 0.5 * f) * forward + sign * (0.88 - 0.36 * f) * left + 0.42 * crown
        eye = skull + r * 0.97 * spot / np.linalg.norm(spot)
        size = 0.13 * r + 0.010
        body.add(eye, eye, size, size, EYE)
        joints[side], radius[side] = eye, size
        lean = math.radians(plan.ear_spread)
        base = skull + 0.8 * r * (-0.25 * forward + sign * 0.55 * left + 0.8 * crown)
        if plan.ear > 0.03:
            point = base + plan.ear * (
                math.cos(lean) * crown + sign * math.sin(lean) * left - 0.1 * forward
            )
            body.add(base, point, plan.ear_width, 0.5 * plan.ear_width, EAR)
        _horn(body, plan, skull, tip, base, forward, left * sign, crown, r)
    if plan.horn == "nose":
        body.add(
            tip + 0.4 * w * crown, tip + (0.4 * w + 0.22) * crown + 0.1 * forward, 0.07, 0.01, HORN
        )
    if plan.trunk:
        p, heading = tip, direction(nod - 40, look)
        for k in range(4):
            q = p + plan.trunk / 4 * heading
            body.add(p, q, 0.11 - 0.02 * k, 0.09 - 0.02 * k, FACE)
            p, heading = q, heading * 0.7 + np.array([0, 0, -0.5]) + forward * (0.15 * k)
            heading /= np.linalg.norm(heading)
        nose = p  # the tip of the trunk is the nose
    if plan.mane > 0.3:
        back = -0.35 * direction(neck_pitch, look) + 0.6 * crown
        for t in np.linspace(0.15, 1.0, 5):
            p = root + t * (top - root)
            body.add(p, p + 0.75 * plan.neck_width * back, 0.12 + 0.09 * plan.mane, 0.08, MANE)
    joints[2], radius[2] = nose, 0.35 * w
    joints[3], radius[3] = root + 0.1 * (top - root), 1.2 * plan.neck_width
    drop = top[2] - chest[2]
    return "down" if drop < -0.1 else "up" if drop > 0.3 else "level"


def _horn(
    body: Capsules,
    plan: BodyPlan,
    skull: Vector,
    tip: Vector,
    base: Vector,
    forward: Vector,
    out: Vector,
    crown: Vector,
    r: float,
) -> None:
    if plan.horn in ("curved", "straight", "antler", "ossicone"):
        p = skull + r * (0.75 * crown + 0.3 * out)
        reach = {"curved": 0.20, "straight": 0.34, "antler": 0.26, "ossicone": 0.14}[plan.horn]
        heading = {
            "curved": 0.5 * crown + 0.9 * out,
            "straight": crown - 0.35 * forward + 0.2 * out,
            "antler": 0.8 * crown + 0.6 * out - 0.2 * forward,
            "ossicone": crown + 0.1 * out,
        }[plan.horn]
        q = p + reach * heading
        body.add(p, q, 0.045, 0.032, HORN)
        if plan.horn == "curved":
            body.add(q, q + 0.16 * (crown + 0.2 * forward), 0.034, 0.012, HORN)
        elif plan.horn == "antler":
            body.add(q, q + 0.2 * (crown - 0.1 * forward), 0.028, 0.012, HORN)
            body.add(q, q + 0.16 * (0.8 * out + 0.4 * forward), 0.026, 0.012, HORN)
            body.add((p + q) / 2, (p + q) / 2 + 0.14 * (forward + 0.5 * crown), 0.024, 0.012, HORN)
    elif plan.horn == "tusk":
        p = tip + 0.6 * r * plan.snout_width * out
        body.add(p, p + 0.3 * forward - 0.12 * crown, 0.035, 0.015, HORN)
