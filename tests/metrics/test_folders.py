from __future__ import annotations

from pathlib import Path

import pytest

from genloc.metrics.coco import STATS
from genloc.metrics.folders import folder_scores
from genloc.metrics.table import AP_OF_MEAN_POSE
from genloc.skeleton import AP10K
from tests.metrics.test_coco import answers, by_hand, truth_of


def test_each_folder_as_pycocotools_scores_its_images(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, species=(8,))
    places = ("a/night", "a/day", "b/day", "empty")
    for image in truth["images"]:
        image["file_name"] = f"{places[image['id'] % 4]}/{image['file_name']}"
    empty = {i["id"] for i in truth["images"] if "empty" in i["file_name"]}
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] not in empty]
    results = answers(truth, 5)
    found = folder_scores(results, truth, AP10K, sigmas="ap10k-legacy")
    assert list(found) == ["a/day", "b/day", "night"], "one name for two folders is no name"
    for place, name in (("a/night", "night"), ("a/day", "a/day"), ("b/day", "b/day")):
        ids = [i["id"] for i in truth["images"] if i["file_name"].startswith(place)]
        part = {**truth, "annotations": [a for a in truth["annotations"] if a["image_id"] in ids]}
        some = [r for r in results if r["image_id"] in ids]
        from genloc.skeleton import OKS_SIGMAS

        expected = by_hand(part, some, OKS_SIGMAS["ap10k-legacy"]).stats
        assert found[name]["AP"] == pytest.approx(expected[0])
        assert 0 < found[name]["AP"] < 1
    assert len({found[name][s] for name in found for s in STATS[:1]}) > 1
    assert not any(AP_OF_MEAN_POSE in scores for scores in found.values())


def test_the_mean_pose_of_each_folder(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, species=(8,))
    for image in truth["images"]:
        image["file_name"] = f"{'ab'[image['id'] % 2]}/{image['file_name']}"
    pose = answers(truth, 9, seed=1)
    found = folder_scores(answers(truth, 3), truth, AP10K, mean_pose=pose)
    theirs = folder_scores(pose, truth, AP10K)
    for name in "ab":
        assert 0 < found[name][AP_OF_MEAN_POSE] == theirs[name]["AP"] < found[name]["AP"]


def test_a_folder_of_one_picture_whose_species_is_mistaken_counts(tmp_path: Path) -> None:
    """The species of the whole set are compared, not those of so small a part."""
    truth = truth_of(tmp_path, instances=1)
    first, *_ = truth["images"]
    for image in truth["images"]:
        image["file_name"] = f"{'alone' if image is first else 'others'}/{image['file_name']}"
    results = [{k: v for k, v in r.items() if k != "annotation_id"} for r in answers(truth, 0)]
    for r in results:
        if r["image_id"] == first["id"]:
            r["category_id"] = 8 if r["category_id"] != 8 else 1
    assert folder_scores(results, truth, AP10K)["alone"]["AP"] == 0
