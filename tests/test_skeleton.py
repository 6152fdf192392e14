from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from genloc.skeleton import (
    ANIMALPOSE,
    AP10K,
    COCO,
    DEFAULT_SIGMA,
    HUMAN_ART,
    OKS_SIGMAS,
    Skeleton,
    load_skeleton,
    mirror_pairs,
)
from tests.make_coco import write_coco

KNOWN = [AP10K, COCO, HUMAN_ART, ANIMALPOSE]


@pytest.mark.parametrize("skeleton", KNOWN, ids=lambda s: s.name)
def test_facts_are_consistent(skeleton: Skeleton) -> None:
    for left, right in skeleton.flip_pairs:
        assert skeleton.keypoints[left].startswith("left_")
        assert skeleton.keypoints[right] == skeleton.keypoints[left].replace("left", "right")
    assert sum(name.startswith("left_") for name in skeleton.keypoints) == len(skeleton.flip_pairs)
    twice = [skeleton.flip_index[i] for i in skeleton.flip_index]
    assert twice == list(range(skeleton.num_keypoints))
    mirrored = {
        frozenset((skeleton.flip_index[a], skeleton.flip_index[b])) for a, b in skeleton.edges
    }
    assert mirrored == {frozenset(edge) for edge in skeleton.edges}
    assert {skeleton.flip_index[i] for i in skeleton.upper_body} == set(skeleton.upper_body)
    assert len(skeleton.edges) >= skeleton.num_keypoints - 5
    for i, side in enumerate(skeleton.sides):
        assert skeleton.keypoints[i].startswith(f"{side}_") or side == "centre"


def test_coco_sigmas_are_those_of_pycocotools() -> None:
    assert np.allclose(COCO.sigmas, Params("keypoints").kpt_oks_sigmas)


def test_both_sets_of_ap10k_sigmas_agree_on_the_face_and_as_sets_only() -> None:
    corrected, legacy = OKS_SIGMAS["ap10k"], OKS_SIGMAS["ap10k-legacy"]
    assert AP10K.sigmas == corrected
    assert corrected[:6] == legacy[:6]
    assert corrected != legacy
    assert sorted(corrected) == sorted(legacy)
    # A mirror image is as good as the picture only where both sides have one sigma.
    assert all(corrected[a] == corrected[b] for a, b in AP10K.flip_pairs)
    assert not all(legacy[a] == legacy[b] for a, b in AP10K.flip_pairs)


def test_index_lists_the_known_names() -> None:
    assert AP10K.index("root_of_tail") == 4
    with pytest.raises(ValueError, match=r"no keypoint 'tail' in 'ap10k'.*root_of_tail"):
        AP10K.index("tail")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": ("a", "a")}, "a name twice"),
        ({"keypoints": ()}, "keypoints is empty"),
        ({"sigmas": (0.1,)}, "sigmas must be 2 positive"),
        ({"sigmas": (0.1, 0.0)}, "sigmas must be 2 positive"),
        ({"edges": ((0, 2),)}, r"edges holds \[2\], expected indices 0 to 1"),
        ({"flip_pairs": ((0, 1), (1, 0))}, "uses a keypoint twice"),
        ({"upper_body": (-1,)}, r"upper_body holds \[-1\]"),
    ],
)
def test_impossible_facts_are_refused(change: dict, message: str) -> None:
    good = Skeleton("two", ("a", "b"), ((0, 1),), ((0, 1),), (0.1, 0.1))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good, **change)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["right_eye", "left_eye", "nose"], ((1, 0),)),
        (["Eye_Right", "Eye_Left"], ((1, 0),)),
        (["leftear", "rightear", "upright"], ((0, 1),)),
        (["L_F_Paw", "R_F_Paw", "L_B_Paw"], ((0, 1),)),
        (["forelegR1", "forelegL1", "forelegL2"], ((1, 0),)),
        (["medial_left_bow", "medial_right_bow"], ((0, 1),)),
        (["l_eye", "r_eye", "tail", "tair"], ((0, 1),)),
        (
            [
                "left_eye_left_corner",
                "left_eye_right_corner",
                "right_eye_left_corner",
                "right_eye_right_corner",
            ],
            ((0, 3), (1, 2)),
        ),
        (["LL", "LR", "RL", "RR"], ((0, 3), (1, 2))),
        (["LF", "RF", "LR", "RR"], ((0, 1), (2, 3))),  # left and right, front and rear
        (["FL", "FR", "RL", "RR"], ((0, 1), (2, 3))),
        (["the left paw", "the tail"], ()),
        (["Nearknee", "Offknee"], ()),  # near and off the camera do not swap in a mirror
    ],
)
def test_pairs_from_names(names: list[str], pairs: tuple) -> None:
    assert mirror_pairs(names) == pairs


