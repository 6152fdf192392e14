"""What benchmarks of the zoo do by default is the recipe of `configs/zoo.yaml`, or a search around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import example, language, naming, prior_worth, words
from benchmarks.crops import ZOO_AUGMENTATION, ZOO_PADDING
from benchmarks.search import next_places

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


ZOO = read("zoo")
RATE = ZOO["model"]["lr_lora"]


def test_crops_are_cut_as_the_zoos() -> None:
    assert ZOO["data"]["padding"] == ZOO_PADDING == example.parse([]).padding
    assert language.parse([]).padding == ZOO_PADDING
    ours = {name: getattr(ZOO_AUGMENTATION, name) for name in ZOO["data"]["augmentation"]}
    assert ours == ZOO["data"]["augmentation"]


@pytest.mark.parametrize("benchmark", [example, naming, prior_worth, words])
def test_targets_are_as_sharp(benchmark: Any) -> None:
    a = benchmark.parse([])
    made = ZOO["model"]["model"]["init_args"]
    assert (a.finer, a.layers, a.timestep) == (made["finer"], made["layers"], made["timestep"])
    assert a.sigma * a.finer == ZOO["model"]["sigma"]
    assert a.lora_ratio == ZOO["model"]["lora_ratio"]


@pytest.mark.parametrize("rates", [example.parse([]).rates, words.parse([]).rates])
def test_rates_are_searched_around_the_recipes(rates: list[float]) -> None:
    """It is where the search begins, and the grid goes on to both sides."""
    assert next_places(rates, [1], {}) == [(RATE, 1)]
    assert min(rates) < RATE < max(rates) and rates == sorted(rates)


def test_what_chooses_no_rate_takes_the_recipes() -> None:
    assert naming.parse([]).rate == RATE


def test_asking_by_an_example_is_trained_by_the_recipe() -> None:
    """But for what its conditions need: a network's own rate, and no mirror."""
    visual = read("visual")
    ours, zoo = visual["model"], ZOO["model"]
    for name in ("lr_lora", "lora_ratio", "sigma", "schedule", "warmup"):
        assert ours[name] == zoo[name], name
    ours, zoo = (part["model"]["init_args"] for part in (ours, zoo))
    assert ours == zoo
    augmentation = ZOO["data"]["augmentation"] | {"flip": 0.0}
    assert visual["data"]["augmentation"] == augmentation
    assert visual["data"]["padding"] == ZOO["data"]["padding"]
    a = example.parse([])
    assert a.lr_condition == visual["model"]["lr_condition"]


def test_the_language_model_and_its_rival_are_tested_on_all() -> None:
    a = language.parse([])
    assert a.test_shots == 0 and len(a.seeds) > 1
    assert list(a.methods) == list(language.METHODS) and "shuffled" in a.methods
