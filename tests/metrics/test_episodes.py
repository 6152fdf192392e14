from __future__ import annotations

import numpy as np
import pytest

from genloc.metrics.episodes import THRESHOLDS, episode_scores, pair_pck


def test_two_pairs_by_hand() -> None:
    """Sides 100 and 10. The first has errors 3, 12, 24 and one that does not count; the second 2."""
    truth = np.zeros((2, 4, 2))
    found = np.array([[[3, 0], [0, 12], [24, 0], [90, 0]], [[2, 0], [0, 0], [0, 0], [0, 0]]], float)
    counted = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
    by_pair = pair_pck(found, truth, counted, np.array([100.0, 10.0]))
    third = 1 / 3
    # An error of exactly 0.2 of the side is not less than it.
    expected = np.array([[third, third, 2 * third, 2 * third, 1], [0, 0, 0, 0, 1]])
    np.testing.assert_allclose(by_pair, expected)
    scores = episode_scores(by_pair)
    assert scores["PCK@0.2"] == pytest.approx(third)
    assert scores["PCK@0.25"] == 1
    # Pooling the four counted keypoints instead would give 2/4 at 0.2.
    assert scores["mPCK"] == pytest.approx(np.mean([third / 2, third / 2, third, third, 1]))


def second_implementation(
    found: np.ndarray, truth: np.ndarray, counted: np.ndarray, side: np.ndarray
) -> dict[str, float]:
    """In plain loops, from the description of the protocol."""
    table: dict[str, float] = {}
    for a in THRESHOLDS:
        of_pairs = []
        for p in range(len(found)):
            hits = []
            for k in range(found.shape[1]):
                if counted[p, k]:
                    dx, dy = (found[p, k] - truth[p, k]) / side[p]
                    hits.append(float((dx * dx + dy * dy) ** 0.5 < a))
            of_pairs.append(sum(hits) / len(hits) if hits else 0.0)
        table[f"PCK@{a:g}"] = sum(of_pairs) / len(of_pairs)
    return table | {"mPCK": sum(table.values()) / len(table)}


def test_agrees_with_a_second_implementation() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 50, (40, 7, 2))
    found = truth + rng.normal(0, 6, truth.shape)
    counted = rng.random((40, 7)) < 0.6
    counted[3] = False
    side = rng.uniform(20, 60, 40)
    ours = episode_scores(pair_pck(found, truth, counted, side))
    assert ours == pytest.approx(second_implementation(found, truth, counted, side))
    assert 0.1 < ours["mPCK"] < 0.9


def test_a_pair_without_a_counted_keypoint_counts_nothing_found() -> None:
    zero = np.zeros((1, 2, 2))
    assert not pair_pck(zero, zero, np.zeros((1, 2), bool), np.ones(1)).any()
    assert np.isnan(episode_scores(np.zeros((0, 5)))["mPCK"])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        pair_pck(np.zeros((1, 2, 3)), np.zeros((1, 2, 2)), np.ones((1, 2), bool), np.ones(1))
