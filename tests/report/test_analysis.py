"""The report's numbers agree with the metrics they stand for, and with what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from genloc.metrics.coco import CocoAP
from genloc.metrics.pck import pck, pck_per_keypoint
from genloc.report.analysis import OKS_AT, PCK_AT, analyse, calibrate
from tests.report.make_record import SPECIES, K, make


@pytest.fixture(scope="module")
def evaluation():
    record, results = make(24)
    return record, results, analyse(record, results)


def test_pck_is_that_of_the_metrics(evaluation) -> None:
    record, _, found = evaluation
    each = pck_per_keypoint(found.xy, record.keypoints, record.boxes, 0.1)
    np.testing.assert_allclose([g.pck10 for g in found.keypoints], each)
    for group in found.species:
        rows = [record.species[i] == group.name for i in record.category_id.tolist()]
        same = pck(found.xy[rows], record.keypoints[rows], record.boxes[rows], 0.05)
        assert group.pck5 == pytest.approx(same)
        assert group.count == sum(rows)
    curve = found.pck_curve["this run"]
    assert curve[PCK_AT.searchsorted(0.0999)] == pytest.approx(
        pck(found.xy, record.keypoints, record.boxes, 0.1)
    )
    assert (np.diff(curve) >= 0).all()


def test_ap_is_that_of_pycocotools_with_the_scores_of_the_file(evaluation) -> None:
    record, results, found = evaluation
    truth = {
        "images": [{"id": int(i)} for i in record.image_id],
        "categories": [
            {"id": i, "name": name, "keypoints": list(record.skeleton.keypoints)}
            for i, name in SPECIES.items()
        ],
        "annotations": [
            {
                "id": int(record.annotation_id[i]),
                "image_id": int(record.image_id[i]),
                "category_id": int(record.category_id[i]),
                "bbox": record.boxes[i].tolist(),
                "area": float(record.area[i]),
                "iscrowd": 0,
                "num_keypoints": int((record.keypoints[i, :, 2] > 0).sum()),
                "keypoints": record.keypoints[i].ravel().tolist(),
            }
            for i in range(len(results))
        ],
    }
    scorer = CocoAP(truth, record.skeleton)
    scorer.add(results)
    scores = scorer.compute()
    assert found.ap == pytest.approx(scores["AP"])
    assert {g.name: g.ap for g in found.species} == pytest.approx(scores["per_species"])


def test_planted_errors_are_counted(evaluation) -> None:
    record, _, found = evaluation
    rows = np.arange(24)
    far = rows % 4 == 3
    mirrored = (rows % 3 == 2) & ~far
    np.testing.assert_array_equal(found.exchanged, mirrored)
    labelled = record.keypoints[..., 2] > 0
    assert found.shares["miss"] == pytest.approx(labelled[far].sum() / labelled.sum())
    both = labelled & labelled[:, list(record.skeleton.flip_index)]
    paired = np.array([s != "centre" for s in record.skeleton.sides])
    planted = (both & paired)[mirrored].sum() / labelled.sum()
    assert found.shares["inversion"] == pytest.approx(planted, abs=0.01)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.without["inversion"] > found.ap + 0.1
    assert found.without["swap"] == pytest.approx(found.ap)
    assert set(found.kinds[~labelled]) == {-1}


def test_left_and_right_at_one_place_are_counted() -> None:
    record, results = make(24)
    found = analyse(record, results)
    assert found.together[0] < 0.1, "the planted errors keep them apart"
    for result in results[:12]:  # of 24, both at the place of the left one
        rows = np.array(result["keypoints"]).reshape(-1, 3)
        for left, right in record.skeleton.flip_pairs:
            rows[right, :2] = rows[left, :2]
        result["keypoints"] = rows.ravel().tolist()
    both = (record.keypoints[..., 2] > 0) & (
        record.keypoints[:, list(record.skeleton.flip_index), 2] > 0
    )
    paired = both[:, [left for left, _ in record.skeleton.flip_pairs]]
    again = analyse(record, results)
    expected = paired[:12].sum() / paired.sum()
    assert expected <= again.together[0] < expected + 0.05
    assert again.together[1] == found.together[1] < 0.05


def test_one_keypoint_alone_has_the_ap_of_how_often_it_is_near(evaluation) -> None:
    record, _, found = evaluation
    nose = record.skeleton.index("nose")
    labelled = record.keypoints[:, nose, 2] > 0
    far = np.arange(24) % 4 == 3
    # the far ones score lowest, all others are right: AP is the recall at full precision
    recall = (labelled & ~far).sum() / labelled.sum()
    expected = np.mean(np.linspace(0, 1, 101) <= recall)
    assert found.keypoints[nose].ap == pytest.approx(expected)


def test_the_oks_curve_falls_from_all_to_the_perfect(evaluation) -> None:
    _, _, found = evaluation
    for curve in found.oks_curve.values():
        assert curve[0] == 1 and (np.diff(curve) <= 0).all()
    assert found.oks_curve["this run"][OKS_AT.searchsorted(0.5)] == (found.oks >= 0.5).mean()


def test_calibration_on_hand_computed_cases() -> None:
    right = np.array([False, False, True, True])
    perfect = calibrate(np.array([0.1, 0.2, 0.3, 0.4]), right, bins=1)
    assert (perfect.ranking, perfect.error) == (1.0, pytest.approx(0.25))
    assert calibrate(np.array([0.4, 0.3, 0.2, 0.1]), right).ranking == 0
    assert calibrate(np.full(4, 0.5), right).ranking == 0.5  # ties
    assert np.isnan(calibrate(np.arange(4.0), np.ones(4, bool)).ranking)
    rng = np.random.default_rng(0)
    score = rng.random(40_000)
    honest = calibrate(score, rng.random(40_000) < score)
    assert honest.error < 0.02 and honest.count.sum() == 40_000
    few, hit = score[:60], rng.random(60) < score[:60]
    slow = np.mean([a > b for a in few[hit] for b in few[~hit]])
    assert calibrate(few, hit).ranking == pytest.approx(slow)


def test_results_of_another_evaluation_are_refused(evaluation) -> None:
    record, results, _ = evaluation
    for wrong in (
        results[1:],
        [{**r, "annotation_id": r["annotation_id"] + 1} for r in results],
        [{key: value for key, value in r.items() if key != "annotation_id"} for r in results],
    ):
        with pytest.raises(ValueError, match="of another evaluation"):
            analyse(record, wrong)


def test_a_single_instance_and_a_keypoint_never_labelled_do_no_harm() -> None:
    record, results = make(1, shown=1)
    record.keypoints[:, 3] = 0
    found = analyse(record, results)
    assert np.isnan(found.keypoints[3].ap) and np.isnan(found.keypoints[3].pck10)
    assert len(found.keypoints) == K
