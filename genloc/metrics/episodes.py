"""PCK over pairs of support and query, as category-agnostic pose estimation is scored.

Facts from CapeFormer's evaluation (https://github.com/flyinglynx/CapeFormer, `test_base_dataset.py`)
and the accuracy it takes from mmpose: a keypoint counts where it is labelled in the query and in
every support; it is found when its error is *less than* a times the longer side of the query's box;
a pair's PCK is the mean over its counted keypoints, 0 where there is none; the score is the mean over
pairs; mPCK is the mean over the five thresholds.

Letters: P pairs, K keypoints.
"""

from __future__ import annotations

import numpy as np

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25)


def pair_pck(
    found: np.ndarray,
    truth: np.ndarray,
    counted: np.ndarray,
    side: np.ndarray,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> np.ndarray:
    """PCK of each pair at each threshold.

    Args:
        found: [P, K, 2], image pixels.
        truth: [P, K, 2].
        counted: bool [P, K].
        side: [P], the longer side of the query's box.
        thresholds: parts of that side.

    Returns:
        float64 [P, len(thresholds)], 0 for a pair without a counted keypoint.

    Raises:
        ValueError: shapes do not fit.

    >>> one = np.array([[[0.0, 0.0], [5.0, 0.0]]])
    >>> pair_pck(one, np.zeros((1, 2, 2)), np.ones((1, 2), bool), np.array([25.0]), (0.2, 0.25))
    array([[0.5, 1. ]])
    """
    found, truth, side = (np.asarray(v, np.float64) for v in (found, truth, side))
    counted = np.asarray(counted, bool)
    p, k = counted.shape
    if found.shape != (p, k, 2) or truth.shape != (p, k, 2) or side.shape != (p,):
        raise ValueError(
            f"found {list(found.shape)}, truth {list(truth.shape)}, counted {list(counted.shape)} and "
            f"side {list(side.shape)} do not fit, expected [P, K, 2] twice, [P, K] and [P]"
        )
    error = np.linalg.norm(found - truth, axis=-1) / side[:, None]
    right = (error[..., None] < np.asarray(thresholds)) & counted[..., None]
    return right.sum(1) / np.maximum(counted.sum(1), 1)[:, None]


def episode_scores(pairs: np.ndarray) -> dict[str, float]:
    """`PCK@0.05` to `PCK@0.25` and `mPCK`, 0 to 1, of what `pair_pck` gives; NaN without pairs."""
    mean = pairs.mean(axis=0) if len(pairs) else np.full(len(THRESHOLDS), np.nan)
    named = {f"PCK@{a:g}": float(v) for a, v in zip(THRESHOLDS, mean, strict=True)}
    return named | {"mPCK": float(mean.mean())}
