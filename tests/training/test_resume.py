"""An interrupted and resumed run ends as one that never stopped, bit for bit."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genloc.cli import main
from tests.training.conftest import World
from tests.training.signals import signalled


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["position"] == {"epoch": 3, "step": 0, "global_step": 9}
    return checkpoint["state_dict"]


def assert_same_run(got: Path, expected: Path) -> None:
    theirs = final_weights(expected)
    ours = final_weights(got)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different
    files = sorted((expected / "adapter").glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        ours, theirs = load_file(got / "adapter" / file.name), load_file(file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (got / "logs" / "metrics.csv").read_text() == (
        expected / "logs" / "metrics.csv"
    ).read_text()


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 epochs of 3 windows (4, 4 and 3 batches) that nothing interrupts."""
    runs = tmp_path_factory.mktemp("whole")
    assert main(world.arguments("fit", runs)) == 0
    return runs / "small"


@pytest.mark.parametrize(
    ("batches", "in_validation", "position"),
    [
        # in the second window
        (6, False, {"epoch": 0, "step": 1, "global_step": 1}),
        # in the first window of an epoch
        (13, False, {"epoch": 1, "step": 0, "global_step": 3}),
        # in the validation after the second epoch, which a resumed run owes
        (22, True, {"epoch": 1, "step": 3, "global_step": 6}),
        # in the last batch of an epoch, so in effect at the start of its validation
        pytest.param(
            *(11, False, {"epoch": 0, "step": 3, "global_step": 3}), marks=pytest.mark.slow
        ),
        # in the last validation
        pytest.param(
            *(33, True, {"epoch": 2, "step": 3, "global_step": 9}), marks=pytest.mark.slow
        ),
    ],
)
def test_sigterm_saves_the_last_complete_step_and_resuming_replays_the_open_window(
    world: World,
    whole: Path,
    tmp_path: Path,
    batches: int,
    in_validation: bool,
    position: dict[str, int],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(
            world.arguments(
                "fit", tmp_path, signalled("SIGTERM", batches, in_validation=in_validation)
            )
        )
    assert stopped.value.code == 128 + signal.SIGTERM
    saved = torch.load(tmp_path / "small" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["position"] == position
    assert main(world.arguments("fit", tmp_path, "--ckpt_path", "last")) == 0
    assert_same_run(tmp_path / "small", whole)


def test_a_run_goes_on_from_its_best_checkpoint_too(
    world: World, whole: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "small")
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["optimizer_states"][0]["state"]
    (run / "checkpoints" / "last.ckpt").unlink()
    assert main(world.arguments("fit", tmp_path, "--ckpt_path", "best")) == 0
    ours, theirs = final_weights(run), final_weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_checkpoint_takes_twelve_bytes_for_each_trained_weight(whole: Path) -> None:
    saved = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    moments = saved["optimizer_states"][0]["state"].values()
    held = sum(value.nbytes for state in moments for value in state.values() if value.ndim)
    trained = sum(value.numel() for value in saved["state_dict"].values())
    assert held + sum(value.nbytes for value in saved["state_dict"].values()) == 12 * trained


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", -9)])
def test_interrupted_process_with_workers_ends_alike(
    world: World, whole: Path, tmp_path: Path, repository: Path, number: str, code: int
) -> None:
    """In another process with 2 workers, which get the signal, too, as from a terminal."""

    def fit(*more: str) -> subprocess.CompletedProcess[str]:
        arguments = world.arguments("fit", tmp_path, "--data.num_workers", "2", *more)
        return subprocess.run(
            [sys.executable, "-m", "genloc", *arguments],
            cwd=repository,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=300,
        )

    first = fit(signalled(number, 18, group=True))
    assert first.returncode == code, first.stderr
    saved = torch.load(tmp_path / "small" / "checkpoints" / "last.ckpt", weights_only=True)
    # 18 batches are 4 complete windows and 3 of the 4 batches of the fifth; every second step is kept.
    assert saved["position"]["global_step"] == (3 if number == "SIGKILL" else 4)
    again = fit("--ckpt_path", "last")
    assert again.returncode == 0, again.stderr
    assert_same_run(tmp_path / "small", whole)


def test_a_resumed_run_takes_the_rates_that_are_given(world: World, tmp_path: Path) -> None:
    one = ("--trainer.max_epochs", "1", "--model.schedule", "cosine", "--model.warmup", "2")
    assert main(world.arguments("fit", tmp_path, *one)) == 0
    last = tmp_path / "small" / "checkpoints" / "last.ckpt"
    before = torch.load(last, weights_only=True)
    nothing = ("--model.lr_lora", "1e-30", "--model.lr_condition", "1e-30")
    again = ("--ckpt_path", "last", *one[2:], "--trainer.max_epochs", "2")
    assert main(world.arguments("fit", tmp_path, *again, *nothing)) == 0
    after = torch.load(last, weights_only=True)
    assert after["position"]["global_step"] == 6
    for name, value in before["state_dict"].items():
        assert torch.equal(after["state_dict"][name], value), name


def test_a_checkpoint_is_not_read_otherwise_than_it_was_trained(
    world: World, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("timestep", "7"), ("context", "null"), ("finer", "2")):
        option = (f"--model.model.init_args.{name}", value)
        assert main(world.arguments("validate", whole.parent, *option)) != 0
        assert (
            "the checkpoint was trained with other switches of the model" in capsys.readouterr().err
        )