def test_a_side_without_its_partner() -> None:
    names = ("left_eye", "right_eye", "paw, right", "leftmost hair", "upright", "RightHip", "tail")
    skeleton = Skeleton("own", names, (), mirror_pairs(names), (0.1,) * len(names))
    assert skeleton.lone_sides == (2, 3, 5)
    assert AP10K.lone_sides == ()


def test_known_by_name_and_else_said_what_is_known() -> None:
    assert load_skeleton("ap10k") is AP10K
    with pytest.raises(FileNotFoundError, match=r"no skeleton 'ap-10k'.*'animalpose', 'ap10k'"):
        load_skeleton("ap-10k")


def test_from_a_json_it_is_what_was_written(tmp_path: Path) -> None:
    read = load_skeleton(write_coco(tmp_path, images=1))
    assert (read.keypoints, set(read.edges)) == (AP10K.keypoints, set(AP10K.edges))
    assert read.flip_pairs == AP10K.flip_pairs
    assert set(read.sigmas) == {DEFAULT_SIGMA}


def _json(path: Path, keypoints: list[str], skeleton: list, numbers: list) -> Path:
    category = {"id": 1, "name": "x", "keypoints": keypoints, "skeleton": skeleton}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": numbers}
    content = {"images": [], "annotations": [annotation], "categories": [category]}
    path.write_text(json.dumps(content))
    return path


def test_edges_from_0_or_from_1(tmp_path: Path) -> None:
    one = load_skeleton(_json(tmp_path / "a.json", ["a", "b", "c"], [[1, 2], [2, 3]], []))
    zero = load_skeleton(_json(tmp_path / "b.json", ["a", "b", "c"], [[0, 1], [1, 2]], []))
    assert one.edges == zero.edges == ((0, 1), (1, 2))


def test_edges_of_another_set_are_left_out_with_a_word(tmp_path: Path) -> None:
    path = _json(tmp_path / "a.json", ["a", "b"], [[16, 14], [1, 2]], [])
    with pytest.warns(UserWarning, match="names keypoint 16 of 2"):
        assert load_skeleton(path).edges == ()


@pytest.mark.parametrize("numbers", [[0.0] * 12, [[0.0, 0, 0]] * 4])
def test_without_names_keypoints_are_numbered(tmp_path: Path, numbers: list) -> None:
    read = load_skeleton(_json(tmp_path / "a.json", [], [], numbers))
    assert read.keypoints == ("keypoint_0", "keypoint_1", "keypoint_2", "keypoint_3")


def test_without_names_and_annotations_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keypoints is empty"):
        load_skeleton(_json(tmp_path / "a.json", [], [], []))


