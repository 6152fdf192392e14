"""Every kind of error is recognised in planted cases, and as a loop over all places recognises it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genloc.metrics.errors import KINDS, corrected, error_kinds
from genloc.metrics.oks import oks

FLIP = (1, 0, 2)  # left, right, nose
SIGMAS = (0.1, 0.1, 0.05)
POSE = np.array([[10.0, 10, 2], [30, 10, 1], [20, 30, 2]])


def two_animals() -> tuple[np.ndarray, np.ndarray]:
    target = np.stack([POSE, POSE + np.array([200, 0, 0])])
    return target, np.array([900.0, 400.0])


def kinds_of(preds: np.ndarray, target: np.ndarray, area: np.ndarray, images=(1, 1)) -> np.ndarray:
    return error_kinds(preds, target, area, images, FLIP, SIGMAS)


def named(kinds: np.ndarray) -> list[list[str]]:
    return [[KINDS[i] if i >= 0 else "" for i in row] for row in kinds]


def test_each_kind_is_recognised() -> None:
    target, area = two_animals()
    preds = target[..., :2].copy()
    assert named(kinds_of(preds, target, area)) == [["good"] * 3] * 2
    preds[0, [0, 1]] = preds[0, [1, 0]]
    preds[0, 2] += 1000
    preds[1, 2] = target[0, 2, :2]  # the other's nose
    preds[1, 0] = target[0, 1, :2]  # the other's other side
    preds[1, 1] += (0, 20 * 0.2 * 0.8)  # d = 0.8 of the deviation: ks = exp(-0.32) = 0.73
    assert named(kinds_of(preds, target, area)) == [
        ["inversion", "inversion", "miss"],
        ["swap", "jitter", "swap"],
    ]
    # alone in its picture there is nobody to be mistaken for
    assert named(kinds_of(preds, target, area, images=(1, 2)))[1] == ["miss", "jitter", "miss"]


@pytest.mark.parametrize(
    ("ks", "kind"), [(0.851, "good"), (0.849, "jitter"), (0.501, "jitter"), (0.499, "miss")]
)
def test_the_limits_are_those_of_the_paper(ks: float, kind: str) -> None:
    target, area = two_animals()
    preds = target[..., :2].copy()
    preds[0, 2, 1] += math.sqrt(-2 * 900 * (2 * 0.05) ** 2 * math.log(ks))
    assert named(kinds_of(preds, target, area))[0][2] == kind


def test_what_is_not_labelled_is_neither_an_error_nor_a_place() -> None:
    target, area = two_animals()
    target[0, 1] = 0
    preds = target[..., :2].copy()
    preds[0, 0] = POSE[1, :2]  # where the partner would be
    assert named(kinds_of(preds, target, area))[0] == ["miss", "", "good"]


def brute_force(preds, target, area, images) -> np.ndarray:
    n, k = target.shape[:2]
    kinds = np.full((n, k), -1)
    for a in range(n):
        for i in range(k):
            if target[a, i, 2] == 0:
                continue
            places = []
            for b in range(n):
                for j in {i, FLIP[i]}:
                    if images[a] != images[b] or target[b, j, 2] == 0:
                        continue
                    d2 = sum((preds[a, i] - target[b, j, :2]) ** 2)
                    ks = math.exp(-d2 / (2 * area[b] * (2 * SIGMAS[i]) ** 2))
                    name = "swap" if b != a else "inversion" if j != i else "own"
                    places.append((ks, name))
            ks, name = max(places)
            if ks < 0.5:
                name = "miss"
            elif name == "own":
                name = "good" if ks >= 0.85 else "jitter"
            kinds[a, i] = KINDS.index(name)
    return kinds


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_it_agrees_with_a_loop_over_all_places(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    target = np.concatenate(
        [rng.uniform(0, 60, (n, 3, 2)), rng.choice([0.0, 1, 2], (n, 3, 1))], axis=-1
    )
    preds = rng.uniform(0, 60, (n, 3, 2))
    area, images = rng.uniform(400, 9000, n), rng.choice(2, n)
    found = error_kinds(preds, target, area, images, FLIP, SIGMAS)
    np.testing.assert_array_equal(found, brute_force(preds, target, area, images))


def test_a_corrected_error_is_one_no_more() -> None:
    target, area = two_animals()
    preds = target[..., :2].copy()
    preds[0, [0, 1]] = preds[0, [1, 0]]
    preds[0, 2] += 1000
    kinds = kinds_of(preds, target, area)
    fixed = corrected(preds, target, area, kinds, "inversion", SIGMAS)
    assert named(kinds_of(fixed, target, area))[0] == ["good", "good", "miss"]
    np.testing.assert_array_equal(fixed[1], preds[1])
    fixed = corrected(preds, target, area, kinds, "miss", SIGMAS)
    assert named(kinds_of(fixed, target, area))[0] == ["inversion", "inversion", "jitter"]
    assert (oks(fixed, target, area, SIGMAS) >= oks(preds, target, area, SIGMAS)).all()
    with pytest.raises(ValueError, match="kind is 'good'"):
        corrected(preds, target, area, kinds, "good", SIGMAS)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS[1:]))
def test_correcting_never_lowers_the_similarity(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    target = np.concatenate([rng.uniform(0, 60, (4, 3, 2)), np.full((4, 3, 1), 2.0)], axis=-1)
    preds = target[..., :2] + rng.normal(0, 12, (4, 3, 2))
    area = rng.uniform(400, 9000, 4)
    kinds = error_kinds(preds, target, area, [1, 1, 1, 2], FLIP, SIGMAS)
    fixed = corrected(preds, target, area, kinds, kind, SIGMAS)
    gain = oks(fixed, target, area, SIGMAS) - oks(preds, target, area, SIGMAS)
    assert (gain >= -1e-12).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    target, area = two_animals()
    with pytest.raises(ValueError, match="have shapes"):
        kinds_of(target[:1], target, area)
