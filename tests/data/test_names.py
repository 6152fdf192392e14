from __future__ import annotations

import pytest

from genloc.data.names import plain, shared_keypoints
from genloc.skeleton import ANIMALPOSE, AP10K, COCO, HUMAN_ART

PUBLISHED = ["L_Eye", "R_Eye", "L_EarBase", "R_EarBase", "Nose", "Throat", "TailBase", "Withers", "L_F_Elbow",
             "R_F_Elbow", "L_B_Elbow", "R_B_Elbow", "L_F_Knee", "R_F_Knee", "L_B_Knee", "R_B_Knee", "L_F_Paw",
             "R_F_Paw", "L_B_Paw", "R_B_Paw"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("left_front_paw", "leftfrontpaw"),
        ("L_F_Paw", "leftfrontpaw"),
        ("leftFrontPaw", "leftfrontpaw"),
        ("L_EarBase", "leftear"),
        ("tail 2", "tail2"),
        ("_", "_"),
    ],
)
def test_one_spelling(name: str, spelled: str) -> None:
    assert plain(name) == spelled


def test_published_spellings_are_the_skeletons() -> None:
    found = shared_keypoints(ANIMALPOSE.keypoints, PUBLISHED)
    assert sorted(found.values()) == sorted(PUBLISHED)
    assert found["left_front_knee"] == "L_F_Knee"
    assert found["tailbase"] == "TailBase"


def test_animal_pose_and_ap10k_meet_in_ten_keypoints() -> None:
    found = shared_keypoints(AP10K.keypoints, PUBLISHED)
    assert found == {
        "left_eye": "L_Eye",
        "right_eye": "R_Eye",
        "nose": "Nose",
        "root_of_tail": "TailBase",
        "left_elbow": "L_F_Elbow",
        "left_front_paw": "L_F_Paw",
        "right_elbow": "R_F_Elbow",
        "right_front_paw": "R_F_Paw",
        "left_back_paw": "L_B_Paw",
        "right_back_paw": "R_B_Paw",
    }
    back = shared_keypoints(ANIMALPOSE.keypoints, AP10K.keypoints)
    assert {
        shared_keypoints(AP10K.keypoints, [name])[other] for name, other in back.items()
    } == set(back)
    assert len(back) == len(found)


def test_people_in_photographs_and_in_art_have_the_same() -> None:
    assert shared_keypoints(COCO.keypoints, HUMAN_ART.keypoints) == {k: k for k in COCO.keypoints}
