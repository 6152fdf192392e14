"""Heatmaps laid over pictures.

Every map is scaled to its own greatest value: a picture shows where, the scores say how surely. In
pictures of all keypoints only what lies above a map's mean is shown, since a diffuse map would hide
the others. Cell centres stay where they are: a map's outer edges are the crop's.
"""

from __future__ import annotations

import cv2
import numpy as np

from genloc.keypoints import Keypoints
from genloc.skeleton import Skeleton
from genloc.visualize.marks import COLOURS, checked_picture


def draw_heatmaps(image: np.ndarray, maps: np.ndarray, *, skeleton: Skeleton) -> np.ndarray:
    """Lay all keypoints' maps over the darkened crop, coloured by side of the body.

    Args:
        image: uint8 [H, W, 3] RGB, the crop that the maps were made from.
        maps: [K, h, w], at least 0.
        skeleton: gives the sides.

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        ValueError: maps do not fit the skeleton.
    """
    image = checked_picture(image)
    light = _light(_checked_maps(maps, skeleton), skeleton)
    canvas = _darkened(image)
    _blend(canvas, cv2.resize(light, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    return canvas


def draw_instance_heatmaps(image: np.ndarray, found: Keypoints, crop_size: int) -> np.ndarray:
    """Lay the heatmaps of all instances over the darkened picture that they were found in.

    Args:
        image: uint8 [H, W, 3] RGB, the whole picture.
        found: N instances with `heatmaps` and `crops`.
        crop_size: S, side in pixels of the crops that the maps were made from.

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        ValueError: `found` holds no heatmaps or no crops.
    """
    image = checked_picture(image)
    if found.heatmaps is None or found.crops is None:
        raise ValueError("found has no heatmaps and crops; keep them when localizing to draw them")
    canvas = _darkened(image)
    bounds = np.array(image.shape[1::-1])
    for maps, to_image in zip(found.heatmaps, found.crops, strict=True):
        light = _light(maps, found.skeleton)
        stride = crop_size / maps.shape[-1]
        matrix = to_image.copy()  # from cells to image pixels
        matrix[:, 2] += matrix[:, :2].sum(axis=1) * (stride / 2 - 0.5)
        matrix[:, :2] *= stride
        h, w = maps.shape[1:]
        corners = np.array([[-1, -1], [w, -1], [-1, h], [w, h]]) @ matrix[:, :2].T + matrix[:, 2]
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, bounds)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, bounds)
        if (high <= low).any():
            continue
        matrix[:, 2] -= low
        part = canvas[low[1] : high[1], low[0] : high[0]]
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        _blend(part, cv2.warpAffine(light, matrix, size, flags=cv2.INTER_LINEAR))
    return canvas


def draw_map(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Lay one map [h, w] over the darkened crop, black to yellow, scaled to its own peak."""
    image = checked_picture(image)
    even = _even(np.asarray(heatmap, np.float32)[None])[0]
    large = cv2.resize(even, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    strength = np.clip(large, 0, 1)
    level = (255 * strength).astype(np.uint8)
    colour = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    keep = (1 - strength[..., None]) ** 2
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.clip(0.42 * grey * keep + colour * (1 - 0.55 * keep), 0, 255).astype(np.uint8)


def _checked_maps(maps: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    maps = np.asarray(maps, np.float32)
    if maps.ndim != 3 or len(maps) != skeleton.num_keypoints:
        raise ValueError(
            f"maps has shape {list(maps.shape)}, expected [{skeleton.num_keypoints}, h, w] "
            f"for the skeleton {skeleton.name!r}"
        )
    return maps


def _even(maps: np.ndarray) -> np.ndarray:
    """[K, h, w], each scaled to a peak of 1; zeros where a map is empty or not finite."""
    maps = np.nan_to_num(maps.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = maps.max(axis=(1, 2), keepdims=True)
    return np.maximum(np.where(top > 0, maps / np.where(top > 0, top, 1), 0), 0)


def _light(maps: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """float32 [h, w, 4]: colour times opacity (0 to 255), and opacity (0 to 1).

    The sides mix by their strength, so that none lies on top of the others; peaks turn white.
    """
    even = _even(maps)
    mean = even.mean(axis=(1, 2), keepdims=True)
    even = np.clip((even - mean) / np.maximum(1 - mean, 1e-6), 0, 1)
    sides = np.array(skeleton.sides)
    strength = np.stack(
        [
            even[sides == side].max(axis=0, initial=0.0) if (sides == side).any() else 0 * even[0]
            for side in COLOURS
        ],
        axis=-1,
    )  # [h, w, 3]
    total = np.maximum(strength.sum(axis=-1, keepdims=True), 1e-6)
    colour = (strength / total) @ np.array(list(COLOURS.values()), np.float32)
    opacity = 1 - (1 - strength).prod(axis=-1, keepdims=True)
    colour = np.minimum(colour + 90 * strength.max(axis=-1, keepdims=True) ** 4, 255)
    return np.concatenate([colour * opacity, opacity], axis=-1).astype(np.float32)


def _darkened(image: np.ndarray) -> np.ndarray:
    """Grey and half as bright, so that three colours can be told on it."""
    return cv2.cvtColor(
        cv2.convertScaleAbs(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), alpha=0.5), cv2.COLOR_GRAY2RGB
    )


def _blend(canvas: np.ndarray, light: np.ndarray) -> None:
    """Lay `_light` over a canvas of the same size, in place. In bytes, for speed."""
    opacity = cv2.convertScaleAbs(np.ascontiguousarray(light[..., 3]), alpha=255)
    kept = cv2.multiply(canvas, cv2.merge([cv2.bitwise_not(opacity)] * 3), scale=1 / 255)
    canvas[...] = cv2.add(kept, cv2.convertScaleAbs(np.ascontiguousarray(light[..., :3])))
