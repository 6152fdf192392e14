"""Words of keypoints: the shipped files are whole, mirror each other, and a user's own are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genloc.conditions.descriptions import FOLDER, Description, load_descriptions, plain
from genloc.skeleton import ANIMALPOSE, AP10K, COCO, HUMAN_ART, Skeleton

EXTRA = {
    "human_art": ("left_finger", "right_finger", "left_toe", "right_toe"),
    "mpii": ("pelvis", "thorax", "upper_neck", "head_top"),
}


def of(*names: str) -> Skeleton:
    return Skeleton("own", names, (), (), (0.05,) * len(names))


@pytest.mark.parametrize("skeleton", [AP10K, COCO, ANIMALPOSE, HUMAN_ART], ids=lambda s: s.name)
def test_every_keypoint_is_described_and_said_differently(skeleton: Skeleton) -> None:
    said = load_descriptions(None, skeleton)
    assert tuple(said) == skeleton.keypoints
    assert all(one.type and one.place and one.relation for one in said.values())
    every = [phrase for one in said.values() for phrase in one.phrases()]
    assert len(every) == len(set(every)), "two keypoints share a phrase"
    assert len({one.full for one in said.values()}) == skeleton.num_keypoints


@pytest.mark.parametrize("skeleton", [AP10K, COCO, ANIMALPOSE, HUMAN_ART], ids=lambda s: s.name)
def test_left_and_right_mirror_each_other(skeleton: Skeleton) -> None:
    said = load_descriptions(None, skeleton)

    def mirrored(text: str) -> str:
        swap = {"left": "right", "right": "left"}
        return re.sub("left|right", lambda found: swap[found[0]], text)

    for left, right in skeleton.flip_pairs:
        a, b = (said[skeleton.keypoints[k]] for k in (left, right))
        assert [mirrored(n) for n in a.names] == list(b.names)
        assert [mirrored(p) for p in a.parts] == list(b.parts)


@pytest.mark.parametrize("name", EXTRA)
def test_what_coco_has_not(name: str) -> None:
    said = load_descriptions(name, of("nose", *EXTRA[name]))
    assert all(len(one.parts) == 3 for one in said.values())
    assert said["nose"] == load_descriptions(None, COCO)["nose"]  # by include


def test_the_zoo_s_own_words_are_asked_first() -> None:
    from genloc.data.zoo.captions import PARTS

    said = load_descriptions(None, AP10K)
    for key, words in zip(AP10K.keypoints, PARTS, strict=True):
        assert set(words) <= set(said[key].names), key


# Of Animal Pose it lacks some, all of them in names or about the ears.
UNREAD = {
    "ap10k": set(),
    "animalpose": {"ear", "throat", "withers", "top", "shoulders", "leg", "hoof"},
}


@pytest.mark.parametrize("skeleton", [AP10K, ANIMALPOSE], ids=lambda s: s.name)
def test_the_tiny_prior_reads_descriptions_of_animals(skeleton: Skeleton, repository: Path) -> None:
    """A word it has read is one token; others fall to letters. And nothing is cut off."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(repository / "genloc/assets/tiny_prior/tokenizer")
    said = load_descriptions(None, skeleton)
    words = {w for one in said.values() for w in one.full.replace(",", " ").split()}
    words |= {w for one in said.values() for name in one.names for w in name.split()}
    assert {w for w in words if len(tokenizer.tokenize(w)) != 1} == UNREAD[skeleton.name]
    beside = {w for one in said.values() for part in one.parts for w in part.split()}
    assert {w for w in beside if len(tokenizer.tokenize(w.strip(","))) != 1} <= {"ear"}
    for phrase in (p for one in said.values() for p in one.phrases()):
        assert len(tokenizer.tokenize(phrase)) + 2 <= tokenizer.model_max_length, phrase


def test_phrases() -> None:
    said = Description(("left elbow", "elbow"), type="joint", relation="above the paw")
    assert said.full == "left elbow, joint, above the paw"
    assert said.phrases()[:4] == (
        "left elbow",
        "left elbow, joint",
        "left elbow, above the paw",
        "left elbow, joint, above the paw",
    )
    assert "the elbow, joint" in said.phrases()
    assert len(said.phrases()) == 16
    assert Description(("nose",)).phrases() == ("nose", "the nose")
    silent = said.silent_about(["paw"])
    assert silent.parts == ("joint",) and silent.names == said.names
    assert said.silent_about(["paws", "aw"]) == said
    assert Description(("x",), place="below the nose, in front").silent_about(["nose"]).parts == ()


def test_a_user_s_own(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("tail: the tail\n")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "include: more.yaml\nleft_ear: the  left ear\nbeak: [beak, bill]\n"
        "wing: {names: [wing], place: 'on the side,\n  above the leg'}\n"
    )
    said = load_descriptions(str(file), of("wing", "beak", "left_ear", "tail"))
    assert list(said) == ["wing", "beak", "left_ear", "tail"]
    assert said["left_ear"].names == ("the left ear",)
    assert said["beak"].names == ("beak", "bill")
    assert said["wing"].place == "on the side, above the leg"
    again = load_descriptions(plain(said), of("wing", "beak", "left_ear", "tail"))
    assert again == said
    bare = load_descriptions(None, of("left_front_paw", "beak"))
    assert [one.full for one in bare.values()] == ["left front paw", "beak"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beak: beak", r"says nothing of \['wing'\]"),
        ("wing: []", "wing: expected a name"),
        ("wing: ''", "wing: expected a name"),
        ("wing: {place: here}", "wing: expected a name"),
        ("wing: {names: [wing], colour: red}", "wing: expected a name"),
        ("wing: {names: [wing], place: 3}", "wing: expected a name"),
        ("- wing", "must map keypoints to words"),
        ("wing: [", "not a yaml file"),
        ("include: nowhere", "no file .*none of"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_descriptions(str(tmp_path / "mine.yaml"), of("wing"))


def test_no_such_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*ap10k"):
        load_descriptions("mine.yaml", AP10K)
    assert FOLDER.is_dir()
