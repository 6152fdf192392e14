"""The quick form of the small world's benchmarks: every contender runs, cells are kept, tables say how."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import long_video, prior_worth, zoo_difficulty
from benchmarks.crops import Crops, order, to_image, zoo_set
from genloc.data.batch import KeypointDataset
from genloc.data.transforms import Augmentation
from genloc.data.zoo import write_zoo
from tests.make_prior import write_folder


def test_every_method_of_prior_worth_runs_and_finished_cells_are_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = str(write_folder(tmp_path / "prior"))
    arguments = ["--quick", "--prior", prior, "--runs", str(tmp_path / "runs")]
    prior_worth.main([*arguments, "--seeds", "0", "--methods", *prior_worth.METHODS])
    (written,) = (tmp_path / "runs" / "quick").glob("prior_worth_*.json")
    results = json.loads(written.read_text())["results"]
    assert results.keys() == prior_worth.METHODS.keys()
    for cells in results.values():
        assert {cell["crops_seen"] for cell in cells} == {8}
        assert all(np.isfinite([point["loss"] for point in cell["curve"]]).all() for cell in cells)
    assert results["scratch-all"][0]["learning"] > results["genloc"][0]["learning"]
    text = written.with_suffix(".md").read_text()
    for line in (
        "mean pose",
        "OKS sigmas: ap10k",
        "padding: 1.0",
        "prior has seen",
        "genloc over",
    ):
        assert line in text, line

    capsys.readouterr()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "cells").iterdir()}
    assert len(kept) == 2 * len(prior_worth.METHODS)
    prior_worth.main([*arguments, "--methods", "genloc", "conv-head"])  # two seeds: two new cells
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list((tmp_path / "runs" / "cells").iterdir())) == len(kept) + 2
    assert "seed 0: step" not in capsys.readouterr().out


def test_zoo_difficulty_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo_difficulty.main(["--quick", "--runs", str(tmp_path)])
    (written,) = (tmp_path / "quick").glob("zoo_difficulty_*.json")
    content = json.loads(written.read_text())
    assert content["results"].keys() == {"few", "all"}
    assert "few lr" in capsys.readouterr().out


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        prior_worth.main(["--methods", "magic"])
    with pytest.raises(FileNotFoundError, match="genloc zoo"):
        prior_worth.main(["--zoo", str(tmp_path)])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    write_zoo(folder, per_species=10, size=96, species=(1, 8), workers=1)
    return folder


def test_kept_crops_are_the_datasets(zoo: Path, tmp_path: Path) -> None:
    source, augmentation = zoo_set(zoo, "train", 3), Augmentation()
    crops = Crops(source, tmp_path, size=64, views=2, augmentation=augmentation)
    again = Crops(source, tmp_path, size=64, views=2, augmentation=augmentation)
    reference = KeypointDataset(
        source, crop_size=64, padding=crops.padding, augmentation=augmentation
    )
    reference.set_epoch(1)
    for kept in (crops, again):
        batch = kept.batch(np.array([2, 0]), np.array([1, 1]), "cpu", latent=False)
        for row, item in enumerate((2, 0)):
            torch.testing.assert_close(batch["image"][row], reference[item]["image"])
            assert torch.equal(batch["points"][row], reference[item]["points"])
    assert to_image(crops.image[0]).is_contiguous(memory_format=torch.channels_last)


def test_shots_are_the_first_pictures_of_each_species(zoo: Path) -> None:
    pictures = [instance.image_id for instance in zoo_set(zoo, "train", 3).instances]
    assert {10_000, 10_001, 10_002, 80_000, 80_001, 80_002} <= set(pictures)
    assert not {10_003, 10_004, 80_003, 80_004} & set(pictures)


def test_every_instance_is_seen_equally_often_in_all_its_views() -> None:
    draws = order(7, 3, 5, seed=1)
    seen = [pair for _ in range(21) for pair in zip(*next(draws), strict=True)]
    counts = np.zeros((7, 3), int)
    for item, view in seen:
        counts[item, view] += 1
    assert (counts == 5).all()  # 21 x 5 crops = 15 epochs, each view every third
    again = order(7, 3, 5, seed=1)
    first = [pair for _ in range(21) for pair in zip(*next(again), strict=True)]
    assert first == seen


def test_a_verdict_says_who_is_apart_whoever_leads() -> None:
    def cells(*aps: float) -> list[dict]:
        return [{"test": {"AP": ap}} for ap in aps]

    ours = cells(0.18, 0.17)
    rivals = {"behind": cells(0.01, 0.02), "ahead": cells(0.3, 0.25), "near": cells(0.175, 0.1)}
    said = prior_worth.verdict({"genloc": ours, **rivals, "once": cells(0.1)})
    assert said == [
        "genloc over behind: +16.0 AP; the ranges over seeds do not overlap",
        "genloc over ahead: -10.0 AP; the ranges over seeds do not overlap",
        "genloc over near: +3.8 AP; the ranges over seeds overlap",
        "genloc over once: +7.5 AP; one seed",
    ]


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_memory_is_watched_along_a_video(tmp_path: Path) -> None:
    long_video.main(["--minutes", "0.1", "--crop-size", "64", "--out", str(tmp_path)])
    (written,) = tmp_path.glob("long_video_*.json")
    content = json.loads(written.read_text())
    shares = [share for share, _ in content["share and bytes"]]
    assert content["frames"] == 150 and shares == sorted(shares)
    assert all(used > 2**20 for _, used in content["share and bytes"])
    assert {"keypoints.csv", "results.json", "clip_labelled.mp4"} <= content["files"].keys()
