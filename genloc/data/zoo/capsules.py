"""Capsules, which everything alive in the zoo is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

# What a capsule is made of; the coat decides colours from it.
COAT, DARK, EYE, HORN, MANE, PAW, FACE, EAR, TAIL, BELLY, LEG = range(11)

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


def direction(pitch: float, yaw: float) -> Vector:
    """Unit vector at `pitch` above the horizon and `yaw` to the left of x, both in degrees."""
    p, y = math.radians(pitch), math.radians(yaw)
    return np.array([math.cos(p) * math.cos(y), math.cos(p) * math.sin(y), math.sin(p)])
