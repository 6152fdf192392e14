"""From image pixels to crop pixels: one affine and its exact inverse, and augmentation's draws.

Pixels: (0, 0) is the centre of the top-left pixel, in images and in crops; a crop of size S covers
-0.5 to S - 0.5. Boxes are x, y, width, height as COCO has them, taken as plain numbers: the centre
is x + width / 2, and it lands on the crop's centre (S - 1) / 2. Only this file says so.

Letters: S crop pixels, K keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np

from genloc.skeleton import Skeleton

Colour = Callable[[np.ndarray], np.ndarray]
"""uint8 [H, W, 3] RGB to the same."""


class HasKeypoints(Protocol):
    """What augmentation looks at: `genloc.data.coco.Instance` is one."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def keypoints(self) -> np.ndarray: ...

    @property
    def image_size(self) -> tuple[int, int] | None: ...


@dataclass(frozen=True, eq=False)
class Crop:
    """A square crop of an image.

    Args:
        matrix: float64 [2, 3], image pixels to crop pixels.
        size: S.
        flipped: the crop is mirrored, so left and right keypoints change places.
    """

    matrix: np.ndarray
    size: int
    flipped: bool = False

    @cached_property
    def inverse(self) -> np.ndarray:
        """float64 [2, 3], crop pixels to image pixels."""
        (a, b, x), (c, d, y) = np.asarray(self.matrix, np.float64)
        turn = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
        return np.concatenate([turn, -turn @ np.array([[x], [y]])], axis=1)

    @property
    def scale(self) -> float:
        """Crop pixels per image pixel."""
        (a, b, _), (c, d, _) = self.matrix
        return math.sqrt(abs(a * d - b * c))

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Image pixels [..., 2] to crop pixels, float64 [..., 2]. Rows keep their order."""
        return apply_affine(self.matrix, xy)

    def to_image(self, xy: np.ndarray) -> np.ndarray:
        """Crop pixels [..., 2] to image pixels, float64 [..., 2]."""
        return apply_affine(self.inverse, xy)

    def image(self, rgb: np.ndarray, *, reduction: int = 1) -> np.ndarray:
        """Cut the crop out: uint8 [H, W, 3] to uint8 [S, S, 3], zero outside the image.

        Bilinear; where the crop shrinks the image twofold or more, whole blocks of pixels are
        averaged first, so that fine patterns do not alias.

        Args:
            rgb: the picture, any number of channels.
            reduction: `rgb` was shrunk by this while decoding (`read_image(reduction=...)`).

        Raises:
            ValueError: `rgb` is not uint8 [H, W, C].
        """
        if rgb.ndim != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"rgb is {rgb.dtype} {list(rgb.shape)}, expected uint8 [H, W, 3]")
        matrix = _on_blocks(self.matrix, reduction)
        factor = int(1 / (self.scale * reduction) + 1e-6)
        if factor >= 2:
            rgb, matrix = self._blocks(rgb, matrix, factor)
        return cv2.warpAffine(rgb, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR)

    def _blocks(
        self, rgb: np.ndarray, matrix: np.ndarray, factor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The part of `rgb` the crop sees, averaged over factor x factor blocks, and its matrix."""
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (self.size - 1.0)
        seen = apply_affine(Crop(matrix, self.size).inverse, corners)
        bounds = np.array([rgb.shape[1], rgb.shape[0]])
        low = np.clip(np.floor(seen.min(axis=0)).astype(int) - factor, 0, bounds - 1)
        high = np.clip(np.ceil(seen.max(axis=0)).astype(int) + factor + 1, low + 1, bounds)
        part = rgb[low[1] : high[1], low[0] : high[0]]
        right, below = (-part.shape[1]) % factor, (-part.shape[0]) % factor
        if right or below:
            part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0)
        cells = (part.shape[1] // factor, part.shape[0] // factor)
        matrix = matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ low
        return cv2.resize(part, cells, interpolation=cv2.INTER_AREA), _on_blocks(matrix, factor)


def apply_affine(matrix: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """matrix [2, 3] on points [..., 2], in float64."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(xy, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def _on_blocks(matrix: np.ndarray, factor: int) -> np.ndarray:
    """The same map from a picture of blocks, whose pixel u is at (u + 0.5) factor - 0.5."""
    turn = matrix[:, :2]
    offset = matrix[:, 2] + turn.sum(axis=1) * (factor - 1) / 2
    return np.concatenate([turn * factor, offset[:, None]], axis=1)


def square_crop(
    box: tuple[float, float, float, float] | np.ndarray,
    size: int,
    *,
    padding: float = 1.25,
    rotation: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    flip: bool = False,
) -> Crop:
    """The crop around a box: a square of side max(width, height) x padding x scale.

    Args:
        box: x, y, width, height in image pixels.
        size: S, at least 1.
        padding: how much larger than the box's longer side.
        rotation: degrees by which the content turns counter-clockwise, about the box's centre.
        scale: of the square; above 1 the object gets smaller.
        shift: of the centre, in box widths and heights.
        flip: mirror left to right, after rotating.

    Raises:
        ValueError: the box has no area, or size, padding or scale is not above 0.
    """
    x, y, w, h = (float(v) for v in box)
    if not (w > 0 and h > 0 and math.isfinite(x + y + w + h)):
        raise ValueError(f"box is {tuple(box)}, expected x, y, width > 0, height > 0")
    if not (size >= 1 and padding > 0 and scale > 0):
        raise ValueError(
            f"size {size}, padding {padding} and scale {scale} must be above 0 (size at least 1)"
        )
    zoom = size / (max(w, h) * padding * scale)
    angle = math.radians(rotation)
    cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
    turn = np.array([[cos, sin], [-sin, cos]])  # y points down: this is counter-clockwise
    if flip:
        turn[0] = -turn[0]
    centre = np.array([x + w * (0.5 + shift[0]), y + h * (0.5 + shift[1])])
    offset = (size - 1) / 2 - turn @ centre
    return Crop(np.concatenate([turn, offset[:, None]], axis=1), size, flip)


@dataclass(frozen=True)
class Augmentation:
    """How training crops vary. The defaults are those of the published AP-10K baselines, with
    mild colour.

    Args:
        flip: probability of mirroring. A skeleton without flip pairs is never mirrored: which of
            its keypoints would change places is not known.
        rotation: degrees; the angle is normal with this deviation, cut at twice it.
        rotation_p: probability of rotating at all.
        scale: the square's side times 1 + a normal of this deviation, cut at 1 -+ scale.
        half_body: probability of cropping to the front or hind half (the upper or lower body),
            for instances with more than 8 labelled keypoints and a skeleton that knows the halves.
        shift: the centre moves by up to this part of the box's width and height.
        colour: brightness, contrast and saturation vary by up to this part; 0 for none.
        whole: probability of showing more of the picture than the box, up to all of it, so that what is
            learned can look for the animal by itself (`genloc predict --zoom`). A picture whose file
            states no size is always cropped to the box.

    Raises:
        ValueError: a probability is not within 0 to 1, or an amount is negative.
    """

    flip: float = 0.5
    rotation: float = 40.0
    rotation_p: float = 0.6
    scale: float = 0.5
    half_body: float = 0.3
    shift: float = 0.0
    colour: float = 0.2
    whole: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "rotation_p", "half_body", "whole"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a probability, 0 to 1")
        for name, limit in (("rotation", 180), ("scale", 0.99), ("shift", 1), ("colour", 0.99)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to {limit}")

    def draw(
        self,
        instance: HasKeypoints,
        skeleton: Skeleton,
        size: int,
        padding: float,
        rng: np.random.Generator,
    ) -> tuple[Crop, Colour]:
        """One crop and one change of colour. Always takes the same numbers from `rng`, so that
        switching one part off leaves the others as they were.

        Args:
            instance: its box and keypoints [K, 3].
            skeleton: the K keypoints.
            size, padding: as for `square_crop`.
            rng: the only source of chance.
        """
        chance = rng.random(4)
        turn, zoom = np.clip(rng.standard_normal(2), [-2, -1], [2, 1])
        shift = rng.uniform(-1, 1, 2) * self.shift
        colour = rng.uniform(-1, 1, 3) * self.colour
        wide = float(rng.random())
        box = instance.box
        if chance[2] < self.half_body:
            half = _half_body(instance, skeleton, upper_first=bool(chance[3] < 0.5))
            # As the published baselines: 1.5 around the chosen joints, whatever the padding.
            box, padding = (box, padding) if half is None else (half, 1.5)
        if wide < self.whole and instance.image_size is not None:
            box = _wider(box, instance.image_size, wide / self.whole)
        crop = square_crop(
            box,
            size,
            padding=padding,
            rotation=float(turn) * self.rotation if chance[1] < self.rotation_p else 0.0,
            scale=1 + float(zoom) * self.scale,
            shift=(float(shift[0]), float(shift[1])),
            flip=bool(chance[0] < self.flip and skeleton.flip_pairs),
        )
        return crop, _colour(*colour) if self.colour > 0 else _same


def _wider(
    box: tuple[float, float, float, float], picture: tuple[int, int], part: float
) -> tuple[float, float, float, float]:
    """A square between the box's (part 0) and the whole picture's (1); sizes in geometric steps."""
    x, y, w, h = box
    near, far = max(w, h), float(max(picture))
    if far <= near:
        return box
    side = near * (far / near) ** part
    along = (side - near) / (far - near)
    cx, cy = (
        (1 - along) * (start + extent / 2) + along * whole / 2
        for start, extent, whole in ((x, w, picture[0]), (y, h, picture[1]))
    )
    return (cx - side / 2, cy - side / 2, side, side)


def _half_body(
    instance: HasKeypoints, skeleton: Skeleton, *, upper_first: bool
) -> tuple[float, float, float, float] | None:
    """A box centred on the mean of the labelled keypoints of one half, or None."""
    labelled = instance.keypoints[:, 2] > 0
    if labelled.sum() <= 8 or not skeleton.upper_body:
        return None
    upper = np.zeros(len(labelled), bool)
    upper[list(skeleton.upper_body)] = True
    halves = [labelled & upper, labelled & ~upper]
    if not upper_first:
        halves.reverse()
    chosen = halves[0] if halves[0].sum() > 2 else halves[1]
    points = instance.keypoints[chosen, :2].astype(np.float64)
    if len(points) < 2:
        return None
    extent = points.max(axis=0) - points.min(axis=0)
    if extent.max() < 1:  # all in one pixel: nothing to look at
        return None
    extent = np.maximum(extent, 1.0)
    x, y = points.mean(axis=0) - extent / 2
    return (float(x), float(y), float(extent[0]), float(extent[1]))


def _colour(brightness: float, contrast: float, saturation: float) -> Colour:
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    matrix = (1 + saturation) * np.eye(3) - saturation * grey
    matrix = (1 + contrast) * matrix
    offset = 127.5 * (brightness - contrast)  # contrast pivots on middle grey
    affine = np.concatenate([matrix, np.full((3, 1), offset)], axis=1)
    return lambda rgb: cv2.transform(rgb, affine)


def _same(rgb: np.ndarray) -> np.ndarray:
    return rgb
