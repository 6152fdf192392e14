from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.data.batch import KeypointDataset
from genloc.data.coco import CocoKeypoints
from genloc.data.detections import with_detections
from genloc.skeleton import AP10K
from tests.make_coco import write_coco


def detection(image: int, score: float = 0.5, **change: Any) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": 1,
        "bbox": [4, 3, 20, 15],
        "score": score,
    } | change


@pytest.fixture
def source(tmp_path: Path) -> CocoKeypoints:
    return CocoKeypoints(write_coco(tmp_path), tmp_path / "images", skeleton=AP10K)


def write(folder: Path, content: Any) -> Path:
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boxes.json"


def test_boxes_take_the_place_of_the_annotations(source: CocoKeypoints, tmp_path: Path) -> None:
    given = [
        detection(2, 0.9),
        detection(77),
        detection(2, 0.1),
        detection(1, 0.8, category_id=8, bbox=[0.5, 1, 7, 9]),
        detection(3, bbox=[1, 1, 0, 5]),
    ]
    boxed = with_detections(source, write(tmp_path, given), min_score=0.2)
    assert boxed.box_scores == {1: 0.9, 4: 0.8}
    assert [(i.annotation_id, i.image_id, i.category_id, i.box) for i in boxed.instances] == [
        (1, 2, 1, (4, 3, 20, 15)),
        (4, 1, 8, (0.5, 1, 7, 9)),
    ]
    assert not any(i.keypoints.any() for i in boxed.instances)
    assert boxed.instances[0].file == next(i for i in source.instances if i.image_id == 2).file
    assert boxed.ground_truth() == source.ground_truth()
    assert "boxes are 2 detections of boxes.json" in boxed.notes
    for what in ("on other images", "scored below 0.2", "without area"):
        assert f"1 detections {what} are left out" in boxed.notes
    assert len(source.instances) == 6 and source.box_scores is None, "the set itself stays"

    sample = KeypointDataset(boxed, crop_size=32)[1]
    assert sample["box"].tolist() == [0.5, 1, 7, 9]
    assert not sample["visible"].any()


def test_boxes_of_other_categories(source: CocoKeypoints, tmp_path: Path) -> None:
    """Detectors know more kinds of things than a set labels."""
    given = [detection(1), detection(2, category_id=8), detection(1, category_id=77)]
    boxed = with_detections(source, write(tmp_path, given))
    assert [i.category_id for i in boxed.instances] == [1, 8]
    assert "1 detections of categories that the annotations do not list are left out" in boxed.notes
    with pytest.raises(ValueError, match="all of other categories than the 2 listed there"):
        with_detections(source, write(tmp_path, [detection(1, category_id=77)]))
    with pytest.raises(ValueError, match=r"of category 1, the animals of \[1, 8\].*0\.05"):
        with_detections(source, write(tmp_path, [detection(1), detection(2)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, "not a COCO detections file.*looks like annotations"),
        ([detection(77)], r"none of its 1 detections is on an image.*\(1 on other images\)"),
        ([], "it is empty"),
        ([detection(1, bbox=[1, 2, 3])], "detection 1 lacks one of image_id"),
        ([detection(1), {"image_id": 1}], "detection 2 lacks one of"),
        (["x"], "detection 1 lacks one of"),
        ([detection(1, bbox=[1, 2, 3, 10**400])], "detection 1 lacks one of"),
        ([detection(1, float("nan"))], "detection 1 holds a number that is not finite"),
    ],
)
def test_what_is_no_file_of_detections(
    source: CocoKeypoints, tmp_path: Path, content: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        with_detections(source, write(tmp_path, content))


def test_absent_and_broken_files(source: CocoKeypoints, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*AP_H_56"):
        with_detections(source, tmp_path / "none.json")
    (tmp_path / "a.json").write_text("[")
    with pytest.raises(ValueError, match="not a json file"):
        with_detections(source, tmp_path / "a.json")


def test_keypoints_by_another_name_and_those_that_do_not_count(tmp_path: Path) -> None:
    def rename(content: dict[str, Any]) -> None:
        for category in content["categories"]:
            category["keypoints"] = [
                k.replace("root_of_tail", "tailbase") for k in category["keypoints"]
            ]

    path = write_coco(tmp_path, missing=0, change=rename)
    taken = {"nose": "nose", "root_of_tail": "tailbase"}
    part = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K, keypoints=taken)
    rows = {
        a["id"]: np.reshape(a["keypoints"], (-1, 3))
        for a in json.loads(path.read_text())["annotations"]
    }
    for instance in part.instances:
        expected = np.zeros((17, 3), np.float32)
        for k in (2, 4):
            expected[k] = rows[instance.annotation_id][k]
        assert np.array_equal(instance.keypoints, expected)
    assert {a["num_keypoints"] for a in part.ground_truth()["annotations"]} == {2}
    assert "2 of the 17 keypoints count: nose, root_of_tail" in part.notes
    with pytest.raises(ValueError, match=r"needs keypoints \['root_of_tail'\]"):
        CocoKeypoints(path, None, skeleton=AP10K)
    with pytest.raises(ValueError, match="no keypoint 'wing' in 'ap10k'"):
        CocoKeypoints(path, None, skeleton=AP10K, keypoints={"wing": "nose"})
