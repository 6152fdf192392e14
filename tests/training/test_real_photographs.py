"""Real photographs through training: every published form takes a step, and twenty are learned by heart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genloc.cli import main
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import load_skeleton
from tests.data.test_published import PUBLISHED
from tests.make_prior import write_folder

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CONFIG = str(CONFIGS / "own_data.yaml")
BOTH = ("AP", "PCK@0.1")
CPU = [
    *("--data.num_workers", "0", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false"),
]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("prior"))


@pytest.mark.filterwarnings("ignore:.*edges left out")
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_set_takes_a_step_and_is_scored(
    real_data: Path, prior: Path, tmp_path: Path, name: str
) -> None:
    path = real_data / "mmpose_samples" / name
    arguments = ["fit", "--config", CONFIG, "--data.annotations", str(path), *CPU]
    arguments += ["--data.val.annotations", str(path), "--data.val.images", str(path.parent)]
    arguments += [
        "--data.effective_batch",
        "2",
        "--data.batch_size",
        "2",
        "--data.least_steps",
        "1",
    ]
    arguments += ["--trainer.max_steps", "1", "--trainer.max_epochs", "1", "--data.crop_size", "64"]
    arguments += ["--model.model.init_args.prior.init_args.source", str(prior)]
    assert main([*arguments, "--runs", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "own_data" / "metrics.json").read_text())["val"]
    assert numbers["instances"] == PUBLISHED[name][0]
    assert 0 <= numbers["PCK@0.1"] <= 1
    assert (tmp_path / "own_data" / "overlays.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["animalpose", "mirror_mouse", "openfield_mouse"])
def test_twenty_animals_are_learned_by_heart(real_data: Path, tmp_path: Path, name: str) -> None:
    """No augmentation, and what is learned is what is asked."""
    path = real_data / name / "annotations/coco_keypoints.json"
    skeleton = "animalpose" if name == "animalpose" else str(path)
    source = CocoKeypoints(path, real_data / name, skeleton=load_skeleton(skeleton))
    step = len(source) // 20
    ids = [instance.annotation_id for instance in source.instances[::step][:20]]
    (tmp_path / "ids.txt").write_text(" ".join(map(str, ids)))
    spec = json.dumps(
        {
            "annotations": str(path),
            "images": str(real_data / name),
            "annotation_ids": str(tmp_path / "ids.txt"),
        }
    )
    arguments = ["fit", "--config", CONFIG, *CPU, "--runs", str(tmp_path / "runs")]
    arguments += [f"--data.train={spec}", f"--data.val={spec}", "--data.skeleton", skeleton]
    arguments += ["--data.augmentation", "null", "--data.batch_size", "20"]
    arguments += ["--data.effective_batch", "20", "--data.least_steps", "50"]
    assert main([*arguments, "--trainer.max_epochs", "2"]) == 0
    numbers = json.loads((tmp_path / "runs/own_data/metrics.json").read_text())["val"]
    assert numbers["PCK@0.1"] >= 0.95


@pytest.mark.slow
def test_five_shots_of_animal_pose_beat_the_mean_pose(real_data: Path, tmp_path: Path) -> None:
    """25 photographs, then 200 others; three seeds, the worst of which counts."""
    found = []
    for seed in ("0", "1", "2"):
        arguments = ["--config", str(CONFIGS / "animalpose.yaml"), "--seed_everything", seed, *CPU]
        arguments += ["--data.root", str(real_data / "animalpose"), "--runs", str(tmp_path / seed)]
        assert main(["fit", *arguments]) == 0
        assert main(["test", *arguments]) == 0
        numbers = json.loads((tmp_path / seed / "animalpose/metrics.json").read_text())["test"]
        found.append({name: (numbers[name], numbers["mean_pose"][name]) for name in BOTH})
        print(seed, found[-1])
    for name in BOTH:
        assert min(run[name][0] for run in found) > max(run[name][1] for run in found), found
