"""The benchmark of identify-then-detect: its quick form, who is an example for whom, and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import naming
from benchmarks.crops import Crops
from benchmarks.named_examples import K, loss_of, of_families, partners, with_partners
from genloc.codecs.heatmap import to_cells
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import AP10K
from tests.benchmarks.pointing import CELLS, SIDE, STRIDE, Place, Pointing, labelled_crops
from tests.make_coco import write_coco
from tests.make_prior import write_folder

# Rows of four, 8 cells apart, and 7 from row to row.
PLACES: list[Place] = [(8 * (k % 4) + 2, 7 * (k // 4) + 2) for k in range(K)]


def places(**other: Place) -> dict[str, Place]:
    return dict(zip(AP10K.keypoints, PLACES, strict=True)) | other


class Partners:
    """Each one's partner is added as its name by similarity, so that a named example is like nothing else here."""

    def __call__(
        self, example: Tensor, names: Tensor, probability: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if probability is None:
            probability = torch.eye(K)[list(AP10K.flip_index)].expand(len(example), -1, -1)
        return probability @ names, probability

    def contrast(self, *_: Tensor) -> Tensor:
        return torch.tensor(7.0)


class Told:
    """What is asked for, as places: names as they are given, examples where their picture has them."""

    naming = Partners()

    def __init__(self, names: dict[str, Place]) -> None:
        self.names = torch.tensor([names[k] for k in AP10K.keypoints]).float()[None]

    def words(self) -> Tensor:
        return self.names

    def examples(self, model: Pointing, support: dict[str, Tensor], size: int) -> Tensor:
        return to_cells(support["points"], STRIDE).clamp(0, CELLS - 1)


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    """One animal alone in a picture, all of which is found 5 cells too far right, and two in another one."""
    alone, other = places(), places(root_of_tail=(18, 30))
    del alone["right_back_paw"], other["nose"]
    return labelled_crops(
        tmp_path, AP10K, [(1, alone), (2, other), (2, other)], off=[(5, 0), (0, 0), (0, 0)]
    )


def test_every_number_is_that_of_known_maps(crops: Crops) -> None:
    """Counted by hand. Where the picture is 5 cells off, what is right of a row's first is nearer to its left
    neighbour; the names of the eyes are each other's places; and the tails of the two pictures differ.
    """
    knees = places(left_knee=PLACES[15], right_knee=PLACES[12])
    pose = (np.array([knees[k] for k in AP10K.keypoints]) + 0.5) * STRIDE / SIDE
    model: Any = Pointing()
    asked: Any = Told(places(left_eye=(10, 2), right_eye=(2, 2)))
    found = naming.scores(model, asked, crops, "cpu", pose)

    # Labelled in the query and in its example: 15 in each of three crops, of which 13 have a partner. The partner is
    # labelled, too, for 12 in the first crop and 13 in the others.
    def ways(*numbers: float) -> dict[str, float]:
        named = ("example", "named", "named by place", "words", "mean place")
        return dict(zip(named, numbers, strict=True))

    expected = {
        "PCK@0.1": ways(28 / 45, 6 / 45, 6 / 45, 25 / 45, 37 / 45),
        "PCK@0.2": ways(42 / 45, 10 / 45, 20 / 45, 38 / 45, 37 / 45),
        "paired PCK@0.1": ways(26 / 39, 4 / 39, 6 / 39, 23 / 39, 33 / 39),
        "at the partner": ways(1 / 38, 33 / 38, 13 / 38, 5 / 38, 6 / 38),
    }
    flat = {f"{way} {score}": v for score, row in expected.items() for way, v in row.items()}
    flat |= {
        # Of 16 labelled: 4 where the picture is 5 cells off, else all but the eyes and the tail.
        "names of the query": (4 + 13 + 13) / 48,
        "names of the support": (13 + 4 + 4) / 48,
        # All but the knees, which the mean place has the wrong way round, and the tail of the other picture.
        "names of the query by place": (14 + 13 + 13) / 48,
        "names of the support by place": (13 + 14 + 14) / 48,
        "names by chance": 1 / 17,
    }
    assert found == pytest.approx(flat)


def test_the_loss_counts_what_the_query_and_its_example_label(tmp_path: Path) -> None:
    """Of examples and named examples what both label, of words what the query does; and a tenth of the contrast."""
    crops = labelled_crops(
        tmp_path, AP10K,
        [(1, {"left_eye": (4, 5), "right_eye": (8, 9)}), (2, {"left_eye": (4, 8), "nose": (1, 1)})],
        off=[(0, 0), (0, 0)],
    )  # fmt: skip
    both = np.array([0, 1])
    query, support = (
        crops.batch(i, np.zeros(2, int), "cpu", latent=True) for i in (both, 1 - both)
    )
    asked: Any = Told(dict.fromkeys(AP10K.keypoints, (4, 5)))
    model: Any = Pointing()
    value = loss_of(model, asked, query, support, SIDE, 2.0)
    # Distances in sigmas. Examples: the left eye is 3 cells off in both crops. Words: the first crop's left eye is
    # at the place, its right one hypot(4, 4) off; the second's left eye is 3 off, its nose hypot(3, 4). Named is what
    # the words are, and of it the left eyes count.
    example, words, named = (1.5 + 1.5) / 2, (2**0.5 + (1.5 + 2.5) / 2) / 2, (0 + 1.5) / 2
    assert float(value) == pytest.approx(example + words + named + 0.7)


def test_families_are_kept_or_left_out(tmp_path: Path) -> None:
    path = write_coco(tmp_path, images=6, species=(1, 8, 25))
    whole = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K)
    inside, outside = (of_families(whole, ["Canidae", "Felidae"], part) for part in (True, False))
    assert {i.category_id for i in inside.instances} == {8, 25}
    assert {i.category_id for i in outside.instances} == {1}
    assert len(inside) + len(outside) == len(whole)
    with pytest.raises(ValueError, match=r"Equidae: .* has no such animals"):
        of_families(whole, ["Equidae"], True)


