from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.conditions.descriptions import Description, load_descriptions
from genloc.data.batch import KeypointDataset
from genloc.data.coco import CocoKeypoints
from genloc.language.conversations import QUESTIONS, ask, conversations, converse
from genloc.skeleton import AP10K
from tests.language.make_language import LEGS
from tests.make_coco import write_coco

SAID = {
    "nose": Description(("nose", "snout")),
    "left_paw": Description(("left paw",), type="foot", place="on the left", relation="below the knee"),
    "right_paw": Description(("right paw",)),
}  # fmt: skip


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_question_as_it_is_evaluated() -> None:
    assert ask("left_paw", SAID["left_paw"]).prompt == (
        "\nKeypoint: The left paw, foot, on the left, below the knee.\n"
        "Question: Where is the left paw?\nAnswer: "
    )
    assert ask("nose", SAID["nose"]).prompt == (
        "\nKeypoint: The nose.\nQuestion: Where is the nose?\nAnswer: "
    )


def test_only_visible_points_are_asked_for_and_no_more_than_the_rounds() -> None:
    parts = np.array([[0.5, 0.25], [0.1, 0.9], [0.3, 0.3]])
    for seed in range(10):
        found = converse(SAID, parts, np.array([True, False, True]), rng(seed), paraphrase=False)
        assert {(r.keypoint, r.answer) for r in found} == {
            ("nose", "[0.500,0.250]"),
            ("right_paw", "[0.300,0.300]"),
        }
        one = converse(SAID, parts, np.ones(3, bool), rng(seed), rounds=1)
        assert len(one) == 1
    assert converse(SAID, parts, np.zeros(3, bool), rng()) == ()
    asked = {
        converse(SAID, parts, np.ones(3, bool), rng(s), rounds=1)[0].keypoint for s in range(30)
    }
    assert asked == SAID.keys()


def test_paraphrases_are_drawn_from_names_and_questions_and_come_again() -> None:
    parts, visible = np.full((3, 2), 0.5), np.array([True, False, False])
    said = {converse(SAID, parts, visible, rng(s))[0].prompt for s in range(200)}
    assert len(said) == 2 * len(QUESTIONS)
    assert all("nose" in prompt or "snout" in prompt for prompt in said)
    again = [converse(SAID, parts, np.ones(3, bool), rng(4)) for _ in range(2)]
    assert again[0] == again[1]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected .3, 2. and .3."):
        converse(SAID, np.zeros((2, 2)), np.ones(2, bool), rng())
    with pytest.raises(ValueError, match="rounds is 0"):
        converse(SAID, np.zeros((3, 2)), np.ones(3, bool), rng(), rounds=0)


def test_a_set_s_conversations_by_hand(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"] = content["images"][:1]
        content["annotations"] = content["annotations"][:1]
        # a crop of side 40 around (20, 30): x from 0 to 40, y from 10 to 50, edges half a pixel further
        content["annotations"][0]["bbox"] = [4, 20, 32, 20]
        points = [[10, 20, 2], [30, 40, 1], [99, 20, 2]]
        content["annotations"][0]["keypoints"] = [n for point in points for n in point]

    file = write_coco(tmp_path, skeleton=LEGS, images=2, change=change)
    source = CocoKeypoints(file, None, skeleton=LEGS)
    (only,) = conversations(source, SAID, paraphrase=False)
    said = {r.keypoint: r.answer for r in only.rounds}
    assert said == {"nose": "[0.250,0.250]", "left_paw": "[0.750,0.750]"}  # the third is outside
    text = only.text()
    assert text.startswith("Image: <patches>\nKeypoint: The ")
    assert text.count("\nQuestion: ") == text.count("]</s>") == 2


def test_conversations_say_the_places_that_training_crops_have(tmp_path: Path) -> None:
    source = CocoKeypoints(write_coco(tmp_path), tmp_path / "images", skeleton=AP10K)
    crops = KeypointDataset(source, crop_size=64)
    said = load_descriptions(None, AP10K)
    for talk, sample in zip(conversations(source, said, rounds=17), crops, strict=True):  # type: ignore[call-overload]
        answers = {r.keypoint: r.answer for r in talk.rounds}
        assert len(answers) == int(sample["visible"].sum())
        for name, answer in answers.items():
            x, y = (float(v) for v in answer[1:-1].split(","))
            point = sample["points"][AP10K.index(name)].numpy()
            np.testing.assert_allclose([x * 64 - 0.5, y * 64 - 0.5], point, atol=0.06)
