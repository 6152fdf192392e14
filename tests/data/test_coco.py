from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO as PyCoco

from genloc.data.coco import CocoKeypoints
from genloc.skeleton import AP10K, COCO
from tests.make_coco import write_coco

Change = Callable[[dict[str, Any]], object]


def read(folder: Path, change: Change | None = None, **options: Any) -> CocoKeypoints:
    path = write_coco(folder, change=change)
    return CocoKeypoints(path, folder / "images", skeleton=AP10K, **options)


def test_a_clean_file_is_read_as_written(tmp_path: Path) -> None:
    source = read(tmp_path)
    written = json.loads(source.annotations.read_text())
    assert len(source) == 6
    assert source.dropped == {}
    assert source.notes == []
    for instance, a in zip(source.instances, written["annotations"], strict=True):
        assert (instance.annotation_id, instance.image_id) == (a["id"], a["image_id"])
        assert instance.category_id == a["category_id"]
        assert instance.file == tmp_path / "images" / f"{a['image_id']:04d}.png"
        assert instance.box == tuple(a["bbox"])
        assert instance.area == a["area"]
        assert instance.image_size == (48, 36)
        assert instance.keypoints.dtype == np.float32
        assert np.allclose(instance.keypoints.ravel(), a["keypoints"])
    assert source.checksum == hashlib.sha256(source.annotations.read_bytes()).hexdigest()[:16]
    assert [source.species(i) for i in (1, 8, 4)] == ["antelope", "dog", "category 4"]
    assert "6 instances in 6 images, ap10k (17 keypoints)" in source.summary()


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        annotations = content["annotations"]
        annotations[0]["iscrowd"] = 1
        annotations[1]["keypoints"] = [0] * 51
        annotations[2]["bbox"] = [3, 3, 0, 10]
        annotations[3]["image_id"] = 77

    source = read(tmp_path, change)
    assert source.dropped == {
        "iscrowd": 1,
        "no labelled keypoint": 1,
        "no box, or one without area": 1,
        "image_id is not among images": 1,
    }
    assert len(source) + sum(source.dropped.values()) == 6
    for reason in source.dropped:
        assert f"left out: 1 ({reason})" in source.summary()
    unlabelled = CocoKeypoints(
        source.annotations, tmp_path / "images", skeleton=AP10K, require_keypoints=False
    )
    assert len(unlabelled) == 3


