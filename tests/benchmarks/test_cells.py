"""A cell that was stopped goes on from its last evaluation, and ends as if it had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import Benchmark, Contender, Recipe
from benchmarks.crops import Crops, zoo_set
from benchmarks.learner import Learner, evaluate
from benchmarks.prior_worth import quick_zoo, small_simple_pose
from genloc.conditions.learned import LearnedCondition
from genloc.losses import HEL
from genloc.models import GenLoc, LoRA, Prior
from genloc.skeleton import load_skeleton
from tests.make_prior import write_folder


def rival(prior: Path) -> Learner:
    return small_simple_pose(4)


def genloc(prior: Path) -> Learner:
    model = GenLoc(Prior(str(prior)), context="null", lora=LoRA("all", 2, 2)).load()
    condition = LearnedCondition("text")
    condition.build(load_skeleton("ap10k"), model.prior.condition_channels, model.prior.text)
    return Learner(model, HEL(), condition)


@pytest.mark.parametrize("make", [rival, genloc])
def test_a_stopped_cell_goes_on_exactly(tmp_path: Path, make: Any) -> None:
    zoo, prior = quick_zoo(tmp_path), write_folder(tmp_path / "prior")
    crops = Crops(zoo_set(zoo, "train", 2), tmp_path / "crops", size=64)
    held = Crops(zoo_set(zoo, "test"), tmp_path / "crops", size=64)
    for one in (crops, held):
        one.encode(Prior(str(prior)).load())
    recipe = Recipe(batch=4, steps=(6,), every=2, seeds=(0,), warmup=2)
    asked = 0
    stop_at = 0

    def score(learner: Learner, on: Crops, recipe: Recipe) -> dict[str, float]:
        nonlocal asked
        asked += 1
        if asked == stop_at:
            raise KeyboardInterrupt
        return evaluate(learner, on, recipe.device)

    def run(folder: Path) -> dict[str, Any]:
        contender = Contender("one", lambda _: make(prior), crops, (1e-3,))
        benchmark = Benchmark([contender], recipe, held, held, folder, score)
        cell = benchmark.cell(contender, 1e-3, 6, 0)
        cell.pop("seconds_per_step")
        return cell

    whole = run(tmp_path / "whole")
    assert [point["step"] for point in whole["curve"]] == [2, 4, 6]
    asked, stop_at = 0, 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    assert len(list((tmp_path / "stopped").glob("*.pt"))) == 1
    asked, stop_at = 0, 0
    assert run(tmp_path / "stopped") == whole
    assert asked == 3  # at steps 4 and 6, and the test: the first evaluation was kept
    assert not list((tmp_path / "stopped").glob("*.pt"))
