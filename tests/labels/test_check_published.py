"""What is odd in published label files is found in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from genloc.labels.check import check_labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("animalpose/annotations/coco_keypoints.json", {
            "keypoints outside its box": "35 in all", "keypoints outside its image": "4 in all",
            "no labelled keypoint: left out": "",
        }),
        ("animalpose/annotations/keypoints_subset.json", {
            "without a whole id: numbered by their places": "",
            "skeleton counts keypoints from 0, COCO from 1": "",
            "num_keypoints differs from the count of v > 0": "",
            "v is 1 (hidden) for every labelled keypoint of the file": "",
        }),
        ("openfield_mouse/annotations/coco_keypoints.json", {"left and right look exchanged": ""}),
        ("mmpose_samples/ak/test_animalkingdom.json", {
            "its category_id is not among categories": "",
            "v is 1 (hidden) for every labelled keypoint of the file": "",
        }),
        ("mmpose_samples/wflw/test_wflw.json", {
            "its category names no keypoints": "", "keypoints outside its box": "62 in all",
        }),
        ("mmpose_samples/crowdpose/test_crowdpose.json", {
            "num_keypoints differs from the count of v > 0": "",
            "skeleton names keypoints that are not there": "",
        }),
    ],
)  # fmt: skip
def test_published_oddities_are_found(real_data: Path, name: str, expected: dict[str, str]) -> None:
    report = check_labels(real_data / name)
    details = {f.what: f.detail for f in report.findings.oddities}
    assert expected.items() <= details.items()


def test_keypoints_of_coco_outside_their_boxes_are_counted(real_data: Path) -> None:
    total = 0
    for split in ("train2017", "val2017"):
        folder = real_data / "coco_mini"
        report = check_labels(folder / f"annotations/person_keypoints_{split}.json", folder / split)
        details = {f.what: f.detail for f in report.findings.oddities}
        total += int(details["keypoints outside its box"].split()[0])
    assert total == 67


def test_the_exchanged_ears_of_the_open_field_mouse(real_data: Path) -> None:
    """Picture 52 has them so as published: seen from above, its left ear is labelled on the right."""
    report = check_labels(real_data / "openfield_mouse/annotations/coco_keypoints.json")
    (swapped,) = [f for f in report.findings.oddities if "exchanged" in f.what]
    assert swapped.ids == [52]
