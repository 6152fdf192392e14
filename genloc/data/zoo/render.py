"""A camera, and capsules drawn into depth, normal and material buffers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from genloc.data.zoo.capsules import Capsules


@dataclass(frozen=True)
class Camera:
    """Looks at the origin's surroundings; world units to pixels.

    right, up, toward: unit vectors [3] of the picture's axes in the world; scale: pixels per unit;
    centre: pixel of the origin; distance: of the eye, in world units (perspective).
    """

    right: np.ndarray
    up: np.ndarray
    toward: np.ndarray
    scale: float
    centre: tuple[float, float]
    distance: float

    @classmethod
    def looking(cls, yaw: float, elevation: float, roll: float, distance: float) -> Camera:
        """Degrees; yaw 0 stands in front of the animal, 90 at its left, 180 behind it."""
        y, e, r = math.radians(yaw), math.radians(elevation), math.radians(roll)
        toward = np.array([math.cos(e) * math.cos(y), math.cos(e) * math.sin(y), math.sin(e)])
        right = np.array([-math.sin(y), math.cos(y), 0.0])
        up = np.cross(toward, right)
        right, up = math.cos(r) * right + math.sin(r) * up, math.cos(r) * up - math.sin(r) * right
        return cls(right, up, toward, 1.0, (0.0, 0.0), distance)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World [n,3] -> pixels [n,2], depth towards the eye [n] in pixels, local scale [n]."""
        depth = points @ self.toward
        factor = self.scale * self.distance / np.maximum(self.distance - depth, 0.3)
        x = self.centre[0] + factor * (points @ self.right)
        y = self.centre[1] - factor * (points @ self.up)
        return np.stack([x, y], 1), depth * self.scale, factor


@dataclass
class Buffers:
    """Per pixel [size,size]: depth (-inf where empty), normal [.,.,3], part index, place along the part."""

    depth: np.ndarray
    normal: np.ndarray
    part: np.ndarray
    along: np.ndarray
    cover: np.ndarray  # soft edge, 0..1


def empty_buffers(size: int) -> Buffers:
    """Buffers in which nothing has been drawn."""
    return Buffers(
        np.full((size, size), -np.inf, np.float32),
        np.zeros((size, size, 3), np.float32),
        np.full((size, size), -1, np.int16),
        np.zeros((size, size), np.float32),
        np.zeros((size, size), np.float32),
    )


def draw_capsules(capsules: Capsules, camera: Camera, size: int) -> Buffers:
    """Draw each capsule's visible surface, nearest first by a depth test per pixel.

    A capsule is the union of the spheres between its ends: along the ray of a pixel at distance e
    from the projected axis, the nearest surface is where the slope of the axis equals that of the
    sphere, which gives `w` below in closed form.
    """
    out = empty_buffers(size)
    pa, za, fa = camera.project(np.asarray(capsules.a))
    pb, zb, fb = camera.project(np.asarray(capsules.b))
    ra, rb = np.asarray(capsules.ra) * fa, np.asarray(capsules.rb) * fb
    grid = np.arange(size, dtype=np.float32)
    reach = np.maximum(ra, rb) + 1.5
    low = np.floor(np.minimum(pa, pb) - reach[:, None]).astype(int)
    high = np.ceil(np.maximum(pa, pb) + reach[:, None]).astype(int) + 1
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    for i in range(len(ra)):
        x0, y0, x1, y1 = low[i, 0], low[i, 1], high[i, 0], high[i, 1]
        if x1 <= x0 or y1 <= y0:
            continue
        window = (slice(y0, y1), slice(x0, x1))
        qx = grid[None, x0:x1] - np.float32(pa[i, 0])
        qy = grid[y0:y1, None] - np.float32(pa[i, 1])
        dx, dy, dz = float(pb[i, 0] - pa[i, 0]), float(pb[i, 1] - pa[i, 1]), float(zb[i] - za[i])
        length = math.hypot(dx, dy)
        if length > 1e-3:
            ux, uy = dx / length, dy / length
            s = qx * np.float32(ux) + qy * np.float32(uy)
            e2 = (qx * np.float32(uy) - qy * np.float32(ux)) ** 2
            r_mean = 0.5 * float(ra[i] + rb[i])
            m = dz / length
            w = np.sqrt(np.maximum(r_mean * r_mean - e2, 0.0)) * np.float32(
                m / math.sqrt(1 + m * m)
            )
            t = np.clip((s + w) * np.float32(1 / length), 0.0, 1.0)
        else:
            ux = uy = 0.0
            t = np.full(np.broadcast_shapes(qx.shape, qy.shape), 1.0 if dz > 0 else 0.0, np.float32)
        r = np.float32(ra[i]) + t * np.float32(rb[i] - ra[i])
        ex, ey = qx - t * np.float32(dx), qy - t * np.float32(dy)
        h2 = r * r - ex * ex - ey * ey
        # Half a pixel of soft edge outside the radius; r * r - d * d is about 2 r (r - d) there.
        soft = np.clip(h2 / (2 * r + 1e-6) + 0.5, 0.0, 1.0)
        cover = out.cover[window]
        np.maximum(cover, soft, out=cover)
        h = np.sqrt(np.maximum(h2, 0.0))
        z = np.float32(za[i]) + t * np.float32(dz) + h
        hit = (soft > 0.01) & (z > out.depth[window])
        if not hit.any():
            continue
        out.depth[window][hit] = z[hit]
        inverse = 1.0 / np.maximum(r, 1e-6)
        normal = out.normal[window]
        normal[hit] = np.stack([ex * inverse, -ey * inverse, h * inverse], -1)[hit]
        out.part[window][hit] = i
        out.along[window][hit] = t[hit]
    return out


def shadow_mask(capsules: Capsules, camera: Camera, sun: np.ndarray, size: int) -> np.ndarray:
    """Where the sun's shadow falls on the ground [size,size], 0..1 float32; sun is a direction [3]."""
    import cv2

    def drop(p: np.ndarray) -> np.ndarray:
        ground = p - (p[:, 2:] / max(float(sun[2]), 0.15)) * sun
        ground[:, 2] = 0
        return ground

    pa, _, fa = camera.project(drop(np.asarray(capsules.a)))
    pb, _, fb = camera.project(drop(np.asarray(capsules.b)))
    width = np.asarray(capsules.ra) * fa + np.asarray(capsules.rb) * fb
    mask = np.zeros((size, size), np.uint8)
    # Above the horizon's side the ground's shadow is squeezed by the viewing angle; lines stand for it.
    squeeze = max(0.25, abs(float(camera.toward[2])))
    for a, b, w in zip(pa, pb, width, strict=True):
        if np.abs(a).max() > 8 * size or np.abs(b).max() > 8 * size:
            continue
        cv2.line(
            mask, tuple(int(v) for v in a), tuple(int(v) for v in b), 255, max(1, int(w * squeeze))
        )
    return cv2.GaussianBlur(mask, (0, 0), max(0.8, size / 110)).astype(np.float32) / 255