def test_an_example_is_of_the_species_and_in_another_picture(tmp_path: Path) -> None:
    def alone(
        content: dict[str, Any],
    ) -> None:  # the last picture's animals: a species of their own
        last = content["images"][-1]["id"]
        content["categories"].append({**content["categories"][0], "id": 30, "name": "alone"})
        for one in content["annotations"]:
            if one["image_id"] == last:
                one["category_id"] = 30

    path = write_coco(tmp_path, images=7, instances=2, change=alone)
    whole = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K)
    source = with_partners(whole)
    assert len(source) == len(whole) - 2
    rng = np.random.default_rng(0)
    drawn = [partners(source, rng) for _ in range(20)]
    for chosen in drawn:
        for instance, i in zip(source.instances, chosen, strict=True):
            shown = source.instances[i]
            assert shown.category_id == instance.category_id
            assert shown.image_id != instance.image_id
    assert len({int(chosen[0]) for chosen in drawn}) > 1
    with pytest.raises(ValueError, match="no species is in two pictures"):
        with_partners(CocoKeypoints(path, None, skeleton=AP10K, image_ids=[1]))


def test_the_verdict_says_by_how_much_and_whether_beyond_the_seeds() -> None:
    def cell(**ways: float) -> dict[str, Any]:
        every = dict.fromkeys(naming.WAYS, 0.5) | {w.replace("_", " "): v for w, v in ways.items()}
        scores = ("paired PCK@0.1", "at the partner")
        return {"test": {f"{way} {score}": v for way, v in every.items() for score in scores}}

    apart = [cell(example=0.5, named=0.6), cell(example=0.52, named=0.58)]
    said = naming.verdict({"all": apart})
    assert said[0] == (
        "named over example, all: +8.0 paired PCK@0.1; the ranges over seeds do not overlap"
    )
    assert said[2].startswith("named by place over example, all: -1.0 paired PCK@0.1")
    near = [cell(example=0.5, named=0.6), cell(example=0.52, named=0.51)]
    assert naming.verdict({"all": near})[0].endswith("the ranges over seeds overlap")
    assert naming.verdict({"all": near[:1]})[1].endswith("at the partner; one seed")


def test_naming_runs_and_finished_cells_are_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = str(write_folder(tmp_path / "prior"))
    arguments = ["--quick", "--prior", prior, "--runs", str(tmp_path)]
    naming.main(arguments)
    (written,) = (tmp_path / "quick").glob("naming_*.json")
    content = json.loads(written.read_text())
    assert content["results"].keys() == {"families it knows", "families it does not"}
    for cells in content["results"].values():
        assert all(np.isfinite(value) for value in cells[0]["test"].values())
        assert {f"{way} at the partner" for way in naming.WAYS} <= cells[0]["test"].keys()
    text = written.with_suffix(".md").read_text()
    for words in (
        *("named by place", "mean place", "named over example", "0 of all animals"),
        "| of the query | of the query by place alone |",
    ):
        assert words in text, words
    assert capsys.readouterr().out.count("seed 0: step 2/2") == 1
    naming.main(arguments)
    assert "step 2/2" not in capsys.readouterr().out
