"""The quick form of the benchmarks of words, and what their baselines are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import words
from benchmarks.asked import cut, nearest_by_words, nearest_place, only_seen, shuffled_words
from benchmarks.crops import Crops, zoo_set
from genloc.data.coco import Instance
from genloc.data.transforms import Augmentation
from genloc.data.zoo import write_zoo
from genloc.skeleton import AP10K
from tests.make_prior import write_folder

PHRASES = ["right elbow", "left front paw", "left knee", "right back paw"]


def test_every_word_of_the_held_out_names_is_in_a_trained_one() -> None:
    kept = {w for name in AP10K.keypoints if name not in words.HELD for w in name.split("_")}
    assert {w for name in words.HELD for w in name.split("_")} <= kept
    for name in words.HELD:  # and its mirror partner is trained
        assert AP10K.keypoints[AP10K.flip_index[AP10K.index(name)]] not in words.HELD


def test_shuffled_words_keep_the_words_but_no_name() -> None:
    draws = shuffled_words(PHRASES)
    assert draws == shuffled_words(PHRASES) and len(set(draws)) > 4
    for dealt in draws:
        assert sorted(" ".join(dealt).split()) == sorted(" ".join(PHRASES).split())
        for new, old in zip(dealt, PHRASES, strict=True):
            assert len(new.split()) == len(old.split())
            assert sorted(new.split()) != sorted(old.split())


def test_nearest_by_words_is_the_largest_cosine() -> None:
    embedded = torch.tensor([[1.0, 0.1], [0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]])
    assert nearest_by_words(embedded, [0], [1, 2, 3]) == [2]


def test_renamed_deals_the_same_words_among_themselves() -> None:
    dealt = words.renamed()
    names = {key: said["names"][0] for key, said in dealt.items()}
    own = {key: " ".join(key.split("_")) for key in AP10K.keypoints}
    assert sorted(names.values()) == sorted(own.values())
    assert all(names[key] != own[key] for key in own)
    assert {names[key] for key in words.HELD} == {own[key] for key in words.HELD}


def test_held_out_labels_are_cut_after_the_mirror(tmp_path: Path) -> None:
    """A mirrored left elbow is a right one: its label must go, too."""
    write_zoo(tmp_path / "zoo", per_species=4, size=64, species=(1,), workers=1)
    source = zoo_set(tmp_path / "zoo", "train")
    crops = Crops(source, tmp_path, size=64, views=1, augmentation=Augmentation(flip=1.0))
    seen = [name for name in AP10K.keypoints if name not in words.HELD]
    few = only_seen(crops, seen)
    held = [AP10K.index(name) for name in words.HELD]
    assert crops.labels["visible"][..., held].any(), "the test needs a labelled one"
    assert not few.labels["visible"][..., held].any()
    kept = [AP10K.index(name) for name in seen]
    assert torch.equal(few.labels["visible"][..., kept], crops.labels["visible"][..., kept])
    assert few.key != crops.key
    assert cut(AP10K, seen[:2]).sigmas == AP10K.sigmas[:2]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))


def test_words_run_and_say_how(prior: str, tmp_path: Path) -> None:
    arguments = ["--quick", "--prior", prior, "--runs", str(tmp_path), "--seeds", "0"]
    words.main([*arguments, "--methods", "words", "learned"])
    (written,) = (tmp_path / "quick").glob("words_*.json")
    content = json.loads(written.read_text())
    own, learned = (content["results"][name][0]["test"] for name in ("words", "learned"))
    for score in (
        *("AP", "AP held out", "PCK held out", "PCK nearest", "PCK mirror", "PCK best seen"),
        *("PCK shuffled", "identified", "identified held out", "withers by name"),
        *("throat described", "left_ear best seen"),
        *("identified by place", "identified held out by place"),
    ):
        assert 0 <= own[score] <= 1, score
    assert own["identified by chance"] == 1 / 17
    # What was never trained is no candidate, and there is nothing to say of it.
    assert learned["identified by chance"] == 1 / 13
    assert {"identified", "identified by place"} <= learned.keys()
    assert not [score for score in learned if score.startswith("identified held out")]
    assert own["PCK best seen"] >= max(own["PCK nearest"], own["PCK mirror"])
    assert "PCK held out" not in learned and learned["AP"] >= 0
    text = written.with_suffix(".md").read_text()
    for line in ("PCK of held-out names over (b)", "never trained: right_elbow", "withers by name"):
        assert line in text, line
    # This prior has the name, and not all words of the description.
    assert "words that the prior never read: " in text and "; withers: " in text
    assert any("trained names over learned" in line for line in content["verdict"])


def test_the_verdict_is_the_difference_of_means_and_of_the_seeds_furthest_in() -> None:
    """Apart is a worst seed above the other's best."""

    def cells(**scores: tuple[float, float]) -> list[dict[str, Any]]:
        named = {name.replace("_", " "): values for name, values in scores.items()}
        return [{"test": {name: values[seed] for name, values in named.items()}} for seed in (0, 1)]

    ours = cells(
        AP=(0.3, 0.4), PCK_held_out=(0.5, 0.6), PCK_nearest=(0.3, 0.4), PCK_mirror=(0.2, 0.5),
        PCK_best_seen=(0.6, 0.7), PCK_shuffled=(0.1, 0.1),
    )  # fmt: skip
    others = {"learned": cells(AP=(0.4, 0.4)), "renamed": cells(PCK_held_out=(0.0, 0.1))}
    said = words.verdict({"words": ours, **others})
    assert [line.split(": ", 1)[1] for line in said] == [
        "+20.0, outside the spread of the seeds",
        "+20.0, within the spread",
        "-10.0, within the spread",
        "+45.0, outside the spread of the seeds",
        "+50.0, outside the spread of the seeds",
        "-5.0 (asked: at least -3)",
    ]
    shown = ("nearest", "mirror", "best trained", "shuffled", "renamed", "learned")
    assert all(word in line for word, line in zip(shown, said, strict=True))
    assert words.verdict(others) == []
    one = words.verdict({"words": ours[:1]})
    assert one[0].endswith(": +20.0, one seed")


def test_the_nearest_mean_place_is_measured_in_pixels_of_the_picture() -> None:
    """In a box twice as wide as high the candidate above is nearer than the one beside."""
    pose = np.array([[0.5, 0.2], [0.25, 0.5], [0.9, 0.9]])
    labels = np.array([[110, 60, 2], [0, 0, 0], [190, 95, 1]], np.float32)
    instance = Instance(1, 1, 1, Path("a.png"), (10.0, 10.0, 200.0, 100.0), labels, 1.0)
    assert nearest_place(pose, [instance], [0, 2]).tolist() == [[0, 2]]
    assert nearest_place(pose[::-1], [instance], [0, 2]).tolist() == [[2, 0]]
