from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from genloc.metrics.mean_pose import mean_pose, place
from genloc.skeleton import Skeleton

THREE = Skeleton("three", ("a", "b", "c"), (), (), (0.1, 0.1, 0.1))


def test_mean_over_those_that_label_it() -> None:
    first = SimpleNamespace(
        box=(10, 20, 100, 50), keypoints=np.array([[20, 25, 2], [60, 45, 1], [0, 0, 0]])
    )
    second = SimpleNamespace(
        box=(0, 0, 10, 10), keypoints=np.array([[3, 5, 2], [99, 99, 0], [0, 0, 0]])
    )
    pose = mean_pose([first, second])
    assert np.allclose(pose, [[0.2, 0.3], [0.5, 0.5], [0.5, 0.5]])
    found = place(pose, np.array([[10, 20, 100, 50], [0, 0, 10, 20]]), THREE)
    assert np.allclose(found.xy[0], [[30, 35], [60, 45], [60, 45]])
    assert np.allclose(found.xy[1], [[2, 6], [5, 10], [5, 10]])
    assert found.instance_scores().tolist() == [1, 1]


def test_of_one_instance_it_is_that_instance() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([rng.random((3, 2)) * 30, np.full((3, 1), 2)], axis=1)
    one = SimpleNamespace(box=(3.0, 4.0, 20.0, 17.0), keypoints=labels)
    found = place(mean_pose([one]), np.array([one.box]), THREE)
    assert np.allclose(found.xy[0], labels[:, :2], atol=1e-5)


def test_of_nothing_there_is_none() -> None:
    with pytest.raises(ValueError, match="instances is empty"):
        mean_pose([])
