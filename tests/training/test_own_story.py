"""From 20 labelled frames of a real mouse, in the form of the tool that labelled them, to a localizer.

Minutes each on one core: slow.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from genloc.cli import main

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "own_data.yaml")
TABLES = {
    "mirror_mouse": "CollectedData.csv",
    "openfield_mouse": "labeled-data/m4s1/CollectedData_Pranav.csv",
}
ANY_ANGLE = ("--data.augmentation.rotation", "180", "--data.augmentation.rotation_p", "1")
STEPS = ("--trainer.max_epochs", "8")
FAST = ("--data.effective_batch", "2", "--data.least_steps", "1", "--trainer.max_epochs", "1")


def tables(real_data: Path, name: str, folder: Path) -> tuple[Path, Path]:
    """The published csv cut into 20 frames and all others, as if only those were labelled."""
    source = real_data / name / TABLES[name]
    lines = source.read_text().splitlines(keepends=True)
    splits = json.loads((real_data / name / "annotations/splits.json").read_text())
    given = json.loads((real_data / name / "annotations/coco_keypoints.json").read_text())
    file_of = {i["id"]: i["file_name"] for i in given["images"]}
    chosen = {file_of[i] for i in splits["train"][:20]}
    (folder / "labeled-data").symlink_to(real_data / name / "labeled-data")
    paths = (folder / "CollectedData_few.csv", folder / "CollectedData_rest.csv")
    for path, wanted in zip(paths, (True, False), strict=True):
        rows = [line for line in lines[3:] if (line.split(",")[0] in chosen) == wanted]
        path.write_text("".join(lines[:3] + rows))
    return paths


def story(real_data: Path, name: str, folder: Path, *more: str) -> dict:
    """Import, check, fit; the numbers on the frames that were not trained on."""
    few, rest = tables(real_data, name, folder)
    for table, out in ((few, "few.json"), (rest, "rest.json")):
        assert main(["import", str(table), str(folder / out), "--category", "mouse"]) == 0
    assert len(json.loads((folder / "few.json").read_text())["images"]) == 20
    assert main(["check", str(folder / "few.json"), "--sheet", str(folder / "check.png")]) == 0
    arguments = ["fit", "--config", CONFIG, "--data.annotations", str(folder / "few.json")]
    arguments += ["--data.val.annotations", str(folder / "rest.json")]
    arguments += ["--data.val.images", str(folder), "--runs", str(folder / "runs")]
    arguments += ["--data.num_workers", "0", "--trainer.accelerator", "cpu"]
    angle = ANY_ANGLE if name == "openfield_mouse" else ()
    assert main([*arguments, "--trainer.enable_progress_bar", "false", *angle, *more]) == 0
    run = folder / "runs" / "own_data"
    assert (run / "overlays.png").is_file()
    assert (run / "adapter" / "genloc.yaml").is_file()
    return json.loads((run / "metrics.json").read_text())["val"]


def without_boxes(folder: Path) -> float:
    """PCK@0.1 on the frames not trained on, where nothing says where the animal is."""
    rest = json.loads((folder / "rest.json").read_text())
    names = rest["categories"][0]["keypoints"]
    first = folder / rest["images"][0]["file_name"]
    arguments = ["predict", str(first.parent), "--adapter", str(folder / "runs/own_data/adapter")]
    arguments += ["--zoom", "--device", "cpu", "--overlays", "none", "--out", str(folder / "found")]
    assert main(arguments) == 0
    table = pd.read_csv(folder / "found/keypoints.csv", header=[0, 1, 2], index_col=0)
    table.columns = table.columns.droplevel(0)
    table.index = [Path(str(name)).name for name in table.index]
    file_of = {image["id"]: Path(image["file_name"]).name for image in rest["images"]}
    right = []
    for annotation in rest["annotations"]:
        row = table.loc[file_of[annotation["image_id"]]]
        near = 0.1 * max(annotation["bbox"][2:])
        for name, (x, y, v) in zip(names, triples(annotation["keypoints"]), strict=True):
            if v:
                right.append(math.hypot(row[name, "x"] - x, row[name, "y"] - y) <= near)
    return sum(right) / len(right)


def triples(flat: list[float]) -> list[tuple[float, float, float]]:
    """COCO's x, y, v, x, y, v, ... as triples."""
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_the_commands_go_together(real_data: Path, tmp_path: Path, name: str) -> None:
    from tests.make_prior import write_folder

    prior = write_folder(tmp_path / "prior")
    small = ("--data.crop_size", "64", "--model.model.init_args.prior.init_args.source", str(prior))
    numbers = story(real_data, name, tmp_path, *FAST, *small)
    assert numbers["instances"] == {"mirror_mouse": 70, "openfield_mouse": 38}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_twenty_frames_beat_the_mean_pose_on_the_others(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    numbers = story(real_data, name, tmp_path, *STEPS)
    by_itself = without_boxes(tmp_path)
    print(f"{name}: {numbers['PCK@0.1']:.3f}, without boxes {by_itself:.3f}")
    mean_pose = numbers["mean_pose"]["PCK@0.1"]
    assert min(numbers["PCK@0.1"], by_itself) > mean_pose + 0.1
