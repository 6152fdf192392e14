"""Pictures at another size, and points that stay on them.

Marks come out smooth on a picture that is drawn on large and shown smaller.
"""

from __future__ import annotations

import cv2
import numpy as np

from genloc.visualize.marks import checked_picture


def fitted(image: np.ndarray, side: int) -> np.ndarray:
    """The picture scaled so that its longer side is `side` pixels."""
    zoom = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    if size == image.shape[1::-1]:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)


def enlarged(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture with a longer side of `side` pixels, and its zoom [2] in x and y."""
    large = fitted(checked_picture(image), side)
    return large, np.array([large.shape[1] / image.shape[1], large.shape[0] / image.shape[0]])


def zoomed(points: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """[K, 2 or 3] with x, y in the pixels of the zoomed picture (edges coincide, not centres)."""
    points = np.array(points, np.float64)
    points[:, :2] = (points[:, :2] + 0.5) * zoom - 0.5
    return points
