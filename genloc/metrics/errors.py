"""What kind of error each located keypoint is: good, jitter, inversion, swap or miss.

The taxonomy of M. R. Ronchi and P. Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose
Estimation", ICCV 2017, https://arxiv.org/abs/1707.05388, with the rules of their published analysis
(https://github.com/matteorr/coco-analyze). A located keypoint is compared with four kinds of
labelled places by the keypoint similarity that OKS averages,

    ks = exp(-d^2 / (2 area (2 sigma)^2)):

its own place, the place of its mirror partner on the same instance, and both of these on the other
instances of the picture. The greatest decides:

    good        its own place, ks of 0.85 or more
    jitter      its own place, 0.5 to 0.85
    inversion   the partner's place, 0.5 or more: left and right are exchanged
    swap        a place of another instance, 0.5 or more
    miss        none of them reaches 0.5

Letters: N instances, K keypoints. Arrays are numpy; pixels are image pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KINDS = ("good", "jitter", "inversion", "swap", "miss")
GOOD, JITTER = 0.85, 0.5
"""The least similarity of a good keypoint, and of one that belongs to a place at all."""

_OWN, _PARTNER, _OTHER = range(3)


def error_kinds(
    preds: np.ndarray,
    target: np.ndarray,
    area: np.ndarray,
    image_ids: Sequence[int] | np.ndarray,
    flip_index: Sequence[int],
    sigmas: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """The kind of each located keypoint.

    Args:
        preds: [N, K, 2 or 3], x, y first.
        target: [N, K, 3], x, y, v.
        area: [N], square pixels of the true object.
        image_ids: N ids; instances of one picture can be swapped.
        flip_index: K indices, the mirror partner of each keypoint (itself where it has none).
        sigmas: K numbers.

    Returns:
        int64 [N, K], an index into `KINDS`; -1 where v = 0.

    Raises:
        ValueError: shapes do not fit.
    """
    best, place = _nearest_place(preds, target, area, image_ids, flip_index, sigmas)
    kinds = np.full(best.shape, KINDS.index("miss"))
    reached = best >= JITTER
    kinds[reached & (place == _OWN)] = KINDS.index("jitter")
    kinds[(best >= GOOD) & (place == _OWN)] = KINDS.index("good")
    kinds[reached & (place == _PARTNER)] = KINDS.index("inversion")
    kinds[reached & (place == _OTHER)] = KINDS.index("swap")
    kinds[np.asarray(target)[..., 2] <= 0] = -1
    return kinds


def corrected(
    preds: np.ndarray,
    target: np.ndarray,
    area: np.ndarray,
    kinds: np.ndarray,
    kind: str,
    sigmas: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """The located keypoints with one kind of error removed, to see what it costs.

    Jitter is moved to where it would just be good (ks 0.85) and a miss to where it would just be
    jitter (0.5); an inversion or swap, which found a place but the wrong one, to where it would be
    good. What lies nearer to its own place already stays.

    Args:
        preds, target, area, sigmas: as for `error_kinds`.
        kinds: [N, K], of `error_kinds`.
        kind: one of `KINDS` but "good".

    Returns:
        float64 [N, K, 2].

    Raises:
        ValueError: no such kind of error.
    """
    if kind not in KINDS[1:]:
        raise ValueError(f"kind is {kind!r}, expected one of {KINDS[1:]}")
    level = JITTER if kind == "miss" else GOOD
    xy, own = (np.asarray(v, np.float64)[..., :2] for v in (preds, target))
    variance = np.asarray(area, np.float64)[:, None] * (2 * np.asarray(sigmas, np.float64)) ** 2
    # A hair inside, so that rounding does not put it on the other side of the level.
    aside = np.sqrt(-2 * np.log(level) * variance) * (1 - 1e-9)
    moved = own + np.stack([aside, 0 * aside], axis=-1)
    wrong = (kinds == KINDS.index(kind)) & (np.linalg.norm(xy - own, axis=-1) > aside)
    return np.where(wrong[..., None], moved, xy)


def _nearest_place(
    preds: np.ndarray,
    target: np.ndarray,
    area: np.ndarray,
    image_ids: Sequence[int] | np.ndarray,
    flip_index: Sequence[int],
    sigmas: Sequence[float] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Greatest similarity [N, K] and whose place it is; of equal ones the own place counts."""
    xy, target = np.asarray(preds, np.float64)[..., :2], np.asarray(target, np.float64)
    area, ids = np.asarray(area, np.float64), np.asarray(image_ids)
    n, k = target.shape[:2]
    shapes = (xy.shape, target.shape, area.shape, ids.shape, len(flip_index), len(sigmas))
    if shapes != ((n, k, 2), (n, k, 3), (n,), (n,), k, k):
        raise ValueError(
            f"preds, target, area, image_ids, flip_index and sigmas have shapes {shapes}, expected "
            f"{((n, k, 2), (n, k, 3), (n,), (n,), k, k)}"
        )
    variance = (2 * np.asarray(sigmas, np.float64)) ** 2
    mirror = np.asarray(flip_index)

    def similarity(rows: np.ndarray, others: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Of the rows' predictions to the places, in that order, of the other instances: [n, K]."""
        place = target[others][:, order]
        squared = ((xy[rows] - place[..., :2]) ** 2).sum(axis=-1)
        size = area[others][:, None] + np.spacing(1)
        return np.where(place[..., 2] > 0, np.exp(-squared / variance / size / 2), -1.0)

    every, same = np.arange(n), np.arange(k)
    best, whose = similarity(every, every, same), np.full((n, k), _OWN)

    def offer(rows: np.ndarray, ks: np.ndarray, kind: int) -> None:
        better = ks > best[rows]
        best[rows] = np.where(better, ks, best[rows])
        whose[rows] = np.where(better, kind, whose[rows])

    offer(every, similarity(every, every, mirror), _PARTNER)
    order = np.argsort(ids, kind="stable")
    _, starts = np.unique(ids[order], return_index=True)
    for group in np.split(order, starts[1:]):
        for step in range(1, len(group)):  # each meets each other instance of its picture once
            others = np.roll(group, step)
            for places in (same, mirror):
                offer(group, similarity(group, others, places), _OTHER)
    return best, whose
