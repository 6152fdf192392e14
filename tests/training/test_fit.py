"""`genloc fit` on a small world: what learns, what stays, what is refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from genloc.cli import main
from tests.make_coco import write_coco
from tests.training.conftest import World

RIVAL = (
    '--model.model={"class_path": "tests.training.rival.Rival"}',
    "--model.condition=null",
    '--model.loss={"class_path": "genloc.losses.HeatmapMSE"}',
)


PRIOR = "--model.model.init_args.prior.init_args.source"
ATTENTION = "--model.model.init_args.prior.init_args.attention"


def checkpoint(runs: Path, name: str = "last", run: str = "small") -> dict[str, Any]:
    return torch.load(runs / run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def fit(world: World, runs: Path, *more: str, epochs: int = 1) -> int:
    return main(world.arguments("fit", runs, "--trainer.max_epochs", str(epochs), *more))


@pytest.fixture(scope="module")
def run(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert fit(world, runs, epochs=2) == 0
    return runs


def test_a_run_leaves_its_files(run: Path) -> None:
    folder = run / "small"
    for name in (
        "config.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "logs/metrics.csv",
        "logs/overlays-val.png",
        "adapter/genloc.yaml",
    ):
        assert (folder / name).stat().st_size > 0, name
    assert list((folder / "logs").glob("events.out.tfevents.*"))
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["val/AP"]] == ["2", "5"]
    assert not list(folder.rglob("*.part"))


def test_a_log_says_the_mean_loss_of_each_epoch(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--trainer.log_every_n_steps", "1", "--trainer.enable_progress_bar", "true")
    assert fit(world, tmp_path, *more, epochs=2) == 0
    said = re.findall(r"epoch \d/2: loss ([\d.]+)", capsys.readouterr().out)
    with (tmp_path / "small/logs/metrics.csv").open(newline="") as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses) == 6
    means = [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    assert [float(text) for text in said] == pytest.approx(means, abs=1e-3)


def test_checkpoints_hold_what_learns_and_nothing_else(run: Path) -> None:
    state = checkpoint(run)["state_dict"]
    assert "condition.weight" in state
    assert all(name == "condition.weight" or ".lora_" in name for name in state)
    assert (run / "small" / "checkpoints" / "last.ckpt").stat().st_size < 400_000
    moved = [name for name, value in state.items() if "lora_B" in name and value.abs().max() > 0]
    assert moved


def test_test_writes_numbers_table_results_and_pictures(
    world: World, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(world.arguments("test", run)) == 0
    printed = capsys.readouterr().out
    assert "mean pose" in printed
    assert "flip test: off; decoding: centroid" in printed
    numbers = json.loads((run / "small" / "metrics.json").read_text())["test"]
    assert numbers["instances"] == 5
    assert 0 <= numbers["AP"] <= 1
    assert 0 < numbers["mean_pose"]["PCK@0.1"] <= 1
    assert numbers["mean_pose"]["of"] == "the training set"
    assert "prior has seen: squares, each with its name" in numbers["protocol"]
    assert (run / "small" / "overlays.png").is_file()

    # the results file scores the same for anybody
    results, truth = run / "small" / "results-test.json", world.folder / "val.json"
    assert len(json.loads(results.read_text())) == 5
    assert main(["evaluate", str(results), str(truth), "--skeleton", "ap10k"]) == 0
    assert f"{100 * numbers['PCK@0.1']:.1f}" in capsys.readouterr().out


def test_validate_adds_to_the_numbers_and_flips_when_asked(world: World, run: Path) -> None:
    assert main(world.arguments("test", run, "--ckpt_path", "last")) == 0
    assert main(world.arguments("validate", run, "--model.flip_test", "true")) == 0
    numbers = json.loads((run / "small" / "metrics.json").read_text())
    assert numbers.keys() == {"test", "val"}
    assert "flip test: on; decoding: centroid" in numbers["val"]["protocol"]
    assert "maps: context conditions, read_out ckhe" in "\n".join(numbers["val"]["protocol"])
    flipped = (run / "small" / "results-val.json").read_text()
    assert main(world.arguments("validate", run)) == 0
    assert (run / "small" / "results-val.json").read_text() != flipped


@pytest.mark.parametrize(("command", "name"), [("test", "test"), ("validate", "val")])
def test_what_was_left_out_is_said_with_the_numbers(
    world: World, run: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    def change(content: dict[str, Any]) -> None:
        rows = content["annotations"]
        rows[0]["bbox"] = [5, 5, 0, 0]
        rows[1]["iscrowd"] = 1
        rows[2]["image_id"] = 77
        del rows[3]["bbox"]

    write_coco(world.folder, images=5, name="odd.json", change=change)
    assert main(world.arguments(command, run, f"--data.{name}.annotations", "odd.json")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    kept = json.loads((run / "small" / "metrics.json").read_text())[name]
    assert kept["instances"] == 2
    card = (run / "small" / "adapter" / "README.md").read_text()
    for text in (printed, "\n".join(kept["notes"]), card):
        assert "1 (iscrowd)" in text
        assert "1 (no box, or one without area)" in text
        assert "1 (image_id is not among images)" in text
        assert "1 annotations left out are labelled: the AP counts them all the same" in text
        assert "1 of 3 instances have no result" in text
        assert "1 annotations have no box: the extent of their keypoints" in text


@pytest.mark.parametrize("loss", ["HEL", "HeatmapMSE"])
def test_one_batch_of_8_equals_four_of_2(world: World, tmp_path: Path, loss: str) -> None:
    more = ("--pictures.count", "0", f"--model.loss=genloc.losses.{loss}")
    assert fit(world, tmp_path / "a", *more, "--data.batch_size", "8") == 0
    assert fit(world, tmp_path / "b", *more, "--data.batch_size", "2") == 0
    whole, parts = (checkpoint(tmp_path / run) for run in "ab")
    assert whole["position"] == parts["position"]
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(parts["state_dict"][name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_a_localizer_without_conditions_trains_and_is_scored(world: World, tmp_path: Path) -> None:
    assert fit(world, tmp_path, *RIVAL, "--model.lr", "0.01") == 0
    state = checkpoint(tmp_path)["state_dict"]
    # its normalisation's statistics are part of what was learned
    assert state["model.layers.1.num_batches_tracked"] == 11
    assert state["model.layers.1.running_mean"].abs().max() > 0
    assert not (tmp_path / "small" / "adapter").exists()
    assert main(world.arguments("test", tmp_path, *RIVAL)) == 0
    assert main(world.arguments("fit", tmp_path, *RIVAL, "--ckpt_path", "last")) == 0
    assert checkpoint(tmp_path)["position"]["epoch"] == 3


def test_noise_depends_on_seed_epoch_and_crop_alone(world: World, tmp_path: Path) -> None:
    noisy = (
        *("--model.model.init_args.noise", "true", "--model.model.init_args.timestep", "21"),
        *("--pictures.count", "0", "--data.augmentation", "null"),
    )
    assert fit(world, tmp_path / "a", *noisy, "--data.num_workers", "2") == 0
    assert fit(world, tmp_path / "b", *noisy) == 0
    assert fit(world, tmp_path / "c", *noisy, "--model.seed", "1") == 0
    one, same, other = (checkpoint(tmp_path / run)["state_dict"] for run in "abc")
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["condition.weight"], other["condition.weight"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model.skeleton", "coco"), "data.skeleton is 'ap10k'"),
        (("--model.skeleton", "${..data.skelton}"), "data.skelton"),
        (("--ckpt_path", "last"), "there is no"),
        (("--data.train", "null"), "data.train: fit needs it"),
        (("--data.train.annotations", "none.json"), "drawn by genloc zoo FOLDER)"),
        (("--data.train.images", "pictures"), "pictures"),
        (("--data.train.image_ids", "list.json"), "no file"),
        (("--data.skeleton", "animalpose"), "left_front_elbow"),
        (("--trainer.accumulate_grad_batches", "2"), "data.effective_batch"),
        (("--model.condition", "null"), "must be told what to look for"),
        ((*RIVAL[:1], *RIVAL[2:]), "give model.condition null"),
        (RIVAL[:2], "use genloc.losses.HeatmapMSE"),
        (("--model.schedule", "cosine", "--trainer.max_epochs", "-1"), "cosine needs an end"),
        (
            ("--trainer.accelerator", "foo"),
            "trainer (accelerator foo, devices 1, strategy auto): You selected",
        ),
        (
            ("--trainer.devices", "0"),
            "trainer (accelerator cpu, devices 0, strategy auto): `Trainer(devices",
        ),
        (
            ("--trainer.strategy", "foo"),
            "trainer (accelerator cpu, devices 1, strategy foo): You selected",
        ),
        pytest.param(
            ("--trainer.accelerator", "gpu"),
            "trainer (accelerator gpu, devices 1, strategy auto): No supported gpu backend found",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
        pytest.param(
            (ATTENTION, "xformers"),
            "attention='xformers' refused: ",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it may work there"),
        ),
        (("--checkpoints.every_n_steps", "0"), "every_n_steps must be at least 1"),
        (
            (
                *("--model.model.init_args.lora", "null"),
                '--model.condition={"class_path": "tests.training.test_fit.Fixed"}',
            ),
            "nothing is trainable",
        ),
    ],
)
def test_a_run_that_cannot_work_is_refused_in_a_sentence(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert fit(world, tmp_path, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "small" / "checkpoints").exists()


class Fixed(torch.nn.Module):
    """Conditions that do not learn."""

    def forward(self) -> torch.Tensor:
        return torch.zeros(1, 17, 24)


def test_a_set_without_visible_keypoints_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def hide(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation["keypoints"] = [0] * 51

    write_coco(tmp_path, images=2, change=hide)
    root = ("--data.root", str(tmp_path), "--data.train.annotations", "annotations.json")
    assert fit(world, tmp_path / "runs", *root) == 2
    assert "no instance with a box and a labelled keypoint" in capsys.readouterr().err


def test_an_earlier_run_is_not_overwritten_unless_asked(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(world, tmp_path, "--pictures.count", "0") == 0
    (tmp_path / "small" / "mine.txt").write_text("kept")
    before = checkpoint(tmp_path)
    assert fit(world, tmp_path) == 2
    assert "--ckpt_path last" in capsys.readouterr().err
    files = {p: p.read_bytes() for p in (tmp_path / "small").rglob("*") if p.is_file()}
    for mistake in (("--data.train.annotations", "typo.json"), (PRIOR, str(tmp_path / "nowhere"))):
        assert fit(world, tmp_path, "--overwrite", *mistake) == 2
        assert {path: path.read_bytes() for path in files} == files
    assert fit(world, tmp_path, "--overwrite", "--model.seed", "3") == 0
    after = checkpoint(tmp_path)
    assert not torch.equal(
        before["state_dict"]["condition.weight"], after["state_dict"]["condition.weight"]
    )
    assert (tmp_path / "small" / "mine.txt").read_text() == "kept"
    events = {path for path in files if "tfevents" in path.name}
    assert events and not any(path.exists() for path in events)
    assert list((tmp_path / "small" / "logs").glob("*tfevents*"))


def test_the_number_to_watch_must_be_one(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(world, tmp_path, "--checkpoints.monitor", "val/PCK@01") == 2
    said = capsys.readouterr().err
    assert "nothing is called 'val/PCK@01'; there are" in said and "val/PCK@0.1" in said


def test_a_truncated_picture_in_a_worker_is_one_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world.folder, tmp_path / "set")
    picture = sorted((tmp_path / "set" / "images").iterdir())[-1]
    picture.write_bytes(picture.read_bytes()[:200])
    root = ("--data.root", str(tmp_path / "set"), "--data.num_workers", "1")
    assert fit(world, tmp_path / "runs", *root) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if picture.name in line]) == 1
    assert not any("Traceback" in line for line in said)


def test_a_run_goes_on_with_its_own_data_and_model_only(
    world: World, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = ("--ckpt_path", str(run / "small" / "checkpoints" / "last.ckpt"))
    for more, message in [
        (("--data.effective_batch", "4"), "goes on with the same data"),
        (("--model.model.init_args.lora.rank", "4"), "the checkpoint has"),
        (("--model.model.init_args.lora", "null"), "unknown"),
        (("--model.model.init_args.prior.init_args.unet_seed", "1"), "weights of the prior"),
    ]:
        assert fit(world, tmp_path, *last, *more) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "broken.ckpt").write_bytes(b"not a checkpoint")
    assert fit(world, tmp_path, "--ckpt_path", str(tmp_path / "broken.ckpt")) == 2
    assert "cannot be read as a checkpoint" in capsys.readouterr().err