def test_what_is_made_up_is_noted(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        annotations = content["annotations"]
        del annotations[0]["area"]
        annotations[1]["num_keypoints"] = 99
        annotations[2]["category_id"] = 4
        del annotations[3]["bbox"]
        annotations[3]["area"] = 5.5
        content["images"].append(content["images"][0])

    source = read(tmp_path, change)
    assert len(source) == 6
    x, y, w, h = source.instances[0].box
    assert source.instances[0].area == w * h
    labelled = source.instances[3].keypoints
    labelled = labelled[labelled[:, 2] > 0][:, :2]
    x, y, w, h = source.instances[3].box
    margin = max(1, 0.1 * np.ptp(labelled, axis=0).max())
    assert np.allclose(labelled.min(axis=0) - margin, [x, y], atol=1e-4)
    assert np.allclose(labelled.max(axis=0) + margin, [x + w, y + h], atol=1e-4)
    assert source.instances[3].area == 5.5
    summary = source.summary()
    for words in (
        "1 annotations have no area",
        "1 annotations state another num_keypoints",
        "1 annotations have category_id 4",
        "1 annotations have no box",
        "1 images are listed again",
    ):
        assert words in summary
    assert "1 annotations have no area" not in read(tmp_path).summary()


def test_a_labelled_animal_with_a_box_of_no_area_is_left_out_and_evaluated(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        annotations = content["annotations"]
        annotations[1] |= {"bbox": [5, 5, 0, 0], "area": 70}
        annotations[2] |= {"bbox": [5, 5, 0, 0], "area": 0}
        annotations[3] |= {"bbox": [9, 9, 0, 0], "keypoints": [0] * 51, "num_keypoints": 0}
        annotations[4] |= {"bbox": [7, 7, 0, 0], "iscrowd": 1}

    source = read(tmp_path, change)
    assert [i.annotation_id for i in source.instances] == [101, 106]
    assert source.dropped == {"no box, or one without area": 3, "iscrowd": 1}
    truth = {a["id"]: a for a in source.ground_truth()["annotations"]}
    assert len(truth) == 6
    for id_ in (102, 103, 105):  # by their keypoints, as where a box is absent
        rows = np.reshape(truth[id_]["keypoints"], (17, 3))
        xy = rows[rows[:, 2] > 0, :2]
        x, y, w, h = truth[id_]["bbox"]
        assert (xy > [x, y]).all() and (xy < [x + w, y + h]).all()
    assert truth[102]["area"] == 70
    assert truth[103]["area"] == truth[103]["bbox"][2] * truth[103]["bbox"][3] > 0
    assert truth[104]["bbox"] == [9, 9, 0, 0]  # COCO's evaluation ignores what is found there
    summary = source.summary()
    assert "2 annotations have a box without area" in summary
    assert "2 annotations left out are labelled: the AP counts them all the same" in summary
    assert source.ground_truth()["info"]["areas"]


@pytest.mark.parametrize("box", [[48, 3, 9, 9], [-9, 3, 9, 9], [3, 36, 9, 9], [3, -20, 9, 9]])
def test_a_box_wholly_outside_its_picture_is_left_out(tmp_path: Path, box: list) -> None:
    """Its crop would be black."""

    def change(content: dict) -> None:
        first, second, third, fourth = content["annotations"][:4]
        first["bbox"], fourth["bbox"] = box, box
        second["bbox"] = [47.5, 3, 9, 9]  # half a pixel of it is inside
        third["bbox"] = [-5, -5, 300, 300]
        del content["images"][3]["width"]  # nobody says that it lies outside

    source = read(tmp_path, change)
    assert source.dropped == {"its box has no area within the picture": 1}
    assert [i.annotation_id for i in source.instances] == [102, 103, 104, 105, 106]
    assert "left out: 1 (its box has no area within the picture)" in source.summary()
    assert "1 annotations left out are labelled: the AP counts them" in source.summary()
    assert len(source.ground_truth()["annotations"]) == 6


def test_ids_that_are_absent_or_repeat_are_numbered(tmp_path: Path) -> None:
    def absent(content: dict) -> None:
        for a in content["annotations"]:
            del a["id"]

    def repeated(content: dict) -> None:
        content["annotations"][1]["id"] = content["annotations"][0]["id"]

    for change, word in ((absent, "have no id"), (repeated, "share ids")):
        source = read(tmp_path, change)
        assert [i.annotation_id for i in source.instances] == [1, 2, 3, 4, 5, 6]
        assert any(word in note for note in source.notes)


def test_selecting_images_and_annotations(tmp_path: Path) -> None:
    source = read(tmp_path, image_ids=[2, 5, 2])
    assert [i.image_id for i in source.instances] == [2, 5]
    assert [i["id"] for i in source.ground_truth()["images"]] == [2, 5]
    assert "selected: 2 of 6 annotations" in source.summary()
    source = read(tmp_path, annotation_ids=[103])
    assert [i.annotation_id for i in source.instances] == [103]
    assert [i["id"] for i in source.ground_truth()["images"]] == [3]
    with pytest.raises(ValueError, match=r"image_ids: 2 of 3 ids are not in .*\[7, 9\]"):
        read(tmp_path, image_ids=[1, 7, 9])
    with pytest.raises(ValueError, match="annotation_ids: 1 of 1 ids"):
        read(tmp_path, annotation_ids=[1])


def test_missing_images_are_refused_at_once_or_counted(tmp_path: Path) -> None:
    path = write_coco(tmp_path)
    (tmp_path / "images" / "0002.png").unlink()
    (tmp_path / "images" / "0004.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of the 6 images .*the first is .*0002\.png"):
        CocoKeypoints(path, tmp_path / "images", skeleton=AP10K)
    source = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K, missing_images="drop")
    assert source.dropped == {"its picture is not there": 2}
    assert len(source.ground_truth()["annotations"]) == len(source) == 4
    # An absent picture that nothing needs does not matter.
    assert len(CocoKeypoints(path, tmp_path / "images", skeleton=AP10K, image_ids=[1, 3])) == 2
    with pytest.raises(FileNotFoundError, match="images: no folder"):
        CocoKeypoints(path, tmp_path / "pictures", skeleton=AP10K)
    assert len(CocoKeypoints(path, None, skeleton=AP10K)) == 6


def test_keypoints_are_found_by_name(tmp_path: Path) -> None:
    order = list(reversed(range(17)))

    def change(content: dict) -> None:
        short = {"left": "L", "right": "R", "front": "F", "back": "B"}
        for category in content["categories"]:
            names = [AP10K.keypoints[i] for i in order]
            category["keypoints"] = [
                "_".join(short.get(w, w.capitalize()) for w in name.split("_")) for name in names
            ]
        for a in content["annotations"]:
            rows = np.reshape(a["keypoints"], (17, 3))[order]
            a["keypoints"] = rows.tolist()  # nested, too

    expected = read(tmp_path / "a").instances
    found = read(tmp_path / "b", change).instances
    for a, b in zip(expected, found, strict=True):
        assert np.array_equal(a.keypoints, b.keypoints)


def test_missing_values_beside_v_0_do_not_leak(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        content["annotations"][0]["keypoints"][3:9] = [-1.0, -1.0, 0.0, None, None, 0]

    keypoints = read(tmp_path, change).instances[0].keypoints
    assert not keypoints[1:3].any()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2, 0.3], "annotation 101: v is 0.3, expected 0"),
        ([1, 2, 3], "v is 3.0"),
        ([None, 2, 2], "v > 0 has no finite x, y"),
        ([1, 2], "expected x, y, v triples"),
        (["left", 2, 2], "not x, y, v numbers"),
    ],
)
def test_values_that_are_no_keypoints_are_refused(
    tmp_path: Path, numbers: list, message: str
) -> None:
    def change(content: dict) -> None:
        content["annotations"][0]["keypoints"][:3] = numbers

    with pytest.raises(ValueError, match=message):
        read(tmp_path, change)


