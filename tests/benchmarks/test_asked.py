"""What `benchmarks.asked` counts, against numbers counted by hand on maps that are known beforehand."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.asked import Asker, cut, shuffled_words
from benchmarks.cells import Recipe
from benchmarks.crops import Crops
from benchmarks.learner import Learner
from genloc.conditions.descriptions import load_descriptions
from genloc.conditions.text import TextCondition
from genloc.data.coco import CocoKeypoints
from genloc.keypoints import Keypoints
from genloc.metrics.evaluate import evaluate
from genloc.skeleton import ANIMALPOSE, Skeleton
from tests.benchmarks.pointing import (
    CELLS,
    SIDE,
    STRIDE,
    Place,
    Pointing,
    labelled_crops,
    write_labels,
)

NAMES = ("nose", "left_paw", "right_paw", "left_knee", "right_knee", "tail")
SMALL = Skeleton("small", NAMES, (), ((1, 2), (3, 4)), (0.05,) * 6)
HELD = ("right_paw", "left_knee")
SEEN = ("nose", "left_paw", "right_knee", "tail")
NEAREST = {
    "right_paw": "right_knee",
    "left_knee": "nose",
    "withers": "right_knee",
    "throat": "nose",
}
NEAREST |= {"left_ear": "tail", "right_ear": "tail"}

WITHERS = load_descriptions(None, ANIMALPOSE)["withers"]
SAID: dict[str, Place] = {
    "nose": (2, 2), "left paw": (10, 2), "right paw": (18, 2), "left knee": (26, 2),
    "right knee": (2, 16), "tail": (18, 16), WITHERS.names[0]: (10, 23), WITHERS.full: (18, 23),
}  # fmt: skip
ELSE = SAID["nose"]  # where any other phrase is found
OFF = [(0, 0), (5, 0), *[(0, 0)] * 6]
LABELS: list[dict[str, Place]] = [
    # all found but the tail
    dict(zip(NAMES, [(2, 2), (10, 2), (18, 2), (26, 2), (2, 16), (9, 16)], strict=True)),
    # in a picture where all is found 5 cells to the right: all but the left paw
    {"nose": (7, 2), "left_paw": (10, 2), "right_paw": (23, 2), "left_knee": (31, 2), "tail": (23, 16)},
    # left knees where the tail is found, the nose, and the mirror partner
    *[{"left_knee": at} for at in [(18, 16), (18, 15), (19, 16), (2, 2), (3, 2), (2, 16)]],
]  # fmt: skip


def say(phrases: Sequence[str], pool: str = "end") -> Tensor:
    """A text encoder whose words are places."""
    return torch.tensor([SAID.get(phrase, ELSE) for phrase in phrases]).float()


class Shown(nn.Module):
    """Learned conditions: a place for each keypoint."""

    def forward(self) -> Tensor:
        return say([" ".join(name.split("_")) for name in NAMES])[None]


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    animals = [(i + 1, labels) for i, labels in enumerate(LABELS)]
    return labelled_crops(tmp_path, SMALL, animals, OFF, name="small-test.json")


def asked(crops: Crops, by: nn.Module, zoo: Path | None = None) -> dict[str, float]:
    # The mean place has the nose and the left knee the wrong way round.
    mean = [
        SAID[phrase]
        for phrase in ("left knee", "left paw", "right paw", "nose", "right knee", "tail")
    ]
    pose = (np.array(mean) + 0.5) * STRIDE / SIDE
    model: Any = Pointing()
    return Asker(SMALL, HELD, NEAREST, zoo, pose)(Learner(model, None, by), crops, Recipe())


def test_names_are_scored_where_they_are_found(crops: Crops) -> None:
    found = asked(crops, TextCondition(held_out=HELD).build(SMALL, 2, say))
    assert found["PCK"] == pytest.approx(5 / 7)
    # Ten labels are held out: two right paws, which nothing else finds, and eight left knees.
    assert found["PCK held out"] == pytest.approx(4 / 10)
    assert found["PCK nearest"] == pytest.approx(2 / 10)  # the nose
    assert found["PCK mirror"] == pytest.approx(1 / 10)
    assert found["PCK best seen"] == pytest.approx(3 / 10)  # the tail
    assert found["PCK right_paw"] == 1 and found["PCK left_knee"] == pytest.approx(2 / 8)
    # Dealt out anew, a left knee is a right one, a paw where there is none, or found where the nose is.
    draws = shuffled_words(["right paw", "left knee"])
    hits = [{"right knee": 1, "left paw": 0, "right paw": 0}.get(knee, 2) for _, knee in draws]
    assert found["PCK shuffled"] == pytest.approx(statistics.mean(hits) / 10)
    assert len({*hits}) > 1


def test_ap_is_of_the_names_that_stand_for_the_keypoints(crops: Crops) -> None:
    """As the package's own evaluation scores the same places."""
    found = asked(crops, TextCondition(held_out=HELD).build(SMALL, 2, say))

    def ap(names: Sequence[str], said: Sequence[str]) -> float:
        skeleton = cut(SMALL, names)
        source = CocoKeypoints(crops.source.annotations, None, skeleton=skeleton)
        off = {101 + i: shift for i, shift in enumerate(OFF)}
        cells = np.array([[SAID.get(p, ELSE) for p in said]] * len(source), float)
        cells += np.array([off[i.annotation_id] for i in source.instances])[:, None]
        placed = Keypoints(
            xy=(cells + 0.5) * STRIDE,
            scores=np.ones(cells.shape[:2], np.float32),
            boxes=np.array([i.box for i in source.instances]),
            box_scores=np.ones(len(source), np.float32),
            skeleton=skeleton,
        )
        ids = [(i.image_id, i.category_id, i.annotation_id) for i in source.instances]
        records = placed.to_coco(*map(list, zip(*ids, strict=True)))
        return float(evaluate(records, source.ground_truth(), skeleton).scores["AP"])

    assert found["AP"] == pytest.approx(ap(SEEN, ["nose", "left paw", "right knee", "tail"]))
    by_name = {
        "held out": ["right paw", "left knee"],
        "nearest": ["right knee", "nose"],
        "mirror": ["left paw", "right knee"],
        "best seen": ["nose", "tail"],  # no copy finds a right paw: the first is taken
    }
    for title, said in by_name.items():
        assert found[f"AP {title}"] == pytest.approx(ap(HELD, said)), title
    draws = shuffled_words(["right paw", "left knee"])
    assert found["AP shuffled"] == pytest.approx(statistics.mean(ap(HELD, said) for said in draws))
    assert found["AP held out"] > max(found[f"AP {title}"] for title in ("nearest", "mirror"))


