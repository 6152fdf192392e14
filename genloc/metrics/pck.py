"""PCK@a: the share of labelled keypoints located within a x the longer side of the box.

Letters: N instances, K keypoints. Arrays are numpy; pixels are image pixels.
"""

from __future__ import annotations

import numpy as np


def pck(preds: np.ndarray, target: np.ndarray, boxes: np.ndarray, a: float = 0.1) -> float:
    """Share of all labelled keypoints whose error is at most a x max(width, height).

    Args:
        preds: [N, K, 2 or 3], x, y first.
        target: [N, K, 3], x, y, v; rows with v = 0 do not count.
        boxes: [N, 4], x, y, width, height.
        a: above 0.

    Returns:
        0 to 1; NaN where nothing is labelled.

    Raises:
        ValueError: shapes do not fit, or a is not above 0.

    >>> target = np.array([[[0, 0, 2], [9, 9, 1]]])
    >>> pck(np.array([[[1.0, 0], [5, 5]]]), target, np.array([[0, 0, 10, 10]]))
    0.5
    """
    right, labelled = located(preds, target, boxes, a)
    return float(right.sum() / labelled.sum()) if labelled.any() else float("nan")


def pck_per_keypoint(
    preds: np.ndarray, target: np.ndarray, boxes: np.ndarray, a: float = 0.1
) -> np.ndarray:
    """PCK@a of each keypoint, float64 [K]; NaN where it is never labelled."""
    right, labelled = located(preds, target, boxes, a)
    count = labelled.sum(axis=0)
    return np.where(count > 0, right.sum(axis=0) / np.maximum(count, 1), np.nan)


def pckh(preds: np.ndarray, target: np.ndarray, head_sizes: np.ndarray, a: float = 0.5) -> float:
    """PCKh@a, MPII's measure: as `pck`, but within a x each person's own head size.

    Andriluka et al., 2D Human Pose Estimation: New Benchmark and State of the Art Analysis, CVPR 2014; the head
    size is 0.6 x the diagonal of the head's rectangle in their evaluation (evalMPII).

    Args:
        preds, target, a: see `pck`.
        head_sizes: [N] in pixels, above 0.

    Raises:
        ValueError: shapes do not fit, a head size or a is not above 0.

    >>> target = np.array([[[0, 0, 2], [9, 9, 1]]])
    >>> pckh(np.array([[[3.0, 0], [9, 5]]]), target, np.array([7.0]))
    0.5
    """
    sizes = np.asarray(head_sizes, np.float64)
    if sizes.ndim != 1 or not (sizes > 0).all():
        raise ValueError(f"head_sizes {list(sizes.shape)}: expected [N], all above 0")
    boxes = np.stack([np.zeros_like(sizes)] * 2 + [sizes] * 2, axis=-1)
    return pck(preds, target, boxes, a)


def located(
    preds: np.ndarray, target: np.ndarray, boxes: np.ndarray, a: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Which keypoints are labelled and located, and which are labelled: two bool [N, K]."""
    preds, target, boxes = (np.asarray(v, np.float64) for v in (preds, target, boxes))
    n, k = target.shape[:2]
    if target.shape != (n, k, 3) or preds.shape[:2] != (n, k) or boxes.shape != (n, 4):
        raise ValueError(
            f"preds {list(preds.shape)}, target {list(target.shape)} and boxes {list(boxes.shape)} "
            "do not fit, expected [N, K, 2 or 3], [N, K, 3] and [N, 4]"
        )
    if not a > 0:
        raise ValueError(f"a is {a}, expected a part of the box's longer side, above 0")
    labelled = target[..., 2] > 0
    error = np.linalg.norm(preds[..., :2] - target[..., :2], axis=-1)
    return labelled & (error <= a * boxes[:, None, 2:].max(axis=-1)), labelled
