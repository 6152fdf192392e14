"""Every protocol on real samples, to the last digit of what pycocotools called by hand says.

The localizer is a tiny untrained net whose answers are replaced by the truth, moved a little: an untrained net
scores 0, and 0 agrees with anything.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as PyCoco
from pycocotools.cocoeval import COCOeval

from genloc.cli import main
from genloc.keypoints import Keypoints
from genloc.metrics.coco import STATS
from genloc.metrics.oks import oks
from genloc.report.analysis import analyse
from genloc.report.record import Record
from genloc.skeleton import OKS_SIGMAS
from genloc.splits import read_split
from genloc.training.scores import Scores

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SMALL = (
    '--model.model={"class_path": "tests.training.rival.Rival"}',
    "--model.condition=null",
    '--model.loss={"class_path": "genloc.losses.HeatmapMSE"}',
    *("--data.crop_size", "64", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--ckpt_path", "none"),
)
Results = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def near_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are the truth of the box (of the animal in its middle, for detections) moved by some of its size."""
    add = Scores.add

    def moved(self: Scores, found: Keypoints, batch: dict[str, torch.Tensor]) -> None:
        xy, scores = found.xy.copy(), found.scores.copy()
        for i, id_ in enumerate(batch["annotation_id"].tolist()):
            rng = np.random.default_rng(id_ % 2**32)
            image = int(batch["image_id"][i])
            here = [a for a in self._truth["annotations"] if a["image_id"] == image]
            x, y, w, h = batch["box"][i].double().tolist()
            if self.source.box_scores is None:
                truth = next(a for a in here if a["id"] == id_)
            else:
                truth = min(here, key=lambda a: _apart(a["bbox"], (x, y, w, h)))
            spread = 0.03 * math.sqrt(w * h) * rng.choice([0.2, 1, 2])
            rows = np.reshape(truth["keypoints"], (-1, 3))
            xy[i] = rows[:, :2] + rng.normal(0, spread, (len(rows), 2))
            scores[i] = rng.uniform(0.1, 1, len(rows))
        add(self, replace(found, xy=xy, scores=scores), batch)

    monkeypatch.setattr(Scores, "add", moved)


def _apart(a: Any, b: Any) -> float:
    return abs(a[0] + a[2] / 2 - b[0] - b[2] / 2) + abs(a[1] + a[3] / 2 - b[1] - b[3] / 2)


def run(
    command: str, config: str, protocol: str, root: Path, runs: Path, *more: str
) -> tuple[Results, dict[str, Any]]:
    """Results and numbers of `genloc validate` or `test` with a protocol laid over a configuration."""
    files = [CONFIGS / f"{config}.yaml", CONFIGS / "protocol" / f"{protocol}.yaml"]
    arguments = [word for file in files for word in ("--config", str(file))]
    arguments += ["--data.root", str(root), "--runs", str(runs), "--name", "run", *SMALL, *more]
    assert main([command, *arguments]) == 0
    name = {"validate": "val", "test": "test"}[command]
    results = json.loads((runs / "run" / f"results-{name}.json").read_text())
    return results, json.loads((runs / "run" / "metrics.json").read_text())[name]


