from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.data.categories import CategorySets, slots
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import AP10K
from tests.make_categories import CHAIR, FISH, write_categories
from tests.make_coco import write_coco


def test_every_category_has_its_own_keypoints_in_the_first_slots(tmp_path: Path) -> None:
    """Against `CocoKeypoints`, which reads one category at a time."""
    path = write_categories(tmp_path)
    source = CategorySets(path, tmp_path / "images", skeleton=slots("slots:6"))
    assert len(source) == 12
    content = json.loads(path.read_text())
    for category, skeleton in ((7, FISH), (8, CHAIR)):
        own = {
            **content,
            "annotations": [a for a in content["annotations"] if a["category_id"] == category],
        }
        (tmp_path / "own.json").write_text(json.dumps(own))
        alone = CocoKeypoints(tmp_path / "own.json", tmp_path / "images", skeleton=skeleton)
        expected = {i.annotation_id: i for i in alone.instances}
        k = skeleton.num_keypoints
        found = [source.instances[i] for i in source.by_category[category]]
        assert len(found) == len(expected) == 6
        for instance in found:
            one = expected[instance.annotation_id]
            assert np.array_equal(instance.keypoints[:k], one.keypoints)
            assert not instance.keypoints[k:].any()
            assert (instance.file, instance.box, instance.area) == (one.file, one.box, one.area)
        read = source.skeletons[category]
        assert (read.keypoints, read.edges, read.flip_pairs) == (
            skeleton.keypoints, skeleton.edges, skeleton.flip_pairs,
        )  # fmt: skip


def test_instances_of_a_category_are_in_the_order_of_the_images(tmp_path: Path) -> None:
    source = CategorySets(
        write_categories(tmp_path), tmp_path / "images", skeleton=slots("slots:4")
    )
    assert list(source.by_category) == [7, 8]  # the order of `categories`
    ids = [source.instances[i].image_id for i in source.by_category[8]]
    assert ids == sorted(ids, reverse=True)  # images are listed backwards


def test_crowds_and_unlabelled_instances_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_categories(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][2]["keypoints"] = [0] * 12
    path.write_text(json.dumps(content))
    source = CategorySets(path, tmp_path / "images", skeleton=slots("slots:4"))
    assert len(source.by_category[7]) == 4
    assert "iscrowd" in source.summary() and "no labelled keypoint" in source.summary()


def test_too_few_slots_and_other_skeletons_are_refused(tmp_path: Path) -> None:
    path = write_categories(tmp_path)
    with pytest.raises(ValueError, match=r"category 7 has 4 keypoints.*slots:4"):
        CategorySets(path, tmp_path / "images", skeleton=slots("slots:3"))
    for wrong in ("ap10k", "slots:", "slots:0", "slots:-3"):
        with pytest.raises(ValueError, match="slots:K"):
            slots(wrong)


def test_a_category_without_names_takes_the_slots(tmp_path: Path) -> None:
    path = write_coco(tmp_path, change=lambda c: [i.pop("keypoints") for i in c["categories"]])
    source = CategorySets(path, tmp_path / "images", skeleton=slots("slots:20"))
    assert source.skeletons[1].keypoints[0] == "keypoint_0"
    named = CocoKeypoints(write_coco(tmp_path), tmp_path / "images", skeleton=AP10K)
    assert np.array_equal(source.instances[0].keypoints[:17], named.instances[0].keypoints)
