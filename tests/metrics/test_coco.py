from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO as PyCoco
from pycocotools.cocoeval import COCOeval

from genloc.data.coco import CocoKeypoints
from genloc.metrics.coco import STATS, CocoAP
from genloc.skeleton import ANIMALPOSE, AP10K, COCO, OKS_SIGMAS, Skeleton
from tests.make_coco import write_coco

Results = list[dict[str, Any]]


def truth_of(folder: Path, **options: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"images": 24, "instances": 2, "species": (1, 8, 25)}
    path = write_coco(folder, **{**usual, "size": (200, 150), **options})
    return CocoKeypoints(path, folder / "images", skeleton=AP10K).ground_truth()


def answers(truth: dict[str, Any], spread: float, seed: int = 0) -> Results:
    """The truth moved by a normal of `spread` pixels, better for the first species."""
    rng = np.random.default_rng(seed)
    results = []
    for a in truth["annotations"]:
        if a["num_keypoints"] == 0 or a["iscrowd"]:
            continue
        rows = np.reshape(a["keypoints"], (-1, 3)).copy()
        rows[:, :2] += rng.normal(
            0, spread * (0.5 if a["category_id"] == 1 else 1), rows[:, :2].shape
        )
        rows[:, 2] = 1
        results.append(
            {
                "image_id": a["image_id"],
                "category_id": a["category_id"],
                "annotation_id": a["id"],
                "keypoints": rows.ravel().tolist(),
                "score": float(rng.random()),
            }
        )
    return results


