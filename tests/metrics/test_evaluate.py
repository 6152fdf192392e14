from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from genloc.data.coco import CocoKeypoints
from genloc.metrics.coco import STATS, CocoAP
from genloc.metrics.evaluate import evaluate, read_results, sigmas_name
from genloc.metrics.mean_pose import mean_pose, place
from genloc.metrics.pck import pck
from genloc.skeleton import AP10K, COCO, HUMAN_ART, load_skeleton
from tests.make_coco import write_coco
from tests.metrics.test_coco import answers, by_hand, same


def a_set(folder: Path, **options: Any) -> CocoKeypoints:
    path = write_coco(folder, images=24, species=(1, 8), size=(200, 150), **options)
    return CocoKeypoints(path, folder / "images", skeleton=AP10K)


def test_a_file_scores_as_pycocotools_by_hand(tmp_path: Path) -> None:
    source = a_set(tmp_path)
    truth = source.ground_truth()
    results = [{k: v for k, v in r.items() if k != "annotation_id"} for r in answers(truth, 4)]
    (tmp_path / "results.json").write_text(json.dumps(results))
    done = evaluate(tmp_path / "results.json", truth, AP10K)
    same(dict(done.scores), by_hand(source.annotations, results, AP10K.sigmas).stats)
    assert "PCK@0.1" not in done.scores
    text = done.table().markdown()
    assert "no PCK" in text
    assert f"annotations.json (sha256 {source.checksum})" in text
    assert "OKS sigmas: ap10k" in text
    assert "mean pose: of these annotations, placed in each box" in text
    for name, ap in done.scores["per_species"].items():
        pose = done.mean_pose["per_species"][name]
        assert f"| {name} | {100 * ap:.1f} | {100 * pose:.1f} |" in done.species_table().markdown()


def test_annotations_of_unlisted_images_count_for_nothing(tmp_path: Path) -> None:
    def orphan(content: dict) -> None:
        content["annotations"].append({**content["annotations"][0], "id": 999, "image_id": 123456})

    plain, odd = a_set(tmp_path / "a"), a_set(tmp_path / "b", change=orphan)
    assert odd.dropped == {"image_id is not among images": 1}
    results = answers(plain.ground_truth(), 4)
    one, other = (evaluate(results, source.ground_truth(), AP10K) for source in (plain, odd))
    assert dict(one.scores) == dict(other.scores)
    assert dict(one.mean_pose) == dict(other.mean_pose)


def test_a_truth_without_usable_boxes_scores_as_pycocotools_by_hand(tmp_path: Path) -> None:
    """COCO's evaluation measures a labelled animal by its keypoints and area; its box does not matter."""

    def change(content: dict) -> None:
        rows = content["annotations"]
        for row, box in zip(
            rows[::3], [[5, 5, 0, 0], [5, 5, 0, 9], [5, 5, -3, 4]] * 8, strict=False
        ):
            row["bbox"] = box
        rows[1] |= {"bbox": [60, 60, 0, 0], "keypoints": [0] * 51, "num_keypoints": 0}
        rows[4] |= {"bbox": [60, 60, 0, 0], "iscrowd": 1}
        rows[5]["bbox"] = [900, 900, 20, 20]  # not in its picture

    whole, odd = a_set(tmp_path / "a"), a_set(tmp_path / "b", change=change)
    for spread in (0, 4):
        results = [
            {k: v for k, v in r.items() if k != "annotation_id"}
            for r in answers(whole.ground_truth(), spread)
        ]
        # Found where nothing is labelled: neither right nor wrong.
        image, category = odd.ground_truth()["images"][1]["id"], results[1]["category_id"]
        results[1] |= {"image_id": image, "category_id": category, "keypoints": [60, 60, 1] * 17}
        results[1]["score"] = 0.99
        done = evaluate(results, odd.ground_truth(), AP10K)
        same(dict(done.scores), by_hand(odd.annotations, results, AP10K.sigmas).stats)
        if spread == 0:
            assert done.scores["AP"] == pytest.approx(1)
    named = answers(whole.ground_truth(), 0)
    done = evaluate(named, odd.ground_truth(), AP10K)
    assert done.scores["PCK@0.05"] == 1
    assert 0 < done.mean_pose["PCK@0.1"] < 0.5


def test_pck_of_results_that_name_their_annotation(tmp_path: Path) -> None:
    source = a_set(tmp_path)
    truth = source.ground_truth()
    results = answers(truth, 8)
    done = evaluate(results, truth, AP10K)
    preds = np.array([r["keypoints"] for r in results]).reshape(-1, 17, 3)
    target = np.array([i.keypoints for i in source.instances])
    boxes = np.array([i.box for i in source.instances])
    for a in (0.05, 0.1):
        expected = pck(preds, target, boxes, a)
        assert done.scores[f"PCK@{a}"] == pytest.approx(expected)
        assert 0.05 < expected < 0.999

    half = evaluate(results[::2], truth, AP10K)  # what has no result is not located
    right = pck(preds[::2], target[::2], boxes[::2]) * (target[::2, :, 2] > 0).sum()
    assert half.scores["PCK@0.1"] == pytest.approx(right / (target[..., 2] > 0).sum())
    assert "12 of 24 instances have no result" in half.notes