def by_hand(
    annotations: Path, results: Results, sigmas: str, **params: list[int]
) -> dict[str, float | None]:
    """What pycocotools says of the published file. `params`: imgIds or catIds."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = PyCoco(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes([dict(r) for r in results]), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(OKS_SIGMAS[sigmas])
        for name, ids in params.items():
            setattr(evaluation.params, name, ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = evaluation.stats[:6].tolist()
    return {name: None if v < 0 else v for name, v in zip(STATS, stats, strict=True)}


def same(numbers: dict[str, Any], expected: dict[str, float | None]) -> None:
    """To the last digit, and not by being 0 or 1 both."""
    assert {name: numbers[name] for name in STATS} == expected
    assert expected["AP"] is not None and 0.02 < expected["AP"] < 0.98, expected


def link(root: Path, **files: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, target in files.items():
        place = root / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)


def ap10k(root: Path, real_data: Path) -> Path:
    samples = real_data / "mmpose_samples" / "ap10k"
    for part in ("train", "val", "test"):
        place = root / "annotations" / f"ap10k-{part}-split1.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(samples / "test_ap10k.json")
    (root / "data").symlink_to(samples)
    return samples / "test_ap10k.json"


@pytest.mark.parametrize("command", ["validate", "test"])
def test_ap10k_with_both_sets_of_sigmas(command: str, real_data: Path, tmp_path: Path) -> None:
    file = ap10k(tmp_path / "data", real_data)
    results, numbers = run(command, "ap10k", "ap10k", tmp_path / "data", tmp_path)
    same(numbers, by_hand(file, results, "ap10k"))
    other = numbers["other_sigmas"]["ap10k-legacy"]
    same(other, by_hand(file, results, "ap10k-legacy"))
    assert "OKS sigmas: ap10k; NMS: none, one result for each box" in numbers["protocol"]
    assert "flip test: on; decoding: centroid" in numbers["protocol"]


@pytest.mark.parametrize("command", ["validate", "test"])
def test_scarcenets_few_shots(command: str, real_data: Path, tmp_path: Path) -> None:
    file = ap10k(tmp_path / "data", real_data)
    (tmp_path / "list").write_text("[4]")
    split = tmp_path / "split.json"
    train = str(tmp_path / "data/annotations/ap10k-train-split1.json")
    given = ["split", "few-shot", train, "--list", str(tmp_path / "list"), "--out", str(split)]
    assert main(given) == 0
    more = ("--data.split", str(split))
    results, numbers = run(command, "ap10k", "scarcenet", tmp_path / "data", tmp_path, *more)
    same(numbers, by_hand(file, results, "ap10k-legacy"))
    same(numbers["other_sigmas"]["ap10k"], by_hand(file, results, "ap10k"))
    name = {"validate": "val", "test": "test"}[command]
    record = Record.read(tmp_path / f"run/record-{name}.npz")  # the report, by the same sigmas
    shown = analyse(record, results)
    legacy, corrected = (
        oks(shown.xy, record.keypoints, record.area, OKS_SIGMAS[sigmas])
        for sigmas in ("ap10k-legacy", "ap10k")
    )
    np.testing.assert_array_equal(shown.oks, legacy)
    assert (legacy != corrected).all()
    assert shown.ap == numbers["AP"]
    assert {group.name: group.ap for group in shown.species} == numbers["per_species"]
    assert np.mean([group.ap for group in shown.species]) == pytest.approx(numbers["AP"])
    assert len(results) == 2, "the split is of the training set alone"


def test_zero_shot_families(real_data: Path, tmp_path: Path) -> None:
    """As CLAMP's code hints at it: the whole file, `catIds` of the family that is tested on."""
    file = ap10k(tmp_path / "data", real_data)
    split = tmp_path / "split.json"
    given = ["split", "zero-shot", str(tmp_path / "data" / "annotations"), "--out", str(split)]
    assert main([*given, "--train", "Bovidae", "--test", "Felidae"]) == 0
    more = ("--data.split", str(split))
    results, numbers = run("test", "ap10k", "zero_shot", tmp_path / "data", tmp_path, *more)
    categories = json.loads(file.read_text())["categories"]
    felidae = [c["id"] for c in categories if c["supercategory"] == "Felidae"]
    same(numbers, by_hand(file, results, "ap10k", catIds=felidae))
    assert {r["category_id"] for r in results} <= set(felidae)
    assert numbers["per_species"].keys() == {"jaguar"}
    title = "split: zero-shot, by family, train Bovidae, test Felidae"
    assert title in numbers["protocol"]


def test_coco_with_the_boxes_of_its_annotations(real_data: Path, tmp_path: Path) -> None:
    link(tmp_path, data=real_data / "coco_mini")
    results, numbers = run("test", "coco", "coco", tmp_path / "data", tmp_path)
    file = tmp_path / "data" / "annotations" / "person_keypoints_val2017.json"
    same(numbers, by_hand(file, results, "coco"))
    assert len(results) == numbers["instances"] == 68


def test_coco_with_detections(real_data: Path, tmp_path: Path) -> None:
    samples = real_data / "mmpose_samples" / "coco"
    for part in ("train", "val"):
        name = f"annotations/person_keypoints_{part}2017.json"
        link(tmp_path / "data", **{name: samples / "test_coco.json", f"{part}2017": samples})
    detections = samples / "test_coco_det_AP_H_56.json"
    usual = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
    link(tmp_path / "data", **{usual: detections})
    results, numbers = run("test", "coco", "coco_detections", tmp_path / "data", tmp_path)
    kept = oks_nms_by_hand(results, 0.9)
    assert 0 < len(kept) < len(results), "there must be something to remove"
    same(numbers, by_hand(samples / "test_coco.json", kept, "coco"))

    images = {i["id"] for i in json.loads((samples / "test_coco.json").read_text())["images"]}
    boxes = [d for d in json.loads(detections.read_text()) if d["image_id"] in images]
    assert len(results) == len(boxes)
    for result, box in zip(results, boxes, strict=True):
        mean = np.mean(np.reshape(result["keypoints"], (-1, 3))[:, 2])
        assert result["score"] == pytest.approx(box["score"] * mean, rel=1e-6)
        assert "annotation_id" not in result
    assert any("detections of person_detection_results" in line for line in numbers["protocol"])
    assert any("NMS: OKS 0.9" in line for line in numbers["protocol"])
    assert "PCK@0.1" not in numbers


