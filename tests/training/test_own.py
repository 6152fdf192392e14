"""`genloc fit --config configs/own_data.yaml --data.annotations my.json`, on sets of a few pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genloc.adapter import load_adapter
from genloc.cli import main
from genloc.data.folder import image_folder
from genloc.training.own import own_sets
from genloc.training.sets import SetSpec
from tests.make_coco import write_coco
from tests.make_prior import write_folder

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "own_data.yaml")
NOTHING: dict[str, SetSpec | None] = {"train": None, "val": None}


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("prior"))


def fit(annotations: Path, prior: Path, runs: Path, *more: str) -> int:
    return main(
        [
            *("fit", "--config", CONFIG, "--data.annotations", str(annotations)),
            *("--runs", str(runs), "--model.model.init_args.prior.init_args.source", str(prior)),
            *("--data.crop_size", "64", "--data.num_workers", "0", "--data.least_steps", "3"),
            *("--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"),
            *("--trainer.enable_progress_bar", "false", *more),
        ]
    )


def test_one_argument_trains_watches_and_ends_with_table_and_pictures(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_coco(tmp_path / "mine", images=10, instances=2)
    runs = tmp_path / "runs"
    assert fit(labels, prior, runs) == 0
    said = capsys.readouterr().out
    assert "watched: annotations.json" in said
    assert "4 instances in 2 images" in said
    assert "16 instances in 8 images" in said
    assert "mean pose" in said
    assert "only: 2 images (" in said
    run = runs / "own_data"
    numbers = json.loads((run / "metrics.json").read_text())["val"]
    assert numbers["instances"] == 4
    assert 0 < numbers["mean_pose"]["PCK@0.1"] <= 1
    for name in ("overlays.png", "adapter/genloc.yaml", "results-val.json"):
        assert (run / name).is_file(), name
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["position"]["global_step"] == 2 * 4  # whole rounds: 2 steps each
    # the numbers are those of the best weights: validating them again gives the same
    arguments = ["--config", CONFIG, "--data.annotations", str(labels), "--runs", str(runs)]
    arguments += ["--model.model.init_args.prior.init_args.source", str(prior)]
    arguments += [
        "--data.crop_size",
        "64",
        "--data.num_workers",
        "0",
        "--trainer.accelerator",
        "cpu",
    ]
    assert main(["validate", *arguments]) == 0
    assert json.loads((run / "metrics.json").read_text())["val"] == numbers


def test_a_set_without_areas_ends_with_pck(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_areas(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            del annotation["area"]

    assert fit(write_coco(tmp_path / "mine", change=no_areas), prior, tmp_path / "runs") == 0
    said = capsys.readouterr().out
    assert "PCK@0.1" in said
    assert "AP75" not in said
    assert "no AP: the annotations have no areas" in said


def test_val_can_be_given(tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = write_coco(tmp_path / "mine", images=5)
    write_coco(tmp_path / "other", images=3, seed=1)
    val = ["--data.val.annotations", str(tmp_path / "other" / "annotations.json")]
    val += ["--data.val.images", str(tmp_path / "other" / "images")]
    assert fit(mine, prior, tmp_path / "runs", *val) == 0
    said = capsys.readouterr().out
    assert "5 instances in 5 images" in said
    assert "3 instances in 3 images" in said


def test_a_run_of_several_turns_is_the_same_with_workers(tmp_path: Path, prior: Path) -> None:
    labels = write_coco(tmp_path / "mine", images=6)
    small = ("--data.effective_batch", "4", "--data.batch_size", "2", "--pictures.count", "0")
    assert fit(labels, prior, tmp_path / "a", *small) == 0
    assert fit(labels, prior, tmp_path / "b", *small, "--data.num_workers", "2") == 0
    one, same = (
        torch.load(tmp_path / r / "own_data/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for r in "ab"
    )
    assert all(torch.equal(one[name], same[name]) for name in one)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data.annotations", "none.json"), "data.annotations: no file"),
        (("--data.train.annotations", "a.json"), "give one of the two"),
        (("--data.val_fraction", "1.5"), "data.val_fraction is 1.5"),
        (("--data.images", "none"), "no folder"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(
    tmp_path: Path,
    prior: Path,
    more: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = write_coco(tmp_path / "mine")
    extra = ("--data.skeleton", str(labels), "--model.skeleton", str(labels))
    assert fit(labels, prior, tmp_path / "runs", *extra, *more) == 2
    assert message in capsys.readouterr().err


def sets(path: Path, **options: Any) -> tuple[list[int], list[int]]:
    train, val = own_sets(
        path.name, None, path.parent, given=NOTHING, fraction=options.get("fraction", 0.2)
    )
    assert val is not None and isinstance(train.image_ids, list) and isinstance(val.image_ids, list)
    assert train.annotations == val.annotations == path.name
    return train.image_ids, val.image_ids


def test_images_are_divided_by_their_names_alone(tmp_path: Path) -> None:
    train, val = sets(write_coco(tmp_path / "a", images=20, instances=2))
    assert (len(train), len(val)) == (16, 4)
    assert sorted(train + val) == list(range(1, 21))

    def other_way_round(content: dict[str, Any]) -> None:
        content["images"].reverse()
        content["annotations"].reverse()
        for record in content["images"]:
            record["id"] += 100
        for record in content["annotations"]:
            record["image_id"] += 100

    moved = sets(write_coco(tmp_path / "b", images=20, instances=2, change=other_way_round))
    assert moved == ([i + 100 for i in train], [i + 100 for i in val])
    # with more labels later, those that were trained on are trained on, but for a few
    _, more_val = sets(write_coco(tmp_path / "c", images=22))
    assert len(set(val) & set(more_val)) >= 3


def test_images_without_labels_are_on_neither_side(tmp_path: Path) -> None:
    def unlabelled(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][:4]:
            annotation["keypoints"] = [0] * 51
        content["annotations"][4]["iscrowd"] = 1

    train, val = sets(write_coco(tmp_path, images=7, change=unlabelled), fraction=0.01)
    assert sorted(train + val) == [6, 7]
    with pytest.raises(ValueError, match="expected at least 2"):
        sets(write_coco(tmp_path / "one", images=1))


def test_what_is_on_neither_side_is_counted(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(content: dict[str, Any]) -> None:
        rows = content["annotations"]
        rows[0] |= {"keypoints": [0] * 51, "num_keypoints": 0}
        rows[1]["iscrowd"] = 1
        rows[2]["image_id"] = 77  # no such image
        del rows[3]

    labels = write_coco(tmp_path / "mine", images=10, change=change)
    assert fit(labels, prior, tmp_path / "runs") == 0
    said = capsys.readouterr().out
    assert "5 instances in 5 images" in said and "1 instances in 1 images" in said
    for part in ("selected: 5 of 9 annotations, in 5 of 10 images",
                 "selected: 1 of 9 annotations, in 1 of 10 images",
                 "not selected and of no use: 1 annotations (no labelled keypoint), "
                 "1 annotations (iscrowd), 1 annotations (image_id is not among images), "
                 "2 images without an annotation"):  # fmt: skip
        assert part in said, said


def test_the_flip_test_is_off_where_no_flip_pairs_are_known(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nameless(content: dict[str, Any]) -> None:
        for category in content["categories"]:
            category["keypoints"] = [f"k{i}" for i in range(17)]

    labels = write_coco(tmp_path / "mine", images=6, change=nameless)
    run = tmp_path / "runs" / "own_data"
    assert fit(labels, prior, run.parent, "--model.flip_test", "true") == 0
    assert "flip test: off (no flip pairs are known)" in capsys.readouterr().out
    kept = json.loads((run / "metrics.json").read_text())["val"]["protocol"]
    assert "flip test: off (no flip pairs are known); decoding: centroid" in kept
    assert load_adapter(run / "adapter").recipe["flip_test"] is False


@pytest.mark.parametrize("every", [False, True])
def test_ids_may_be_written_as_text(tmp_path: Path, every: bool) -> None:
    """As the reader takes them."""

    def change(content: dict[str, Any]) -> None:
        for row in content["annotations"][:: 1 if every else 4]:
            row["image_id"] = str(row["image_id"])
        if every:
            for image in content["images"]:
                image["id"] = str(image["id"])

    plain = sets(write_coco(tmp_path / "a", images=20))
    assert sets(write_coco(tmp_path / "b", images=20, change=change)) == plain


@pytest.mark.parametrize("wrong", [[1], {"a": 1}, None, "first", 1.5, True])
def test_an_id_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, prior: Path, wrong: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][2]["image_id"] = wrong

    assert fit(write_coco(tmp_path / "mine", change=change), prior, tmp_path / "runs") == 2
    assert f"annotation 103: image_id is {wrong!r}" in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "images", "data", "..", "../images"])
def test_pictures_are_found_around_the_json(tmp_path: Path, place: str) -> None:
    folder = (tmp_path / "set" / "annotations" / place).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "set" / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(b"")
    found = image_folder(tmp_path / "set" / "annotations" / "x.json", ["a.png"])
    assert found.resolve() == folder


def test_a_picture_that_is_missing_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").touch()
    assert image_folder(tmp_path / "x.json", ["a.png", "b.png"]) == tmp_path / "images"


def test_points_of_a_folder_without_the_picture_stay_with_the_json(tmp_path: Path) -> None:
    assert image_folder(tmp_path / "x.json", ["a.png"]) == tmp_path
    assert np.array_equal(image_folder(tmp_path / "x.json", []).parts, tmp_path.parts)
