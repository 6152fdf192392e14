"""Animal Pose's keypoints on a zoo's own pictures: AP-10K's stay, the further ones lie where they should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.data.coco import CocoKeypoints
from genloc.data.zoo import write_zoo
from genloc.data.zoo.animal import make_animal
from genloc.data.zoo.animalpose import label_zoo, with_further_joints
from genloc.skeleton import ANIMALPOSE, AP10K

SAME = {
    "left_eye": "left_eye",
    "nose": "nose",
    "left_front_elbow": "left_elbow",
    "right_back_elbow": "right_knee",
    "left_front_paw": "left_front_paw",
    "right_back_paw": "right_back_paw",
    "tailbase": "root_of_tail",
}


def test_the_same_pictures_the_same_points(tmp_path: Path) -> None:
    write_zoo(tmp_path, per_species=4, size=96, species=(1, 8, 51), workers=1)
    file = label_zoo(tmp_path, "test", workers=1)
    other = CocoKeypoints(file, tmp_path / "data", skeleton=ANIMALPOSE)
    own = CocoKeypoints(
        tmp_path / "annotations" / "ap10k-test-split1.json", tmp_path / "data", skeleton=AP10K
    )
    assert len(other) == len(own) > 0
    labelled = {i.annotation_id: i for i in own.instances}
    for instance in other.instances:
        mate = labelled[instance.annotation_id]
        assert instance.box == mate.box
        for name, theirs in SAME.items():
            np.testing.assert_array_equal(
                instance.keypoints[ANIMALPOSE.index(name)], mate.keypoints[AP10K.index(theirs)]
            )
    assert json.loads(file.read_text())["categories"][0]["keypoints"] == list(ANIMALPOSE.keypoints)
    with pytest.raises(FileNotFoundError, match="draw one with"):
        label_zoo(tmp_path / "none")


@pytest.mark.parametrize("category", [1, 8, 25, 45, 51])
def test_where_the_further_joints_lie(category: int) -> None:
    """In a standing animal, in its own frame: x forward, y left, z up."""
    for seed in range(5):
        plain = make_animal(category, np.random.default_rng(seed), pose="standing")
        joints = with_further_joints(plain).joints
        np.testing.assert_array_equal(joints[:17], plain.joints)
        left_ear, right_ear, *lower, throat, withers = joints[17:]
        shoulders, hips = (joints[[a, b]].mean(0) for a, b in ((5, 8), (11, 14)))
        assert withers[2] > shoulders[2] and withers[2] > hips[2]
        assert abs(withers[0] - shoulders[0]) < abs(withers[0] - hips[0])
        assert np.linalg.norm(throat - joints[3]) > np.linalg.norm(withers - joints[3]) * 0.2
        for joint, upper, foot in zip(lower, (6, 9, 12, 15), (7, 10, 13, 16), strict=True):
            assert joints[foot][2] - 0.1 < joint[2] < joints[upper][2] + 0.1
        if np.isfinite(left_ear).all():
            assert left_ear[2] > joints[2][2] - 0.5
            head = np.linalg.norm(joints[0] - joints[1])
            assert np.linalg.norm(left_ear - right_ear) < 6 * head
