"""One animal in three dimensions: a body plan, an individual, a pose -> capsules and joints.

World frame: x forward, y to the animal's left, z up, the ground at z = 0; the unit is the distance
from hip to chest. Everything that varies is drawn from the generator handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from genloc.data.zoo.species import SPECIES, BodyPlan, body_plan

# What a capsule is made of; the coat decides colours from it.
COAT, DARK, EYE, HORN, MANE, PAW, FACE, EAR, TAIL, BELLY, LEG, HIDE = range(12)

POSES = ("standing", "walking", "running", "lying", "sitting", "grazing", "turning", "rearing")
_POSE_P = (0.20, 0.22, 0.17, 0.10, 0.09, 0.10, 0.08, 0.04)

Vector = np.ndarray  # [3] float64


@dataclass
class Capsules:
    """Sphere-swept segments: a, b [n,3] world units, ra, rb [n] radii, material [n]."""

    a: list[Vector] = field(default_factory=list)
    b: list[Vector] = field(default_factory=list)
    ra: list[float] = field(default_factory=list)
    rb: list[float] = field(default_factory=list)
    material: list[int] = field(default_factory=list)

    def add(self, a: Vector, b: Vector, ra: float, rb: float, material: int = COAT) -> None:
        self.a.append(a)
        self.b.append(b)
        self.ra.append(ra)
        self.rb.append(rb)
        self.material.append(material)


@dataclass(frozen=True)
class Animal:
    """Capsules, the 17 joints of AP-10K [17,3], the radius around each [17], and what it does."""

    category_id: int
    plan: BodyPlan
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


def _direction(pitch: float, yaw: float) -> Vector:
    """Unit vector at `pitch` above the horizon and `yaw` to the left of x, both in degrees."""
    p, y = math.radians(pitch), math.radians(yaw)
    return np.array([math.cos(p) * math.cos(y), math.cos(p) * math.sin(y), math.sin(p)])


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
    spine = _direction(pitch, turn)
    chest = hip + spine
    r_chest, r_hip = plan.girth, plan.girth * plan.hips
    left_hip, left_chest = np.array([0.0, 1.0, 0.0]), _direction(0, turn + 90)
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
    head_word = _head(body, joints, radius, plan, chest, spine, up, pitch, turn, pose, rng)
    _tail(body, joints, radius, plan, hip, spine, up, rng)
    if plan.wing:  # the membrane between arm and body, as a fan of thin capsules
        for side in (0, 1):
            elbow, paw = joints[6 + 3 * side], joints[7 + 3 * side]
            for t in np.linspace(0.1, 0.9, 9):
                body.add(elbow + t * (paw - elbow), hip + (0.9 - 0.8 * t) * spine, 0.03, 0.03, EAR)

    lowest = min(
        min(a[2] - r, b[2] - s) for a, b, r, s in zip(body.a, body.b, body.ra, body.rb, strict=True)
    )
    rise = -lowest + (rng.uniform(0, 0.15) if pose == "running" else 0.0)
    shift = np.array([0.0, 0.0, rise])
    body.a = [a + shift for a in body.a]
    body.b = [b + shift for b in body.b]
    return Animal(category_id, plan, body, joints + shift, radius, pose, head_word)


def _front_legs(body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: BodyPlan, chest: Vector,
                left: Vector, turn: float, angles: np.ndarray, pose: str) -> None:  # fmt: skip
    length, w = plan.leg * plan.front, plan.leg_width
    for side, sign in enumerate((1.0, -1.0)):
        out = 4.0 * sign + (24.0 * sign if plan.wing else 0.0)
        shoulder = chest + sign * 0.72 * plan.girth * left + np.array([0, 0, -0.30 * plan.girth])
        elbow = shoulder + 0.45 * length * _limb(angles[side, 0], out, turn)
        wrist = elbow + 0.50 * length * _limb(angles[side, 1], out * 0.4, turn)
        toe = wrist + (0.9 if plan.hoof else 1.5) * w * _direction(
            -25 if pose != "lying" else 0, turn
        )
        body.add(shoulder, elbow, 1.55 * w + 0.06 * plan.girth, 0.95 * w, LEG)
        body.add(elbow, wrist, 0.95 * w, 0.68 * w, LEG)
        body.add(wrist, toe, 0.85 * w, 0.8 * w, DARK if plan.hoof else PAW)
        base = 5 + 3 * side
        joints[base : base + 3] = shoulder, elbow, (wrist + toe) / 2
        radius[base : base + 3] = 1.7 * w + 0.1 * plan.girth, 1.05 * w, 0.9 * w


def _hind_legs(body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: BodyPlan, hip: Vector,
               left: Vector, angles: np.ndarray, pose: str) -> None:  # fmt: skip
    length, w, r_hip = plan.leg, plan.leg_width, plan.girth * plan.hips
    for side, sign in enumerate((1.0, -1.0)):
        out = (14.0 if pose in ("sitting", "lying") else 4.0) * sign
        joint = hip + sign * 0.62 * r_hip * left + np.array([0, 0, -0.2 * r_hip])
        knee = joint + 0.42 * length * _limb(angles[side, 0], out, 0)
        hock = knee + 0.36 * length * _limb(angles[side, 1], out * 0.3, 0)
        ankle = hock + 0.24 * length * _limb(angles[side, 2], 0, 0)
        toe = ankle + (0.9 if plan.hoof else 1.6) * w * _direction(-15 if pose != "lying" else 0, 0)
        body.add(joint, knee, 1.9 * w + 0.12 * r_hip, 1.15 * w, LEG)
        body.add(knee, hock, 1.1 * w, 0.72 * w, LEG)
        body.add(hock, ankle, 0.72 * w, 0.66 * w, LEG)
        body.add(ankle, toe, 0.85 * w, 0.8 * w, DARK if plan.hoof else PAW)
        base = 11 + 3 * side
        joints[base : base + 3] = joint, knee, (ankle + toe) / 2
        radius[base : base + 3] = 2.0 * w + 0.15 * r_hip, 1.25 * w, 0.9 * w


def _head(body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: BodyPlan, chest: Vector,
          spine: Vector, up: Vector, pitch: float, turn: float, pose: str, rng: np.random.Generator) -> str:  # fmt: skip
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
    top = root + plan.neck * _direction(neck_pitch, 0.5 * (turn + look))
    body.add(chest + 0.25 * plan.girth * up, root, 0.8 * plan.girth, 1.15 * plan.neck_width, COAT)
    body.add(root, top, 1.15 * plan.neck_width, min(plan.neck_width, 0.95 * r), COAT)
    nod = rng.normal(-16, 12) if pose != "grazing" else rng.uniform(-75, -40)
    forward, left = _direction(nod, look), _direction(0, look + 90)
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
        p, heading = tip, _direction(nod - 40, look)
        for k in range(4):
            q = p + plan.trunk / 4 * heading
            body.add(p, q, 0.11 - 0.02 * k, 0.09 - 0.02 * k, FACE)
            p, heading = q, heading * 0.7 + np.array([0, 0, -0.5]) + forward * (0.15 * k)
            heading /= np.linalg.norm(heading)
        nose = p  # the tip of the trunk is the nose
    if plan.mane > 0.3:
        back = -0.35 * _direction(neck_pitch, look) + 0.6 * crown
        for t in np.linspace(0.15, 1.0, 5):
            p = root + t * (top - root)
            body.add(p, p + 0.75 * plan.neck_width * back, 0.12 + 0.09 * plan.mane, 0.08, MANE)
    joints[2], radius[2] = nose, 0.35 * w
    joints[3], radius[3] = root + 0.1 * (top - root), 1.2 * plan.neck_width
    drop = top[2] - chest[2]
    return "down" if drop < -0.1 else "up" if drop > 0.3 else "level"


def _horn(body: Capsules, plan: BodyPlan, skull: Vector, tip: Vector, base: Vector, forward: Vector,
          out: Vector, crown: Vector, r: float) -> None:  # fmt: skip
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


def _tail(body: Capsules, joints: np.ndarray, radius: np.ndarray, plan: BodyPlan, hip: Vector,
          spine: Vector, up: Vector, rng: np.random.Generator) -> None:  # fmt: skip
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


def species_name(category_id: int) -> str:
    """AP-10K's name of a species id."""
    return SPECIES[category_id - 1][0]