def test_another_skeleton_is_refused_with_both_sides_named(tmp_path: Path) -> None:
    path = write_coco(tmp_path)
    with pytest.raises(ValueError, match=r"skeleton 'coco' needs keypoints \['left_ear', 'right_e"):
        CocoKeypoints(path, tmp_path / "images", skeleton=COCO)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "not a json file"),
        ('[{"image": "a.jpg", "joints": []}]', r"list of 1 records with \['image', 'joints'\]"),
        ('{"images": []}', "lacks annotations, categories"),
        ('{"images": [{"id": "a", "file_name": "b"}], "annotations": [], "categories": []}',
         "needs an integer id"),
        ('{"images": [], "annotations": [{"id": 1}], "categories": []}', "has no image_id"),
    ],
)  # fmt: skip
def test_other_formats_are_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        CocoKeypoints(tmp_path / "a.json", None, skeleton=AP10K)
    assert str(tmp_path / "a.json") in str(caught.value)


def test_ground_truth_keeps_what_coco_ignores(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["keypoints"] = [0] * 51
        content["annotations"][2]["category_id"] = 4

    truth = read(tmp_path, change).ground_truth()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = PyCoco()
        coco.dataset = truth
        coco.createIndex()
    assert len(coco.getAnnIds()) == 6
    assert coco.loadAnns([101])[0]["iscrowd"] == 1
    assert coco.loadAnns([102])[0]["num_keypoints"] == 0
    assert coco.getCatIds() == [1, 8, 4]  # pycocotools scores listed categories only
    assert truth["info"]["file"] == "annotations.json"
