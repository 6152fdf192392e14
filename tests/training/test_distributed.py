"""Two processes on the CPU (gloo) do what one does."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.conftest import World


def fit(world: World, runs: Path, repository: Path, *more: str) -> Path:
    # 22 crops: windows of 9, 9 and 4, the odd ones of which do not divide by two processes
    arguments = world.arguments(
        "fit", runs, "--data.effective_batch", "9", "--trainer.max_epochs", "1", *more
    )
    done = subprocess.run(
        [sys.executable, "-m", "genloc", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return runs / "small"


@pytest.mark.slow
def test_three_steps_end_with_the_weights_and_the_ap_of_one_process(
    world: World, tmp_path: Path, repository: Path
) -> None:
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    alone = fit(world, tmp_path / "one", repository)
    together = fit(world, tmp_path / "two", repository, *two)
    files = [run / "checkpoints" / "last.ckpt" for run in (alone, together)]
    expected, got = (torch.load(file, weights_only=True) for file in files)
    assert expected["position"]["global_step"] == got["position"]["global_step"] == 3
    assert expected["state_dict"].keys() == got["state_dict"].keys()
    for name, value in expected["state_dict"].items():
        torch.testing.assert_close(got["state_dict"][name], value, rtol=1e-4, atol=1e-5, msg=name)

    def last_row(run: Path) -> dict[str, str]:
        with (run / "logs" / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))[-1]

    scores, same = last_row(alone), last_row(together)
    assert float(scores["val/PCK@0.1"]) > 0
    # 5 crops on 2 processes: one is evaluated twice and counted once
    for name in ("val/AP", "val/AR", "val/PCK@0.1"):
        assert float(same[name]) == pytest.approx(float(scores[name]), abs=1e-6)
