from __future__ import annotations

import numpy as np
import pytest

from genloc.metrics.pck import located, pck, pck_per_keypoint, pckh


def test_the_border_counts_and_the_longer_side_decides() -> None:
    target = np.zeros((2, 1, 3))
    target[..., 2] = 1
    preds = np.array([[[10.0, 0.0]], [[10.001, 0.0]]])
    boxes = np.array([[0, 0, 100, 20], [0, 0, 20, 100]])
    assert pck(preds, target, boxes, 0.1) == 0.5


def test_it_is_the_share_of_labelled_keypoints_over_all_instances() -> None:
    rng = np.random.default_rng(0)
    target = np.concatenate([rng.random((5, 4, 2)) * 50, rng.choice([0, 1, 2], (5, 4, 1))], axis=2)
    preds = target[..., :2] + rng.normal(0, 5, (5, 4, 2))
    boxes = np.concatenate([np.zeros((5, 2)), rng.random((5, 2)) * 60 + 10], axis=1)
    right = count = 0
    for n in range(5):
        for k in range(4):
            if target[n, k, 2] > 0:
                count += 1
                error = np.hypot(*(preds[n, k] - target[n, k, :2]))
                right += error <= 0.1 * max(boxes[n, 2], boxes[n, 3])
    assert 0 < right < count
    assert pck(preds, target, boxes, 0.1) == right / count
    per_keypoint = pck_per_keypoint(preds, target, boxes, 0.1)
    labelled = located(preds, target, boxes)[1].sum(axis=0)
    assert np.nansum(per_keypoint * labelled) == pytest.approx(right)


def test_pckh_measures_by_each_person_s_head() -> None:
    target = np.zeros((2, 1, 3))
    target[..., 2] = 1
    preds = np.array([[[20.0, 0.0]], [[20.0, 0.0]]])
    assert pckh(preds, target, np.array([40.0, 39.9])) == 0.5
    assert pckh(preds, target, np.array([200.0, 199.0]), 0.1) == 0.5
    for sizes in (np.array([1.0, 0.0]), np.ones((2, 1)), np.ones(3)):
        with pytest.raises(ValueError, match=r"head_sizes|do not fit"):
            pckh(preds, target, sizes)


def test_nothing_labelled_is_nan() -> None:
    target = np.zeros((1, 2, 3))
    target[0, 0, 2] = 2
    boxes = np.array([[0, 0, 1, 1]])
    assert np.isnan(pck_per_keypoint(target, target, boxes)).tolist() == [False, True]
    assert np.isnan(pck(target * 0, target * 0, boxes))


def test_mistakes_are_refused() -> None:
    target, boxes = np.zeros((2, 3, 3)), np.zeros((2, 4))
    with pytest.raises(ValueError, match="do not fit"):
        pck(target[:1], target, boxes)
    with pytest.raises(ValueError, match="a is 0"):
        pck(target, target, boxes, 0)