def test_categories_that_differ_are_refused(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        content["categories"][1]["keypoints"] = ["a"]

    with pytest.raises(ValueError, match="categories differ in keypoints"):
        load_skeleton(write_coco(tmp_path, change=change))


def test_from_a_yaml(tmp_path: Path) -> None:
    path = tmp_path / "worm.yaml"
    path.write_text(
        "keypoints: [head, left, right, tail]\nedges: [[head, tail], [1, 2]]\n"
        "flip_pairs: [[left, right]]\nsigmas: 0.07\nupper_body: [head]\n"
    )
    read = load_skeleton(path)
    assert read.name == "worm"
    assert read.edges == ((0, 3), (1, 2))
    assert read.flip_pairs == ((1, 2),)
    assert read.sigmas == (0.07,) * 4
    assert read.upper_body == (0,)


def test_a_yaml_wins_over_its_json(tmp_path: Path) -> None:
    write_coco(tmp_path, images=1)
    path = tmp_path / "mine.yaml"
    path.write_text("annotations: annotations.json\nsigmas: ap10k-legacy\nflip_pairs: []\n")
    read = load_skeleton(path)
    assert (read.name, read.keypoints) == ("mine", AP10K.keypoints)
    assert read.sigmas == OKS_SIGMAS["ap10k-legacy"]
    assert read.flip_pairs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keypoint: [a]", r"got \['keypoint'\]"),
        ("[a, b]", "got list"),
        ("edges: []", "expected `keypoints`"),
        ("keypoints: [a, b]\nsigmas: mine", "no sigmas 'mine'"),
        ("keypoints: [a, b]\nedges: [[a, c]]", "no keypoint 'c'"),
        ("keypoints: [a, b]\nedges: [a, b]", "edges must be pairs"),
        ("keypoints: [a", "not a yaml file"),
    ],
)
def test_a_yaml_with_a_mistake_says_which(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_skeleton(tmp_path / "a.yaml")


def test_a_mistake_in_a_yaml_is_not_said_of_its_json(tmp_path: Path) -> None:
    _json(tmp_path / "labels.json", ["nose", "tail"], [], [])
    (tmp_path / "mine.yaml").write_text(
        "annotations: labels.json\nflip_pairs: [[left_ear, right_ear]]\n"
    )
    with pytest.raises(ValueError, match=r"mine\.yaml: flip_pairs: no keypoint 'left_ear'"):
        load_skeleton(tmp_path / "mine.yaml")


def test_published_json_files_agree_with_the_constants(real_data: Path) -> None:
    ap10k = load_skeleton(real_data / "mmpose_samples/ap10k/test_ap10k.json")
    assert (ap10k.keypoints, ap10k.edges) == (AP10K.keypoints, AP10K.edges)
    assert ap10k.flip_pairs == AP10K.flip_pairs
    coco = load_skeleton(real_data / "coco_mini/annotations/person_keypoints_val2017.json")
    assert (coco.keypoints, coco.edges) == (COCO.keypoints, COCO.edges)
    assert coco.flip_pairs == COCO.flip_pairs
    # Counts its edges from 0, while the file made from it counts from 1.
    animals = load_skeleton(real_data / "animalpose/annotations/keypoints_subset.json")
    assert (animals.keypoints, animals.edges) == (ANIMALPOSE.keypoints, ANIMALPOSE.edges)
    assert animals.flip_pairs == ANIMALPOSE.flip_pairs
    again = load_skeleton(real_data / "animalpose/annotations/coco_keypoints.json")
    assert again.edges == animals.edges


def test_left_and_right_are_told_by_pairs_or_by_names() -> None:
    def of(*names: str, pairs: tuple[tuple[int, int], ...] = ()) -> Skeleton:
        return Skeleton("x", names, (), pairs, (0.05,) * len(names))

    assert all(s.tells_sides for s in (AP10K, COCO, ANIMALPOSE))
    assert of("a", "b", pairs=((0, 1),)).tells_sides
    assert of("left_ear", "tail").tells_sides
    # Both in the middle, or of two sides that the names do not say: nobody knows.
    assert not of("nose", "tail").tells_sides
    assert not of("paw2LF_top", "paw3RF_top").tells_sides
