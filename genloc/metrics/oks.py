"""Object keypoint similarity: 1 for a perfect instance, falling with each keypoint's distance.

    oks = mean over labelled k of exp(-d_k^2 / (2 area (2 sigma_k)^2))

as COCO's evaluation has it (its "kappa" is 2 sigma), with its 1e-16 beside the area.

Letters: N instances, M others, K keypoints. Arrays are numpy; pixels are image pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_EPS = np.spacing(1)


def oks(
    preds: np.ndarray, target: np.ndarray, area: np.ndarray, sigmas: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Similarity of each prediction to the truth beside it.

    Args:
        preds: [N, K, 2 or 3], x, y first; the rest is ignored.
        target: [N, K, 3], x, y, v; rows with v = 0 do not count.
        area: [N], square pixels of the true object.
        sigmas: K numbers.

    Returns:
        float64 [N]; NaN where nothing is labelled.

    Raises:
        ValueError: shapes do not fit.

    >>> truth = np.array([[[0, 0, 2], [9, 9, 0]]])
    >>> oks(np.array([[[3.0, 4.0], [0, 0]]]), truth, np.array([100]), [0.25, 0.25]).round(4)
    array([0.6065])
    """
    _check(preds, target, sigmas)
    if np.shape(area) != (len(target),):
        raise ValueError(f"area has shape {list(np.shape(area))}, expected [{len(target)}]")
    similar = _similarity(preds, target, np.asarray(area, np.float64), sigmas)
    labelled = np.asarray(target)[..., 2] > 0
    count = labelled.sum(axis=-1)
    total = (similar * labelled).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def oks_nms(
    preds: np.ndarray,
    scores: np.ndarray,
    area: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
    threshold: float = 0.9,
) -> np.ndarray:
    """Which instances of one image (and species) stay when near copies are removed.

    From the best score down, an instance removes those whose OKS with it is above the threshold,
    all keypoints counting and areas averaged.

    Args:
        preds: [N, K, 2 or 3], x, y first.
        scores: [N].
        area: [N], square pixels.
        sigmas: K numbers.
        threshold: OKS above it is the same instance.

    Returns:
        bool [N].
    """
    preds = np.asarray(preds, np.float64)
    area = np.asarray(area, np.float64)
    keep = np.ones(len(preds), bool)
    order = np.argsort(-np.asarray(scores), kind="stable")
    for place, i in enumerate(order):
        rest = order[place + 1 :]
        rest = rest[keep[rest]]
        if keep[i] and len(rest):
            mean_area = (area[rest] + area[i]) / 2
            same = _similarity(preds[rest], preds[i][None], mean_area, sigmas).mean(axis=-1)
            keep[rest[same > threshold]] = False
    return keep


def _similarity(
    preds: np.ndarray, target: np.ndarray, area: np.ndarray, sigmas: Sequence[float] | np.ndarray
) -> np.ndarray:
    """[N, K] of each keypoint."""
    offset = np.asarray(preds, np.float64)[..., :2] - np.asarray(target, np.float64)[..., :2]
    variance = (2 * np.asarray(sigmas, np.float64)) ** 2
    return np.exp(-(offset**2).sum(axis=-1) / variance / (area[:, None] + _EPS) / 2)


def _check(preds: np.ndarray, target: np.ndarray, sigmas: Sequence[float] | np.ndarray) -> None:
    n, k = np.shape(target)[:2]
    if np.shape(target) != (n, k, 3) or np.shape(preds)[:2] != (n, k):
        raise ValueError(
            f"preds {list(np.shape(preds))} and target {list(np.shape(target))} do not fit, "
            "expected [N, K, 2 or 3] and [N, K, 3]"
        )
    if len(sigmas) != k:
        raise ValueError(f"sigmas has {len(sigmas)} numbers, expected {k}, one for each keypoint")