def by_hand(annotations: Any, results: Results, sigmas: tuple[float, ...]) -> COCOeval:
    """pycocotools as its manual has it."""
    with contextlib.redirect_stdout(io.StringIO()):
        if isinstance(annotations, Path):
            gt = PyCoco(str(annotations))
        else:
            gt = PyCoco()
            gt.dataset = copy.deepcopy(annotations)
            gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(copy.deepcopy(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def score(truth: dict[str, Any], results: Results, skeleton: Skeleton = AP10K, **more: Any) -> dict:
    ap = CocoAP(truth, skeleton, **more)
    ap.add(results)
    return ap.compute()


def same(scores: dict[str, Any], stats: Any) -> None:
    got = [scores[name] for name in STATS]
    expected = [math.nan if v < 0 else v for v in stats[:6]]
    assert np.allclose(got, expected, atol=1e-12, equal_nan=True), (got, expected)


def test_the_truth_scores_one(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    scores = score(truth, answers(truth, 0))
    assert [scores[k] for k in ("AP", "AP50", "AP75", "AR", "AP pooled")] == pytest.approx([1] * 5)
    assert scores["per_species"] == pytest.approx({"antelope": 1, "dog": 1, "cat": 1})


@pytest.mark.parametrize("spread", [1.0, 4.0, 12.0])
def test_equals_pycocotools_by_hand(tmp_path: Path, spread: float) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, spread)
    scores = score(truth, results)
    same(scores, by_hand(tmp_path / "annotations.json", results, AP10K.sigmas).stats)
    assert 0.02 < scores["AP"] < 0.98


def test_neither_truth_nor_results_are_changed(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 4)
    before = json.dumps([truth, results])
    score(truth, results)
    assert json.dumps([truth, results]) == before


def test_per_species_is_that_species_alone_and_ap_their_mean(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 4)
    scores = score(truth, results)
    for category, name in ((1, "antelope"), (8, "dog"), (25, "cat")):
        alone = {
            **truth,
            "annotations": [a for a in truth["annotations"] if a["category_id"] == category],
        }
        mine = [r for r in results if r["category_id"] == category]
        ap = by_hand(alone, mine, AP10K.sigmas).stats[0]
        assert scores["per_species"][name] == pytest.approx(ap)
    assert scores["AP"] == pytest.approx(np.mean(list(scores["per_species"].values())))


def test_pooled_is_one_category_for_all(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 4)
    one = copy.deepcopy(truth)
    for a in one["annotations"]:
        a["category_id"] = 1
    pooled = by_hand(one, [{**r, "category_id": 1} for r in results], AP10K.sigmas).stats[0]
    scores = score(truth, results)
    assert scores["AP pooled"] == pytest.approx(pooled)
    assert abs(scores["AP pooled"] - scores["AP"]) > 0.005


def test_species_without_truth_do_not_count(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 4)
    more = {**truth, "categories": [*truth["categories"], {"id": 40, "name": "panda"}]}
    assert score(more, results) == score(truth, results)


def test_sigmas_by_name(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 4)
    legacy = score(truth, results, sigmas="ap10k-legacy")
    same(legacy, by_hand(truth, results, OKS_SIGMAS["ap10k-legacy"]).stats)
    assert legacy["AP"] != score(truth, results)["AP"]
    with pytest.raises(ValueError, match="no sigmas 'ap10'"):
        CocoAP(truth, AP10K, "ap10")
    with pytest.raises(ValueError, match="are for 20 keypoints"):
        CocoAP(truth, AP10K, "animalpose")


def test_one_category_for_all_is_refused_with_the_reason(tmp_path: Path) -> None:
    """The mistake that gave an official checkpoint an AP of 0.05: here perfect answers fail by it."""
    species = tuple(range(1, 21))
    truth = truth_of(tmp_path, images=40, species=species)
    results = answers(truth, 0)
    wrong = [{**r, "category_id": 1} for r in results]
    assert by_hand(truth, wrong, AP10K.sigmas).stats[0] < 0.06
    free = [{k: r[k] for k in r if k != "annotation_id"} for r in wrong]
    for records, there in ((wrong, r"\[2\]"), (free, r"\[1, 2, 3")):
        with pytest.raises(
            ValueError, match=rf"has category_id 1, but the truth there is {there}.*0\.05"
        ):
            score(truth, records)
    with pytest.raises(ValueError, match="has category_id 99"):
        score(truth, [{**results[0], "category_id": 99}])


@pytest.mark.parametrize("turns", [False, True])
def test_species_that_are_wrong_in_most_images_are_refused(tmp_path: Path, turns: bool) -> None:
    """Ids off by one, and two categories in turns: perfect answers, with an AP of nothing."""
    species = tuple(range(1, 21))
    truth = truth_of(tmp_path, images=40, species=species, instances=1)
    free = [{k: r[k] for k in r if k != "annotation_id"} for r in answers(truth, 0)]
    wrong = [
        {**r, "category_id": 1 + (i % 2 if turns else r["category_id"] % 20)}
        for i, r in enumerate(free)
    ]
    assert by_hand(truth, wrong, AP10K.sigmas).stats[0] < 0.12
    with pytest.raises(
        ValueError,
        match=r"in \d\d of 40 images no result is of .* has category_id \d+, but the truth",
    ):
        score(truth, wrong)
    # A detector that says several species of each animal has the right one among them.
    assert score(truth, [*free, *({**r, "score": r["score"] - 1} for r in wrong)])["AP"] > 0.99
    # So it does where less than half are taken for another, as a poor classifier does.
    some = [w if i % 5 < 2 else r for i, (r, w) in enumerate(zip(free, wrong, strict=True))]
    same(score(truth, some, nms=None), by_hand(truth, some, AP10K.sigmas).stats)


def test_a_detection_taken_for_another_species_counts_as_coco_has_it(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = [{k: v for k, v in r.items() if k != "annotation_id"} for r in answers(truth, 3)]
    results[0] = {**results[0], "category_id": 8 if results[0]["category_id"] != 8 else 1}
    same(score(truth, results, nms=None), by_hand(truth, results, AP10K.sigmas).stats)


def test_boxes_that_only_some_results_state(tmp_path: Path) -> None:
    """loadRes takes what the first one has for what all have."""
    truth, results = truth_of(tmp_path), answers(truth_of(tmp_path), 3)
    some = [
        {**r, "bbox": [0, 0, 9, 9]} if i % 2 == 0 else {**r, "bbox": None}
        for i, r in enumerate(results)
    ]
    assert score(truth, some) == score(truth, results)


def test_second_results_for_an_annotation_are_dropped(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 4)
    ap = CocoAP(truth, AP10K)
    ap.add(results)
    ap.add(results[:5])  # what a distributed sampler repeats to fill its last batch
    assert ap.duplicates == 5
    assert ap.compute() == score(truth, results)


def test_annotation_ids_may_start_at_0(tmp_path: Path) -> None:
    """pycocotools takes a match with annotation 0 for none."""

    def change(content: dict) -> None:
        for i, a in enumerate(content["annotations"]):
            a["id"] = i

    truth = truth_of(tmp_path, change=change)
    results = answers(truth, 0)
    assert by_hand(truth, results, AP10K.sigmas).stats[5] < 1
    assert score(truth, results)["AP"] == pytest.approx(1)


def test_missing_results_cost_recall_and_none_is_zero(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 0)
    assert score(truth, results[::2])["AR"] == pytest.approx(0.5)
    nothing = score(truth, [])
    assert nothing["AP"] == nothing["AR"] == nothing["AP pooled"] == 0
    assert set(nothing["per_species"]) == {"antelope", "dog", "cat"}


def test_a_number_without_truth_is_nan(tmp_path: Path) -> None:
    small = truth_of(tmp_path, size=(40, 36))  # no instance of 96 pixels squared
    scores = score(small, answers(small, 0))
    assert math.isnan(scores["APL"])
    assert scores["AP"] == pytest.approx(1)


def test_nms_removes_copies_of_detections_but_nothing_from_given_boxes(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    given = answers(truth, 1)
    copies = [{**r, "annotation_id": None, "score": r["score"] / 2} for r in given]
    detections = [{k: v for k, v in r.items() if k != "annotation_id"} for r in given]
    twice = detections + [{k: v for k, v in r.items() if k != "annotation_id"} for r in copies]
    assert score(truth, twice, nms=0.9) == score(truth, detections, nms=None)
    same(score(truth, twice, nms=None), by_hand(truth, twice, AP10K.sigmas).stats)
    assert score(truth, twice, nms=None)["AP"] < score(truth, twice, nms=0.9)["AP"] - 0.02

    # Two animals with one pose, each found in its own box: both stay.
    twins = copy.deepcopy(truth)
    for first, second in zip(twins["annotations"][::2], twins["annotations"][1::2], strict=True):
        second["keypoints"], second["bbox"] = first["keypoints"], first["bbox"]
        second["num_keypoints"] = first["num_keypoints"]
    assert score(twins, answers(twins, 0))["AR"] == pytest.approx(1)
    free = [{k: v for k, v in r.items() if k != "annotation_id"} for r in answers(twins, 0)]
    assert score(twins, free)["AR"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, r"lacks \['score'\]"),
        ({"keypoints": [1.0] * 50}, "has 50 numbers in keypoints, expected 51"),
        ({"keypoints": [math.nan] * 51}, "not finite"),
        ({"image_id": 999}, "annotations have no such image"),
        ({"annotation_id": 999}, "has no annotation 999"),
        ({"annotation_id": 148}, "has no annotation 148"),  # of another image
    ],
)
def test_results_of_something_else_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    truth = truth_of(tmp_path)
    with pytest.raises(ValueError, match=message):
        score(truth, [{**answers(truth, 0)[0], **change}])


def test_truth_of_something_else_is_refused(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    with pytest.raises(ValueError, match="annotation 101 has 51 numbers in keypoints, expected 60"):
        CocoAP(truth, ANIMALPOSE)
    with pytest.raises(ValueError, match="no annotations"):
        CocoAP({**truth, "annotations": []}, AP10K)


def test_coco_with_crowds_as_pycocotools_scores_the_file_itself(real_data: Path) -> None:
    folder = real_data / "coco_mini"
    for split in ("train2017", "val2017"):
        path = folder / f"annotations/person_keypoints_{split}.json"
        truth = CocoKeypoints(path, folder / split, skeleton=COCO).ground_truth()
        for spread in (0, 3, 15):
            results = answers(truth, spread)
            scores = score(truth, results, COCO)
            same(scores, by_hand(path, results, COCO.sigmas).stats)
            assert scores["AP pooled"] == scores["AP"]


def test_animal_pose_by_species_as_pycocotools_scores_the_file_itself(real_data: Path) -> None:
    path = real_data / "animalpose/annotations/coco_keypoints.json"
    truth = CocoKeypoints(path, None, skeleton=ANIMALPOSE).ground_truth()
    results = answers(truth, 5)
    same(score(truth, results, ANIMALPOSE), by_hand(path, results, ANIMALPOSE.sigmas).stats)
    assert len(score(truth, results, ANIMALPOSE)["per_species"]) == 5
