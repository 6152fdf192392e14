"""One animal in three dimensions: a body plan, an individual, a pose -> capsules and joints.

World frame: x forward, y to the animal's left, z up, the ground at z = 0; the unit is the distance
from hip to chest. Everything that varies is drawn from the generator handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from genloc.data.zoo.capsules import (
    BELLY,
    COAT,
    DARK,
    EAR,
    LEG,
    PAW,
    TAIL,
    Capsules,
    Vector,
    direction,
)
from genloc.data.zoo.head import add_head
from genloc.data.zoo.species import BodyPlan, body_plan, species_name

POSES = ("standing", "walking", "running", "lying", "sitting", "grazing", "turning", "rearing")
_POSE_P = (0.26, 0.28, 0.17, 0.06, 0.06, 0.09, 0.06, 0.02)


@dataclass(frozen=True)
class Animal:
    """What is drawn: capsules, joints [K,3], the radius around each [K], and what it does.

    A quadruped has the 17 joints of AP-10K; other body plans have their own (`bodies.py`).
    `colours` (RGB 0..1) and `patterns` are those its coat is drawn from half of the time.
    """

    category_id: int
    name: str
    colours: tuple[tuple[float, float, float], ...]
    patterns: tuple[str, ...]
    capsules: Capsules
    joints: np.ndarray
    joint_radius: np.ndarray
    pose: str
    head: str  # "up", "level" or "down", for captions


def individual(category_id: int, rng: np.random.Generator) -> BodyPlan:
    """The build of one individual: its species' plan with every proportion varied."""
    plan = body_plan(category_id)
    young = rng.random() < 0.15  # big head, short snout and legs
    scale = {
        name: float(getattr(plan, name) * math.exp(rng.normal(0, spread)))
        for name, spread in (
            ("leg", 0.10), ("front", 0.03), ("leg_width", 0.18), ("girth", 0.14), ("hips", 0.08),
            ("neck", 0.14), ("neck_width", 0.12), ("head", 0.10), ("snout", 0.15), ("snout_width", 0.08),
            ("ear", 0.18), ("tail", 0.18), ("tail_width", 0.25), ("mane", 0.2),
        )
    }  # fmt: skip
    if young:
        scale["head"] *= 1.25
        scale["snout"] *= 0.8
        scale["leg_width"] *= 1.15
    return replace(plan, **scale)  # type: ignore[arg-type]


def _limb(angle: float, out: float, yaw: float) -> Vector:
    """Unit vector hanging down, swung forward by `angle` and sideways (left) by `out`, degrees."""
    t, o = math.radians(angle), math.radians(out)
    forward, left, down = math.sin(t), math.sin(o), -math.cos(t) * math.cos(o)
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    v = np.array([forward * c - left * s, forward * s + left * c, down])
    return v / np.linalg.norm(v)


