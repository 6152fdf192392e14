"""Left and right exchanged, and poses like no other. Two tests, each a suspicion and no proof.

Crossed limbs. Pairs that the skeleton's edges join (left elbow to left knee, right elbow to right
knee) lie on the same side of a body. Where joining each left to the other right is under 0.6 times
as long as joining them as labelled, one of the two pairs was probably exchanged. Tried by exchanging
single pairs on published labels: it finds 15 to 67 % of them in Animal Pose, faces better than
legs, and points at 4 of its 850 animals as they are.

Others' poses. Two poses are compared after the best fit by shift, turn and size, without mirroring (a
Procrustes fit); what is left over is between 0 (same shape) and 1. Every animal is fitted to many
others of the file as it is labelled, and again with left and right exchanged, wholly and one pair at
a time. Where nearly all the others, and also the few most alike ones, fit clearly better after an
exchange, left and right were probably mixed up. It is strong where all are seen from one side, as
mice from above, and weak where an exchanged animal is one seen from the other side. It needs ten
animals, and is blind where a fifth of the file or more is mixed up.

Letters: N annotations, R others set beside each, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OTHERS = 200  # R: enough for the usual views; more costs time
LEAST = 10  # animals in a file
POINTS = 4  # keypoints that two animals must both have: three fit almost anything
NEAR = 3  # "the few most alike": the third-best fit, so that one twin does not decide
CROSSED = 0.6  # length after an exchange over length as labelled
VOTE, GAIN = 0.8, 2.0  # share of the others that prefer the exchange; how much less is left over


@dataclass(frozen=True)
class Shapes:
    """How the animals of a file compare.

    Args:
        residual: float64 [N], what is left over from the third-best fit as labelled; NaN where too
            few keypoints are shared.
        exchange: for each animal the pairs of keypoints that look exchanged; mostly empty.
    """

    residual: np.ndarray
    exchange: list[tuple[tuple[int, int], ...]]


def compare_shapes(
    keypoints: np.ndarray, used: np.ndarray, pairs: Sequence[tuple[int, int]], *, seed: int = 0
) -> Shapes:
    """Set every animal beside others of the file.

    Args:
        keypoints: [N, K, 2 or more], x, y first.
        used: bool [N, K], labelled with finite x, y.
        pairs: left and right keypoints, indices.
        seed: of the choice of others, where there are more than 200.
    """
    n, k = used.shape
    points = np.where(
        used, np.nan_to_num(keypoints[..., 0]) + 1j * np.nan_to_num(keypoints[..., 1]), 0
    )
    enough = used.sum(axis=1) >= POINTS
    nothing = Shapes(np.full(n, np.nan), [()] * n)
    if enough.sum() < LEAST:
        return nothing
    rich = np.flatnonzero(enough)
    rng = np.random.default_rng(seed)
    others = np.sort(rng.choice(rich, min(OTHERS, len(rich)), replace=False))
    itself = np.arange(n)[:, None] == others[None]
    plain = np.where(itself, np.nan, _left_over(points, used, points[others], used[others]))
    exchange: list[tuple[tuple[int, int], ...]] = [()] * n
    best = np.full(n, GAIN)
    groups = [(pair,) for pair in pairs] + ([tuple(pairs)] if len(pairs) > 1 else [])
    for chosen in groups:
        order = np.arange(k)
        for a, b in chosen:
            order[[a, b]] = b, a
        # Only where a pair is whole: half a pair would move a name, not exchange two.
        whole = np.logical_or.reduce([used[:, a] & used[:, b] for a, b in chosen])
        swapped = _left_over(points[:, order], used[:, order], points[others], used[others])
        gain = _gain(plain, np.where(itself, np.nan, swapped))
        better = whole & enough & (gain > best)
        best[better] = gain[better]
        for i in np.flatnonzero(better):
            exchange[i] = chosen
    return Shapes(_third(plain), exchange)


def _gain(plain: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """float64 [N]: how many times less is left over after an exchange; 0 where the vote is against it."""
    with np.errstate(all="ignore"):
        compared = np.isfinite(plain) & np.isfinite(swapped)
        vote = (compared & (swapped < plain)).sum(axis=1) / np.maximum(compared.sum(axis=1), 1)
        near = (_third(plain) + 1e-4) / (_third(swapped) + 1e-4)
    return np.where((vote >= VOTE) & np.isfinite(near), near, 0.0)


def _third(left_over: np.ndarray) -> np.ndarray:
    """float64 [N]: the third-smallest of each row; NaN where there are not so many."""
    return np.partition(np.where(np.isnan(left_over), np.inf, left_over), NEAR - 1, axis=1)[
        :, NEAR - 1
    ]


def _left_over(
    points: np.ndarray, used: np.ndarray, others: np.ndarray, others_used: np.ndarray
) -> np.ndarray:
    """float64 [N, R]: squared distance left after the best shift, turn and size, as a part of the
    animal's own spread. NaN where fewer than four keypoints are shared or all are in one place.

    With complex numbers a turn and size is one factor s, and the least |b - s a|^2 is
    |b|^2 - |<a, b>|^2 / |a|^2 after subtracting the means over the shared keypoints; all sums are
    matrix products.
    """
    m, w = used.astype(np.float32), others_used.astype(np.float32)
    count = m @ w.T
    safe = np.maximum(count, 1)
    sum_b, sum_a = points @ w.T, m @ others.T
    ab = points @ others.conj().T - sum_b * sum_a.conj() / safe
    bb = (np.abs(points) ** 2) @ w.T - np.abs(sum_b) ** 2 / safe
    aa = m @ (np.abs(others) ** 2).T - np.abs(sum_a) ** 2 / safe
    good = (count >= POINTS) & (aa > 1e-3) & (bb > 1e-3)
    with np.errstate(all="ignore"):
        left = 1 - np.abs(ab) ** 2 / (aa * bb)
    return np.where(good, np.clip(left, 0, 1), np.nan)


def _standard(keypoints: np.ndarray, used: np.ndarray) -> np.ndarray:
    """complex64 [N, K]: x + iy with mean 0 and spread 1, 0 where unused; so single precision is enough."""
    points = np.where(
        used, np.nan_to_num(keypoints[..., 0]) + 1j * np.nan_to_num(keypoints[..., 1]), 0
    )
    count = np.maximum(used.sum(axis=1), 1)[:, None]
    points = np.where(used, points - points.sum(axis=1, keepdims=True) / count, 0)
    spread = np.sqrt((np.abs(points) ** 2).sum(axis=1, keepdims=True) / count)
    return (points / np.maximum(spread, 1e-9)).astype(np.complex64)


def crossed_pairs(
    keypoints: np.ndarray,
    used: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    edges: Sequence[tuple[int, int]],
) -> list[list[tuple[int, int]]]:
    """The joined pairs of each animal that lie crosswise; mostly none.

    Args:
        keypoints: [N, K, 2 or more], x, y first.
        used: bool [N, K].
        pairs: left and right keypoints, indices.
        edges: of the skeleton.

    Returns:
        N lists of places in `pairs`, two joined ones each: one of them is suspected.
    """
    place = {k: (n, side) for n, pair in enumerate(pairs) for side, k in enumerate(pair)}
    joined = {
        (min(p, q), max(p, q))
        for (p, a), (q, b) in ((place[a], place[b]) for a, b in edges if a in place and b in place)
        if p != q and a == b
    }
    points = np.nan_to_num(keypoints[..., 0]) + 1j * np.nan_to_num(keypoints[..., 1])
    found: list[list[tuple[int, int]]] = [[] for _ in range(len(points))]
    for p, q in sorted(joined):
        (left, right), (other_l, other_r) = pairs[p], pairs[q]
        own = np.abs(points[:, left] - points[:, other_l]) + np.abs(
            points[:, right] - points[:, other_r]
        )
        cross = np.abs(points[:, left] - points[:, other_r]) + np.abs(
            points[:, right] - points[:, other_l]
        )
        all_there = used[:, [left, right, other_l, other_r]].all(axis=1)
        for i in np.flatnonzero(all_there & (cross < CROSSED * own)):
            found[i].append((p, q))
    return found


def unlike_others(shapes: Shapes) -> np.ndarray:
    """bool [N]: what is left over is far above what is usual in the file (median and MAD of the log)."""
    finite = np.isfinite(shapes.residual)
    if finite.sum() < LEAST:
        return np.zeros(len(finite), bool)
    log = np.log(np.where(finite, shapes.residual, 1) + 1e-4)
    middle = np.median(log[finite])
    spread = 1.4826 * np.median(np.abs(log[finite] - middle)) + 1e-6
    return finite & (log > middle + max(4 * spread, np.log(4)))