@pytest.mark.parametrize("crowd", [False, True])
def test_a_truth_without_labels_is_refused_before_anything_is_read(
    tmp_path: Path, crowd: bool
) -> None:
    def change(content: dict) -> None:
        for row in content["annotations"]:
            row |= {"iscrowd": 1} if crowd else {"keypoints": [0] * 51, "num_keypoints": 0}

    truth = a_set(tmp_path, change=change).ground_truth()
    message = "none of its 24 annotations has a labelled keypoint.*nothing to score against"
    with pytest.raises(ValueError, match=message):
        evaluate(tmp_path / "none.json", truth, AP10K)


def test_the_truth_is_perfect_and_the_mean_pose_far_from_it(tmp_path: Path) -> None:
    truth = a_set(tmp_path).ground_truth()
    done = evaluate(answers(truth, 0), truth, AP10K)
    assert done.scores["AP"] == done.scores["PCK@0.1"] == pytest.approx(1)
    assert done.mean_pose["AP"] < 0.3
    assert done.mean_pose["PCK@0.1"] < 0.5


def test_the_mean_pose_of_the_training_set(tmp_path: Path) -> None:
    train, test = a_set(tmp_path / "a", seed=1), a_set(tmp_path / "b", seed=2)
    pose = mean_pose(train.instances)
    done = evaluate(answers(test.ground_truth(), 2), test.ground_truth(), AP10K, pose=pose)
    found = place(pose, np.array([i.box for i in test.instances]), AP10K)
    ap = CocoAP(test.ground_truth(), AP10K)
    ids = [(i.image_id, i.category_id, i.annotation_id) for i in test.instances]
    ap.add(found.to_coco(*map(list, zip(*ids, strict=True))))
    expected = ap.compute()
    assert [done.mean_pose[s] for s in STATS] == pytest.approx(
        [expected[s] for s in STATS], nan_ok=True
    )
    assert "mean pose: of the training set" in done.table().markdown()


def test_duplicates_are_dropped_and_said(tmp_path: Path) -> None:
    truth = a_set(tmp_path).ground_truth()
    results = answers(truth, 3)
    done = evaluate([*results, results[0]], truth, AP10K)
    assert done.scores == evaluate(results, truth, AP10K).scores
    assert any(note.startswith("1 results dropped") for note in done.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"annotations": []}', r"not a COCO results file.*looks like annotations"),
        ("[1, 2]", "not a COCO results file"),
        ("nonsense", "not a json file"),
    ],
)
def test_files_that_are_no_results(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"no results file .*b\.json"):
        read_results(tmp_path / "b.json")


def test_a_box_detections_file_is_no_keypoint_result(real_data: Path) -> None:
    path = real_data / "mmpose_samples/humanart/test_humanart.json"
    truth = CocoKeypoints(path, None, skeleton=HUMAN_ART).ground_truth()
    with pytest.raises(ValueError, match=r"lacks \['keypoints'\]"):
        evaluate(path.with_name("test_humanart_det_AP_H_56.json"), truth, HUMAN_ART)


@pytest.mark.filterwarnings("ignore:.*edges left out")
@pytest.mark.parametrize(
    "name",
    ["300w", "ak:animalkingdom", "animalpose", "ap10k", "atrw", "coco", "cofw", "crowdpose", "fly",
     "horse10", "humanart", "locust", "macaque", "mpii:mpii_trb", "ochuman", "wflw", "zebra"],
)  # fmt: skip
def test_published_sets_evaluate_and_their_truth_is_perfect(real_data: Path, name: str) -> None:
    folder, _, file = name.partition(":")
    path = real_data / "mmpose_samples" / folder / f"test_{file or folder}.json"
    skeleton = load_skeleton(path)
    truth = CocoKeypoints(path, path.parent, skeleton=skeleton).ground_truth()
    done = evaluate(answers(truth, 0), truth, skeleton)
    assert (done.scores["AP"], done.scores["AP pooled"]) == pytest.approx((1, 1))
    assert done.scores["PCK@0.05"] == 1
    assert done.table().markdown().count("\n") > 8


def test_sigmas_are_called_by_name_where_they_have_one(tmp_path: Path) -> None:
    assert sigmas_name(AP10K, "ap10k-legacy") == "ap10k-legacy"
    assert sigmas_name(AP10K, None) == "ap10k"
    assert sigmas_name(HUMAN_ART, None) == sigmas_name(COCO, None) == "coco"
    own = load_skeleton(write_coco(tmp_path))
    assert sigmas_name(own, None) == "0.05 for every keypoint"


def test_rows_keep_their_names_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    truth = a_set(tmp_path).ground_truth()
    stream = io.StringIO()
    table = evaluate(answers(truth, 4), truth, AP10K).table()
    Console(file=stream, width=80).print(table.rich())
    names = [line.strip().split("  ")[0] for line in stream.getvalue().splitlines()]
    assert "results" in names and "mean pose" in names
    assert "…" not in stream.getvalue()
