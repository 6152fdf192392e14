from __future__ import annotations

import doctest

import numpy as np
import pytest
from pycocotools.coco import COCO as PyCoco
from pycocotools.cocoeval import COCOeval

import genloc.metrics.oks
import genloc.metrics.pck
from genloc.metrics.oks import oks, oks_nms
from genloc.skeleton import AP10K


def some(n: int, spread: float = 6.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    target = np.concatenate(
        [rng.random((n, 17, 2)) * 80, rng.choice([0, 1, 2], (n, 17, 1))], axis=2
    )
    preds = target[..., :2] + rng.normal(0, spread, (n, 17, 2))
    return preds, target, rng.random(n) * 5000 + 100


def test_docstring_examples() -> None:
    for module in (genloc.metrics.oks, genloc.metrics.pck):
        failed, tried = doctest.testmod(module)
        assert tried > 0
        assert failed == 0


def test_equals_pycocotools(capsys: pytest.CaptureFixture) -> None:
    preds, target, area = some(12)
    gt = PyCoco()
    gt.dataset = {
        "images": [{"id": i} for i in range(12)],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": i + 1,
                "image_id": i,
                "category_id": 1,
                "iscrowd": 0,
                "area": float(area[i]),
                "bbox": [0, 0, 80, 80],
                "num_keypoints": int((target[i, :, 2] > 0).sum()),
                "keypoints": target[i].ravel().tolist(),
            }
            for i in range(12)
        ],
    }
    gt.createIndex()
    rows = np.concatenate([preds, np.ones((12, 17, 1))], axis=2)
    dt = gt.loadRes(
        [
            {
                "image_id": i,
                "category_id": 1,
                "score": 1.0,
                "keypoints": rows[i].ravel().tolist(),
            }
            for i in range(12)
        ]
    )
    evaluation = COCOeval(gt, dt, "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(AP10K.sigmas)
    evaluation.evaluate()
    expected = [evaluation.ious[i, 1][0, 0] for i in range(12)]
    assert np.allclose(oks(preds, target, area, AP10K.sigmas), expected, atol=1e-12, rtol=1e-12)
    assert 0.05 < np.mean(expected) < 0.95


def test_perfect_is_one_and_unlabelled_is_nan() -> None:
    _, target, area = some(3)
    target[1, :, 2] = 0
    value = oks(target, target, area, AP10K.sigmas)
    assert value[[0, 2]].tolist() == [1, 1]
    assert np.isnan(value[1])


def test_shapes_that_do_not_fit_are_refused() -> None:
    preds, target, area = some(3)
    with pytest.raises(ValueError, match="do not fit"):
        oks(preds[:2], target, area, AP10K.sigmas)
    with pytest.raises(ValueError, match="area has shape"):
        oks(preds, target, area[:2], AP10K.sigmas)
    with pytest.raises(ValueError, match="sigmas has 3 numbers, expected 17"):
        oks(preds, target, area, [0.1] * 3)


def test_nms_keeps_the_best_of_near_copies() -> None:
    _, target, _ = some(2)
    area = np.full(4, 3000.0)
    first, other = target[0, :, :2], target[1, :, :2]
    preds = np.stack([first, first + 0.3, other, first + 12])
    keep = oks_nms(preds, np.array([0.5, 0.9, 0.1, 0.2]), area, AP10K.sigmas, 0.9)
    assert keep.tolist() == [False, True, True, True]
    assert oks_nms(preds, np.ones(4), area, AP10K.sigmas).tolist() == [True, False, True, True]
    assert oks_nms(preds[:0], np.ones(0), area[:0], AP10K.sigmas).tolist() == []


def test_nms_a_removed_instance_removes_nothing() -> None:
    """b is near a and c is near b but not near a: a removes b, and c stays."""
    base = np.zeros((17, 2))
    area = np.full(3, 100.0)
    sigmas = [0.5] * 17
    preds = np.stack([base + np.array([x, 0]) for x in (0, 4, 8)])
    assert oks_nms(preds, np.array([3, 2, 1]), area, sigmas, 0.9).tolist() == [True, False, True]
