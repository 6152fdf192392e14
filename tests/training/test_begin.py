"""An earlier run is deleted when a new one takes its place, and not before that one has taken a step."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from genloc.cli import main
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import AP10K
from genloc.training.scores import Scores
from tests.training.conftest import World
from tests.training.signals import signalled


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs, with a run of one epoch that was tested, too."""
    runs = tmp_path_factory.mktemp("finished")
    assert main(world.arguments("fit", runs, "--trainer.max_epochs", "1")) == 0
    assert main(world.arguments("test", runs)) == 0
    return runs


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs")


def files(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def test_what_can_be_watched_is_what_is_logged(world: World, finished: Path) -> None:
    saved = torch.load(finished / "small" / "checkpoints" / "last.ckpt", weights_only=True)
    source = CocoKeypoints(world.folder / "val.json", None, skeleton=AP10K)
    assert list(saved["metrics"]) == [f"val/{name}" for name in Scores.names(source)]


def test_a_baselines_crops_are_checked_too(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = (
        '--model.model={"class_path": "genloc.models.baselines.SimplePose"}',
        "--model.condition=null",
        '--model.loss={"class_path": "genloc.losses.HeatmapMSE"}',
    )
    assert main(world.arguments("fit", tmp_path, *more, "--data.crop_size", "72")) == 2
    said = capsys.readouterr()
    assert "data.crop_size is 72: image has shape" in said.err and "64 would do" in said.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--data.crop_size", "72"),
            "data.crop_size is 72: the latent is 9x9 cells; both sides must be multiples of 4; 64 would do",
        ),
        (("--data.crop_size", "68"), "data.crop_size is 68: image is 68x68 pixels"),
        (("--data.crop_size", "0"), "data.crop_size is 0"),
        (("--trainer.accumulate_grad_batches", "4"), "trainer.accumulate_grad_batches: leave it"),
        (
            ("--checkpoints.monitor", "val/PCK"),
            "checkpoints.monitor: nothing is called 'val/PCK'; there are val/AP, ",
        ),
    ],
)
def test_a_configuration_that_cannot_work_deletes_nothing(
    world: World,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    before = files(runs)
    assert main(world.arguments("fit", runs, "--overwrite", *more)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "optimiser steps an epoch" not in said.out, "it was found late"
    assert before.items() <= files(runs).items()


def test_what_fails_in_the_first_step_deletes_nothing(
    world: World, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(world.folder, tmp_path / "broken")
    for picture in sorted((broken / "images").iterdir())[5:]:  # the first five are val's, too
        picture.write_bytes(picture.read_bytes()[:200])
    before = files(runs)
    root = ("--data.root", str(broken))
    assert main(world.arguments("fit", runs, "--overwrite", *root)) == 2
    said = capsys.readouterr()
    assert "optimiser steps an epoch" in said.out and ".png" in said.err
    assert before.items() <= files(runs).items()
    assert main(world.arguments("test", runs)) == 0


def test_the_first_step_takes_the_place_of_the_earlier_run(world: World, runs: Path) -> None:
    before = files(runs)
    more = ("--overwrite", "--trainer.max_epochs", "1", "--model.seed", "3", "--data.val", "null")
    assert main(world.arguments("fit", runs, *more)) == 0
    run = runs / "small"
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["seed"] == 3
    for name in ("checkpoints/best.ckpt", "metrics.json", "results-test.json", "overlays.png"):
        assert run / name in before and not (run / name).exists()


def test_a_signal_in_the_first_step_saves_the_new_run_and_nothing_of_the_earlier_one(
    world: World, runs: Path
) -> None:
    with pytest.raises(SystemExit):
        main(world.arguments("fit", runs, "--overwrite", signalled("SIGTERM", 2)))
    kept = runs / "small" / "checkpoints"
    assert [path.name for path in kept.iterdir()] == ["last.ckpt"]
    saved = torch.load(kept / "last.ckpt", weights_only=True)
    assert saved["position"] == {"epoch": 0, "step": 0, "global_step": 0}
    assert (runs / "small" / "config.yaml").is_file()
    assert main(world.arguments("fit", runs, "--ckpt_path", "last")) == 0