def _leg_angles(pose: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Front (upper, lower) and hind (thigh, shank, foot) angles for left and right; the back's pitch.

    Angles are degrees forward of straight down. Returns front [2,2], hind [2,3], pitch.
    """
    front = np.array([[-18.0, 6.0]] * 2)
    hind = np.array([[22.0, -32.0, 8.0]] * 2)
    pitch = rng.normal(0, 4)
    if pose in ("walking", "running", "turning"):
        swing = {"walking": 24.0, "running": 46.0, "turning": 18.0}[pose] * rng.uniform(0.7, 1.2)
        phase = rng.uniform(0, 2 * math.pi)
        # A walk moves diagonal legs nearly together; a run moves the front pair, then the hind pair.
        lag = math.pi * 0.9 if pose != "running" else rng.uniform(0.2, 1.2)
        half = math.pi * 0.5 if pose != "running" else math.pi * rng.uniform(0.7, 1.1)
        for side in (0, 1):
            p = phase + side * lag
            front[side] += (
                swing * math.sin(p),
                swing * math.sin(p) - 0.9 * swing * max(0.0, math.cos(p)),
            )
            p += half
            lift = max(0.0, math.cos(p))
            hind[side] += (
                swing * math.sin(p),
                swing * (0.8 * math.sin(p) - 0.8 * lift),
                swing * 0.6 * math.sin(p),
            )
        pitch += rng.normal(0, 7) if pose == "running" else 0.0
    elif pose == "lying":
        # Forelegs stretched out or folded under; hind legs folded.
        for side in (0, 1):
            front[side] = (68, 88) if rng.random() < 0.6 else (72, -84)
            hind[side] = (80, -78, 86)
    elif pose == "sitting":
        pitch = rng.uniform(32, 58)
        front[:] = (-8, 4)
        hind[:] = (88, -58, 86)
    elif pose == "rearing":
        pitch = rng.uniform(45, 75)
        front = np.array([[60.0, 20.0]] * 2) + rng.normal(0, 18, (2, 2))
        hind[:] = (10, -25, 5)
    elif pose == "grazing":
        pitch -= 5
        front += np.array([[14.0, 10.0], [-10.0, -6.0]]) * rng.choice([-1, 1])
    front += rng.normal(0, 5, (2, 2))
    hind += rng.normal(0, 5, (2, 3))
    return front, hind, pitch


def make_animal(category_id: int, rng: np.random.Generator, pose: str | None = None) -> Animal:
    """An animal of a species in a random pose, standing on the ground at the origin.

    Args:
        category_id: AP-10K's category id, 1 to 54.
        rng: source of every draw.
        pose: one of `POSES`, or None to draw one.
    """
    plan = individual(category_id, rng)
    if pose is None:
        pose = str(rng.choice(POSES, p=np.array(_POSE_P) / sum(_POSE_P)))
    front, hind, pitch = _leg_angles(pose, rng)
    turn = rng.normal(0, 26 if pose == "turning" else 7)  # bend of the back, in yaw
    body = Capsules()
    hip = np.zeros(3)
    spine = direction(pitch, turn)
    chest = hip + spine
    r_chest, r_hip = plan.girth, plan.girth * plan.hips
    left_hip, left_chest = np.array([0.0, 1.0, 0.0]), direction(0, turn + 90)
    up = np.cross(spine, left_chest)
    up /= np.linalg.norm(up)
    body.add(hip, chest, r_hip, r_chest, COAT)
    sag = -0.12 * r_chest * up
    body.add(hip + 0.3 * spine + sag, hip + 0.75 * spine + sag, 0.95 * r_hip, 0.97 * r_chest, BELLY)
    if plan.hump:
        rise = (0.35 + 0.5 * plan.hump) * r_chest * up
        body.add(
            chest + 0.4 * rise - 0.1 * spine,
            chest + rise - 0.35 * spine,
            0.75 * r_chest,
            0.55 * r_chest,
        )

    joints, radius = np.zeros((17, 3)), np.zeros(17)
    _front_legs(body, joints, radius, plan, chest, left_chest, turn, front, pose)
    _hind_legs(body, joints, radius, plan, hip, left_hip, hind, pose)
    head_word = add_head(body, joints, radius, plan, chest, spine, up, pitch, turn, pose, rng)
    _tail(body, joints, radius, plan, hip, spine, up, rng)
    if plan.wing:  # the membrane between arm and body, as a fan of thin capsules
        for side in (0, 1):
            elbow, paw = joints[6 + 3 * side], joints[7 + 3 * side]
            for t in np.linspace(0.1, 0.9, 9):
                body.add(elbow + t * (paw - elbow), hip + (0.9 - 0.8 * t) * spine, 0.03, 0.03, EAR)

    height = -body.lowest() + (rng.uniform(0, 0.15) if pose == "running" else 0.0)
    shift = np.array([0.0, 0.0, height])
    body.move(shift)
    name = species_name(category_id)
    return Animal(
        category_id, name, plan.colours, plan.patterns, body, joints + shift, radius, pose, head_word
    )  # fmt: skip


def _front_legs(
    body: Capsules,
    joints: np.ndarray,
    radius: np.ndarray,
    plan: BodyPlan,
    chest: Vector,
    left: Vector,
    turn: float,
    angles: np.ndarray,
    pose: str,
) -> None:
    length, w = plan.leg * plan.front, plan.leg_width
    for side, sign in enumerate((1.0, -1.0)):
        out = 4.0 * sign + (24.0 * sign if plan.wing else 0.0)
        shoulder = chest + sign * 0.72 * plan.girth * left + np.array([0, 0, -0.30 * plan.girth])
        elbow = shoulder + 0.45 * length * _limb(angles[side, 0], out, turn)
        wrist = elbow + 0.50 * length * _limb(angles[side, 1], out * 0.4, turn)
        toe = wrist + (0.9 if plan.hoof else 1.5) * w * direction(
            -25 if pose != "lying" else 0, turn
        )
        body.add(shoulder, elbow, 1.55 * w + 0.06 * plan.girth, 0.95 * w, LEG)
        body.add(elbow, wrist, 0.95 * w, 0.68 * w, LEG)
        body.add(wrist, toe, 0.85 * w, 0.8 * w, DARK if plan.hoof else PAW)
        base = 5 + 3 * side
        joints[base : base + 3] = shoulder, elbow, (wrist + toe) / 2
        radius[base : base + 3] = 1.7 * w + 0.1 * plan.girth, 1.05 * w, 0.9 * w


def _hind_legs(
    body: Capsules,
    joints: np.ndarray,
    radius: np.ndarray,
    plan: BodyPlan,
    hip: Vector,
    left: Vector,
    angles: np.ndarray,
    pose: str,
) -> None:
    length, w, r_hip = plan.leg, plan.leg_width, plan.girth * plan.hips
    for side, sign in enumerate((1.0, -1.0)):
        out = (14.0 if pose in ("sitting", "lying") else 4.0) * sign
        joint = hip + sign * 0.62 * r_hip * left + np.array([0, 0, -0.2 * r_hip])
        knee = joint + 0.42 * length * _limb(angles[side, 0], out, 0)
        hock = knee + 0.36 * length * _limb(angles[side, 1], out * 0.3, 0)
        ankle = hock + 0.24 * length * _limb(angles[side, 2], 0, 0)
        toe = ankle + (0.9 if plan.hoof else 1.6) * w * direction(-15 if pose != "lying" else 0, 0)
        body.add(joint, knee, 1.9 * w + 0.12 * r_hip, 1.15 * w, LEG)
        body.add(knee, hock, 1.1 * w, 0.72 * w, LEG)
        body.add(hock, ankle, 0.72 * w, 0.66 * w, LEG)
        body.add(ankle, toe, 0.85 * w, 0.8 * w, DARK if plan.hoof else PAW)
        base = 11 + 3 * side
        joints[base : base + 3] = joint, knee, (ankle + toe) / 2
        radius[base : base + 3] = 2.0 * w + 0.15 * r_hip, 1.25 * w, 0.9 * w


def _tail(
    body: Capsules,
    joints: np.ndarray,
    radius: np.ndarray,
    plan: BodyPlan,
    hip: Vector,
    spine: Vector,
    up: Vector,
    rng: np.random.Generator,
) -> None:
    r_hip = plan.girth * plan.hips
    p = hip - 0.88 * r_hip * spine + 0.42 * r_hip * up
    joints[4], radius[4] = p, plan.tail_width + 0.04
    if plan.tail < 0.03:
        return
    heading = -spine + rng.uniform(-0.9, 0.8) * up + np.array([0, rng.normal(0, 0.3), 0])
    curl = rng.uniform(-0.7, 0.5)
    w = plan.tail_width
    for k in range(3):
        heading /= np.linalg.norm(heading)
        q = p + plan.tail / 3 * heading
        # The brush sits at the end: the last piece widens, the others keep the root's width.
        end = w * (plan.tail_tip if k == 2 else 1 + (plan.tail_tip - 1) * 0.3 * (k + 1))
        body.add(p, q, w, end, TAIL)
        p, w = q, end
        heading = heading + curl * up + np.array([0, 0, -0.15])
