"""Which trainings and tests are the same: the keys that name them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.make_prior import write_folder
from tests.tools.planning import planner


def test_equal_recipes_are_one_training(zoo: Path, prior: str) -> None:
    one = planner("1", zoo, prior).cells({})
    choices = planner("choices", zoo, prior).cells({})
    whole_method = {c.training.name for c in one if c.row.startswith("HEL") and c.seed == 0}
    assert len(whole_method) == 1
    named = {c.row: c for c in choices}
    same = ("as configured", "LoRA: all", "layers: finest-first", "context: null", "clean latent, t=201", "finer: 2",
            "conditions from: text", "padding: 1", "sigma: 2 of 64 cells", "decoding: argmax")  # fmt: skip
    assert {named[row].training.name for row in same} == whole_method
    assert len({c.training.name for c in choices}) == len(choices) - (len(same) + 2) + 1
    assert named["decoding: argmax"].test.facts["model.decoding"] == "argmax"
    assert named["decoding: argmax"].test.name != named["as configured"].test.name
    assert named["decoding: centroid"].test.name != named["decoding: quarter"].test.name
    # At crops of 128 pixels the finest map has 16 cells, read as 32.
    assert named["sigma: 2 of 64 cells"].training.facts["model.sigma"] == 1.0
    assert named["crop: 0.5 of the side"].training.facts["data.crop_size"] == 64


def test_a_key_follows_what_is_learned_and_nothing_else(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    rows = ("GenLoc", "SimplePose")

    def names(**more: object) -> dict[tuple[str, int], str]:
        given = {"rows": rows, "seeds": (0, 1), "prior": prior, **more}
        root = given.pop("root", zoo)
        cells = planner("2", root, str(given.pop("prior")), **given).cells({})  # type: ignore[arg-type]
        return {(c.row, c.seed): c.training.name for c in cells}

    base = names()
    assert len(set(base.values())) == 4
    elsewhere = tmp_path / "zoo"
    shutil.copytree(zoo, elsewhere)
    moved = shutil.copytree(prior, tmp_path / "prior")
    assert names(root=elsewhere, prior=str(moved)) == base
    assert not set(names(steps=4000).values()) & set(base.values())
    tuned = planner("2", zoo, prior, rows=rows, seeds=(0,)).cells({"SimplePose": 3e-4})
    changed = {c.row: c.training.name != base[c.row, 0] for c in tuned}
    assert changed == {"GenLoc": False, "SimplePose": True}

    from tests.make_prior import tiny_modules

    other = str(write_folder(tmp_path / "other", tiny_modules(seed=1)))
    again = names(prior=other)
    assert again["GenLoc", 0] != base["GenLoc", 0]
    assert again["SimplePose", 0] == base["SimplePose", 0]
    labels = json.loads((elsewhere / "annotations/ap10k-train-split1.json").read_text())
    labels["annotations"][0]["keypoints"][0] += 1
    (elsewhere / "annotations/ap10k-train-split1.json").write_text(json.dumps(labels))
    recipe_of = names(root=elsewhere.rename(tmp_path / "changed"))
    assert not set(recipe_of.values()) & set(base.values())


def test_a_rate_that_is_chosen_hides_the_configurations(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    overlay = tmp_path / "other_rate.yaml"
    overlay.write_text("model: {lr_lora: 7.0e-4}")

    def name(rates: dict[str, float], overlays: tuple[Path, ...] = ()) -> str:
        made = planner("2", zoo, prior, rows=("GenLoc",), seeds=(0,), overlays=overlays)
        (cell,) = made.cells(rates)
        return cell.training.name

    assert name({}) != name({}, overlays=(overlay,))
    assert name({"GenLoc": 3e-4}) == name({"GenLoc": 3e-4}, overlays=(overlay,))


@pytest.mark.parametrize(
    ("said", "trains_otherwise", "tests_otherwise"),
    [
        ("data: {train: {image_ids: [1, 2]}}", True, False),
        ("data: {val: {exclude: [1]}}", True, False),
        ("data: {test: {detections: boxes.json}}", False, True),
        ("data: {seed: 3}", True, False),
        ("model: {seed: 3}", True, False),
        ("data: {batch_size: 4}", True, False),  # SimplePose normalises over it
    ],
)
def test_what_an_overlay_says_of_data_and_chance_is_in_the_keys(
    zoo: Path, prior: str, tmp_path: Path, said: str, trains_otherwise: bool, tests_otherwise: bool
) -> None:
    (tmp_path / "said.yaml").write_text(said)
    plain = planner("2", zoo, prior, rows=("SimplePose",)).cells({})
    other = planner(
        "2", zoo, prior, rows=("SimplePose",), overlays=(tmp_path / "said.yaml",)
    ).cells({})
    for a, b in zip(plain, other, strict=True):
        assert (a.training.name != b.training.name) == trains_otherwise
        assert (a.test.name != b.test.name) == tests_otherwise


def test_sigma_follows_the_size_of_the_map(zoo: Path, prior: str) -> None:
    found = {
        c.row: c.training.facts.get("model.sigma") for c in planner("choices", zoo, prior).cells({})
    }
    assert found["finer: 1"] == 0.5 and found["finer: 2"] is None
    assert found["crop: 0.5 of the side"] == 0.5 and found["crop: 1.5 of the side"] == 1.5
