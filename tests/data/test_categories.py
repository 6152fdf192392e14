from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.data.batch import KeypointDataset
from genloc.data.categories import CategorySets, clean_box, slots
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
            box = clean_box(one.box, one.image_size)
            assert (instance.file, instance.box, instance.area) == (one.file, box, one.area)
        read = source.skeletons[category]
        assert (read.keypoints, read.edges, read.flip_pairs) == (
            skeleton.keypoints, skeleton.edges, skeleton.flip_pairs,
        )  # fmt: skip


def test_the_box_is_cut_to_the_picture_and_a_pixel_smaller() -> None:
    assert clean_box((10, 20, 30, 40), (100, 100)) == (10, 20, 29, 39)
    assert clean_box((-5, 20, 30, 200), (100, 100)) == (0, 20, 29, 79)
    assert clean_box((-5, 20, 30, 200), None) == (0, 20, 29, 199)


def test_crops_are_those_of_the_published_protocol(tmp_path: Path) -> None:
    """Centre and side as CapeFormer's `_xywh2cs` makes them of its `clean_bbox`, by hand."""
    path = write_categories(tmp_path)
    content = json.loads(path.read_text())
    width = content["images"][0]["width"]
    first, second, outside = content["annotations"][:3]
    first["bbox"] = [-4, 3, 21, 11]  # x from 0 to 20, y from 3 to 13
    second["bbox"] = [5, 2, 1000, 9]  # cut to the picture
    outside["bbox"] = [width - 1, 3, 8, 8]
    path.write_text(json.dumps(content))
    source = CategorySets(path, tmp_path / "images", skeleton=slots("slots:4"))
    assert "1 (its box has no area within the picture)" in source.summary()
    crops = KeypointDataset(source, crop_size=64, padding=1.25)
    index = {instance.annotation_id: i for i, instance in enumerate(source.instances)}
    right = width - 1
    for one, centre, longer in (
        (first, (10, 8), 20),
        (second, ((5 + right) / 2, 2 + 8 / 2), right - 5),
    ):
        to_image = crops[index[one["id"]]]["to_image"].numpy()
        assert to_image[0, 0] == pytest.approx(1.25 * longer / 64)
        middle = to_image @ [31.5, 31.5, 1]
        # The box's edge is the pixel's, half a pixel before its centre.
        np.testing.assert_allclose(middle, centre, atol=1e-6)


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
