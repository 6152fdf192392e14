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

    def sheet(
        self, first: tuple[Vector, Vector], last: tuple[Vector, Vector], count: int,
        radius: float, material: int = COAT,
    ) -> None:  # fmt: skip
        """A thin surface (fin, wing, board): `count` capsules from the segment `first` to `last`."""
        for t in np.linspace(0, 1, count):
            a, b = ((1 - t) * p + t * q for p, q in zip(first, last, strict=True))
            self.add(a, b, radius, radius, material)

    def lowest(self) -> float:
        """z of the lowest point of all surfaces."""
        ends = zip(self.a, self.b, self.ra, self.rb, strict=True)
        return min(min(a[2] - r, b[2] - s) for a, b, r, s in ends)

    def move(self, by: Vector) -> None:
        """Move everything, in place."""
        self.a = [a + by for a in self.a]
        self.b = [b + by for b in self.b]


def direction(pitch: float, yaw: float) -> Vector:
    """Unit vector at `pitch` above the horizon and `yaw` to the left of x, both in degrees."""
    p, y = math.radians(pitch), math.radians(yaw)
    return np.array([math.cos(p) * math.cos(y), math.cos(p) * math.sin(y), math.sin(p)])