def test_places_are_given_the_name_that_is_found_nearest(crops: Crops) -> None:
    found = asked(crops, TextCondition(held_out=HELD).build(SMALL, 2, say))
    # Not the first picture's tail, which is nearer to the right knee, nor the second's left paw, to the nose.
    assert found["identified"] == pytest.approx(5 / 7)
    # Not the six left knees that lie elsewhere; by the mean place those at the nose, and one right paw.
    assert found["identified held out"] == pytest.approx(4 / 10)
    assert found["identified by place"] == pytest.approx(4 / 7)
    assert found["identified held out by place"] == pytest.approx(3 / 10)
    assert found["identified by chance"] == 1 / 6


def test_learned_conditions_answer_for_what_they_were_trained_on(crops: Crops) -> None:
    found = asked(crops, Shown())
    assert found["PCK"] == pytest.approx(5 / 7)
    assert found["PCK best seen"] == pytest.approx(3 / 10)
    assert not {"PCK held out", "PCK shuffled", "identified held out"} & found.keys()
    # Among four, the mean place of the left knee is no candidate, and that of the nose is where knees are.
    assert found["identified"] == pytest.approx(5 / 7)
    assert found["identified by place"] == pytest.approx(4 / 7)
    assert found["identified by chance"] == 1 / 4


def test_another_sets_keypoints_are_scored_by_name_by_description_and_by_copies(
    crops: Crops, tmp_path: Path
) -> None:
    withers = [(10, 23), (23, 23), (18, 16), (18, 23), (18, 16), (18, 16)]
    assert SAID[WITHERS.full] == (18, 23) and max(max(at) for at in withers) < CELLS
    animals = [(i + 1, {"withers": at}) for i, at in enumerate(withers)]
    animals[0][1].update(throat=(2, 2), left_ear=(26, 30), right_ear=(26, 30))
    write_labels(tmp_path / "zoo" / "annotations", ANIMALPOSE, animals, "animalpose-test.json")
    found = asked(crops, TextCondition(held_out=HELD).build(SMALL, 2, say), tmp_path / "zoo")
    assert found["withers by name"] == pytest.approx(1 / 6)
    assert found["withers described"] == pytest.approx(2 / 6)
    assert found["withers best seen"] == pytest.approx(3 / 6)  # the tail
    assert found["withers nearest"] == 0  # the right knee
    assert found["throat nearest"] == found["throat best seen"] == 1  # the nose
    assert found["left_ear by name"] == found["right_ear best seen"] == 0