def oks_nms_by_hand(results: Results, threshold: float) -> Results:
    """Greedy, one pair at a time; areas are the detections', padded by 1.25 on each side."""
    kept: Results = []
    for one in sorted(results, key=lambda r: -r["score"]):
        copies = False
        for other in kept:
            if other["image_id"] != one["image_id"]:
                continue
            a, b = (np.reshape(r["keypoints"], (-1, 3)) for r in (one, other))
            area = (one["area"] + other["area"]) / 2
            parts = []
            for k, sigma in enumerate(OKS_SIGMAS["coco"]):
                d2 = (a[k, 0] - b[k, 0]) ** 2 + (a[k, 1] - b[k, 1]) ** 2
                parts.append(math.exp(-d2 / (2 * area * (2 * sigma) ** 2)))
            copies |= sum(parts) / len(parts) > threshold
        if not copies:
            kept.append(one)
    return [r for r in results if r in kept]


def test_human_art_and_each_of_its_scenes(real_data: Path, tmp_path: Path) -> None:
    samples = real_data / "mmpose_samples" / "humanart"
    file = samples / "test_humanart.json"
    link(
        tmp_path / "data",
        coco=real_data / "coco_mini",
        HumanArt__images=samples / "HumanArt" / "images",
        HumanArt__annotations=tmp_path / "annotations",
    )
    link(tmp_path / "annotations", **{"validation_humanart.json": file})
    results, numbers = run("test", "human_art", "human_art", tmp_path / "data", tmp_path)
    same(numbers, by_hand(file, results, "coco"))
    scenes = {
        Path(image["file_name"]).parent.name: image["id"]
        for image in json.loads(file.read_text())["images"]
    }
    assert (
        numbers["per_folder"].keys()
        == scenes.keys()
        == {"digital_art", "garage_kits", "acrobatics"}
    )
    for scene, image in scenes.items():
        found = numbers["per_folder"][scene]
        expected = by_hand(file, results, "coco", imgIds=[image])
        assert {name: found[name] for name in STATS} == expected


def test_animal_pose(real_data: Path, tmp_path: Path) -> None:
    link(tmp_path, data=real_data / "animalpose")
    results, numbers = run("test", "animalpose", "animalpose", tmp_path / "data", tmp_path)
    folder = tmp_path / "data" / "annotations"
    test = json.loads((folder / "splits.json").read_text())["test"]
    same(numbers, by_hand(folder / "coco_keypoints.json", results, "animalpose", imgIds=test))
    assert len(numbers["per_species"]) == 5


def test_animal_pose_to_ap10k(real_data: Path, tmp_path: Path) -> None:
    """Trained on one data set, tested on another, on the keypoints that both label."""
    file = ap10k(tmp_path / "data" / "ap10k", real_data)
    link(tmp_path / "data", animalpose=real_data / "animalpose")
    labels = tmp_path / "data" / "animalpose" / "annotations" / "coco_keypoints.json"
    split = tmp_path / "split.json"
    assert main(["split", "cross-domain", str(labels), str(file), "--out", str(split)]) == 0
    results, numbers = run(
        "test", "ap10k", "ap10k", tmp_path / "data", tmp_path, "--data.split", str(split),
        "--data.train.annotations", "animalpose/annotations/coco_keypoints.json",
        "--data.train.images", "animalpose",
        "--data.test.annotations", "ap10k/annotations/ap10k-test-split1.json",
        "--data.test.images", "ap10k/data",
    )  # fmt: skip
    shared = read_split(split).parts["test"].keypoints or {}
    truth = json.loads(file.read_text())
    names = truth["categories"][0]["keypoints"]
    for annotation in truth["annotations"]:
        rows = np.reshape(annotation["keypoints"], (-1, 3))
        rows[[name not in shared for name in names]] = 0
        annotation["keypoints"] = rows.ravel().tolist()
        annotation["num_keypoints"] = int((rows[:, 2] > 0).sum())
    (tmp_path / "cut.json").write_text(json.dumps(truth))
    same(numbers, by_hand(tmp_path / "cut.json", results, "ap10k"))
    assert len(shared) == 10


FEW_LINES: Callable[[Path], int] = lambda path: len(path.read_text().splitlines())  # noqa: E731


def test_a_protocol_is_a_few_lines() -> None:
    files = sorted((CONFIGS / "protocol").glob("*.yaml"))
    assert len(files) == 7
    assert max(map(FEW_LINES, files)) <= 8
