"""What splits see of an annotation file: the same as the reader of the data, and odd files in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genloc.data.coco import CocoKeypoints
from genloc.skeleton import load_skeleton
from genloc.splits import read_source
from tests.splits.worlds import content, record, write


def test_what_cannot_be_trained_on_is_not_in_a_split(tmp_path: Path) -> None:
    given = content(images=3)
    crowd, unlabelled, boxless = record(900, 1, 1), record(901, 2, 1, v=0), record(902, 3, 1)
    crowd["iscrowd"] = 1
    boxless["bbox"] = [3, 3, 0, 9]
    given["annotations"] += [crowd, unlabelled, boxless, record(903, 77, 1)]
    source = read_source(write(tmp_path / "a.json", given))
    assert {label.annotation_id for label in source.labels} == {
        a["id"] for a in given["annotations"] if a["id"] < 900
    }
    with pytest.raises(ValueError, match="no annotation has a box and a labelled keypoint"):
        read_source(write(tmp_path / "b.json", given | {"annotations": [unlabelled]}))
    with pytest.raises(ValueError, match="not in COCO keypoints format"):
        read_source(write(tmp_path / "c.json", {"images": []}))


@pytest.mark.filterwarnings("ignore:.*edges left out")
@pytest.mark.parametrize(
    "name",
    ["animalpose/annotations/coco_keypoints.json", "animalpose/keypoints.json",
     "coco_mini/annotations/person_keypoints_train2017.json",
     "coco_mini/annotations/person_keypoints_val2017.json",
     "mirror_mouse/annotations/coco_keypoints.json",
     *(f"mmpose_samples/{folder}/test_{file}.json" for folder, file in (
        ("ap10k", "ap10k"), ("ak", "animalkingdom"), ("humanart", "humanart"), ("wflw", "wflw"),
        ("animalpose", "animalpose"), ("coco", "coco"), ("crowdpose", "crowdpose"),
        ("horse10", "horse10"), ("ochuman", "ochuman"), ("locust", "locust")))],
)  # fmt: skip
def test_published_files_are_seen_as_the_reader_of_the_data_sees_them(
    real_data: Path, name: str
) -> None:
    source = read_source(real_data / name)
    read = CocoKeypoints(real_data / name, None, skeleton=load_skeleton(real_data / name))
    assert source.checksum == read.checksum
    expected = [(i.annotation_id, i.image_id, read.species(i.category_id)) for i in read.instances]
    found = [(label.annotation_id, label.image_id, label.species) for label in source.labels]
    assert found == sorted(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].pop("image_id"), "annotation 100: image_id is None"),
        (lambda c: c["annotations"][0].pop("category_id"), "annotation 100: category_id is None"),
        (lambda c: c["images"][1].pop("id"), r"images\[1\]: id is None, expected a whole number"),
        (lambda c: c["images"][1].update(id="x"), r"images\[1\]: id is 'x'"),
        (lambda c: c["categories"][0].pop("id"), r"categories\[0\]: id is None"),
        (lambda c: c["annotations"].append(1), r"annotations\[\d+\] is 1, expected an object"),
        (lambda c: c.update(annotations=3), "annotations is a int, expected a list"),
        (lambda c: c["annotations"][0].update(keypoints={"nose": 1}), "are not x, y, v numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2]), "expected four numbers"),
    ],
)
def test_what_is_no_annotation_file_is_said_in_a_line(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    given = content(images=4, first=1)
    change(given)
    with pytest.raises(ValueError, match=message):
        read_source(write(tmp_path / "a.json", given))


def test_ids_in_strings_are_ids(tmp_path: Path) -> None:
    """As `CocoKeypoints` reads them."""
    given = content(images=4)
    plain = read_source(write(tmp_path / "a.json", given))
    for image in given["images"]:
        image["id"] = str(image["id"])
    assert read_source(write(tmp_path / "b.json", given)).labels == plain.labels


def test_a_box_outside_its_picture_is_not_counted(tmp_path: Path) -> None:
    given = content(images=4)
    for image in given["images"]:
        image |= {"width": 100, "height": 80}
    given["annotations"][0]["bbox"] = [100, 5, 20, 20]
    given["annotations"][1]["bbox"] = [90, 79, 50, 50]
    path = write(tmp_path / "a.json", given)
    read = CocoKeypoints(path, None, skeleton=load_skeleton(path))
    assert len(read_source(path).labels) == len(read) == len(given["annotations"]) - 1
