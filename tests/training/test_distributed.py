"""Two processes on the CPU (gloo) do what one does."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.conftest import World
from tests.training.signals import signalled


def fit(world: World, runs: Path, repository: Path, *more: str, status: int = 0) -> Path:
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
    assert done.returncode == status, done.stderr
    return runs / "small"


TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.mark.slow
def test_three_steps_end_with_the_weights_and_the_ap_of_one_process(
    world: World, tmp_path: Path, repository: Path
) -> None:
    alone = fit(world, tmp_path / "one", repository)
    together = fit(world, tmp_path / "two", repository, *TWO)
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


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_after_the_same_step(
    world: World, tmp_path: Path, repository: Path
) -> None:
    # 22 crops in windows of 9: batch 4 of each process is in the second window, of 3 batches each
    stop = signalled("SIGTERM", 4)
    run = fit(world, tmp_path, repository, *TWO, stop, status=128 + signal.SIGTERM)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["position"] == {"epoch": 0, "step": 2, "global_step": 2}
