"""Splits laid over the sets of a run, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genloc.cli import main
from genloc.skeleton import AP10K
from genloc.splits import cross_domain, few_shot, held_out, read_source, write_split, zero_shot
from genloc.training.data import KeypointData
from genloc.training.sets import SetSpec, lay_over, load_set
from tests.make_coco import write_coco

TRAIN, VAL = SetSpec("train.json", "images"), SetSpec("val.json", "images")
NAMES = {name: name for name in AP10K.keypoints}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(("train", "val")):
        write_coco(tmp_path, images=12, species=(1, 8), name=f"{name}.json", seed=seed)
    train, val = (read_source(tmp_path / f"{name}.json") for name in ("train", "val"))
    write_split(few_shot(train, 2), tmp_path / "few.json")
    write_split(few_shot(train, 2, seed=1), tmp_path / "others.json")
    write_split(zero_shot(train, val, ["Bovidae"], ["Canidae"], val=val), tmp_path / "zero.json")
    write_split(held_out(train, val, NAMES, NAMES, ["nose"]), tmp_path / "held.json")
    return tmp_path


def data(root: Path, split: str | None, **given: SetSpec | None) -> KeypointData:
    sets: dict[str, SetSpec | None] = {"train": TRAIN, "val": VAL, "test": VAL, **given}
    return KeypointData("ap10k", **sets, split=split, root=str(root), crop_size=32)  # type: ignore[arg-type]


def test_each_part_is_laid_over_the_set_of_its_name(root: Path) -> None:
    made = data(root, "zero.json")
    made.setup("fit")
    made.setup("test")
    species = {
        name: {source.species(i.category_id) for i in source.instances}
        for name, source in made.sources.items()
    }
    assert species == {"train": {"antelope"}, "val": {"antelope"}, "test": {"dog"}}
    spec = made.specs["test"]
    assert spec is not None and spec.selection() == "zero.json#test"


def test_sets_without_a_part_stay_as_they_are(root: Path) -> None:
    made = data(root, "few.json")
    made.setup("fit")
    assert (len(made.sources["train"]), len(made.sources["val"])) == (4, 12)


def test_one_set_takes_a_part_by_name(root: Path) -> None:
    spec = SetSpec("val.json", "images", split="zero.json#test")
    assert len(load_set("val", spec, AP10K, root)) == 6
    with pytest.raises(ValueError, match="no part 'x'; it has train, val, test"):
        load_set("val", SetSpec("val.json", "images", split="zero.json#x"), AP10K, root)


def test_keypoints_that_do_not_count(root: Path) -> None:
    made = data(root, "held.json", val=None)
    made.setup("fit")
    made.setup("test")
    nose = AP10K.index("nose")
    for name, labelled in (("train", False), ("test", True)):
        for instance in made.sources[name].instances:
            assert (instance.keypoints[nose, 2] > 0) <= labelled
            others = [k for k in range(17) if k != nose]
            assert instance.keypoints[others].any() != labelled


def test_a_checkpoint_is_not_chosen_by_what_is_held_out(root: Path) -> None:
    with pytest.raises(ValueError, match=r"holds out nose but has no part val.*--val FILE"):
        data(root, "held.json").held_out()
    assert data(root, "held.json", val=None).held_out() == ("nose",)
    train, val = (read_source(root / f"{name}.json") for name in ("train", "val"))
    write_split(held_out(train, val, NAMES, NAMES, ["nose"], val=val), root / "both.json")
    assert data(root, "both.json").held_out() == ("nose",)


def test_other_pictures_of_one_file_are_other_data(root: Path) -> None:
    """A run that is taken up again with another seed's shots must not go on."""
    facts = []
    for split in ("few.json", "others.json"):
        made = data(root, split)
        made.setup("fit")
        facts.append(made.facts())
    assert facts[0]["crops"] == facts[1]["crops"]
    assert facts[0] != facts[1]


def test_what_would_spoil_the_test_is_refused_before_a_training(root: Path) -> None:
    made = data(root, "zero.json", test=TRAIN)
    with pytest.raises(ValueError, match=r"data.test.split: zero.json#test was made for val.json"):
        made.setup("fit")
    train, val = (read_source(root / f"{name}.json") for name in ("train", "val"))
    write_split(cross_domain(train, val, NAMES, NAMES), root / "cross.json")
    with pytest.raises(ValueError, match=r"data.val: cross.json says what of val.json is tested"):
        data(root, "cross.json").setup("fit")
    data(root, "cross.json", val=None).setup("fit")
    write_split(cross_domain(train, val, NAMES, NAMES, val=train), root / "watched.json")
    data(root, "watched.json", val=TRAIN).setup("fit")


def test_a_split_of_another_file_is_refused(root: Path) -> None:
    made = data(root, "few.json", train=VAL)
    with pytest.raises(ValueError, match=r"data.train.split: few.json#train was made for train"):
        made.setup("fit")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": SetSpec("train.json", image_ids="ids")}, "takes ids already"),
        ({"train": SetSpec("train.json", split="others.json")}, "takes others.json already"),
        ({"test": None}, "part test, but data.test is null"),
    ],
)
def test_what_cannot_be_laid_over(
    root: Path, given: dict[str, SetSpec | None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        data(root, "zero.json", **given)


def test_refusals_of_one_set(root: Path) -> None:
    both = SetSpec("train.json", "images", annotation_ids="ids", split="few.json")
    with pytest.raises(ValueError, match="leave out image_ids, annotation_ids and exclude"):
        load_set("train", both, AP10K, root)
    with pytest.raises(FileNotFoundError, match="genloc split makes one"):
        lay_over("none.json", {"train": TRAIN}, root)
    boxes = SetSpec("train.json", "images", detections="boxes.json")
    with pytest.raises(ValueError, match="no labels to train on"):
        load_set("train", boxes, AP10K, root)
    with pytest.raises(FileNotFoundError, match=r"data\.val\.detections: no file .*boxes.json"):
        load_set("val", boxes, AP10K, root)


@pytest.mark.parametrize(
    ("content", "key"),
    [(b'{"shots": {"5": [1, 2', "#shots.5"), (b"\xff", "#shots.5"), (b"\xff", "")],
)
def test_a_broken_list_of_ids_is_named(root: Path, content: bytes, key: str) -> None:
    (root / "broken.json").write_bytes(content)
    spec = SetSpec("train.json", "images", annotation_ids=f"broken.json{key}")
    kind = "json" if key else "text"
    with pytest.raises(ValueError, match=rf"^ids: \S*/broken\.json is not a {kind} file: "):
        load_set("train", spec, AP10K, root)


def test_a_run_says_its_split(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = root / "run.yaml"
    config.write_text(
        f"""
name: few
trainer: {{max_epochs: 1, accelerator: cpu, devices: 1, enable_progress_bar: false}}
data:
  skeleton: ap10k
  root: {root}
  train: {{annotations: train.json, images: images}}
  val: {{annotations: val.json, images: images}}
  test: ${{.val}}
  crop_size: 64
  num_workers: 0
  effective_batch: 4
model:
  skeleton: ${{..data.skeleton}}
  model: {{class_path: tests.training.rival.Rival}}
  loss: {{class_path: genloc.losses.HeatmapMSE}}
"""
    )
    given = ["--config", str(config), "--runs", str(root / "runs"), "--data.split", "few.json"]
    assert main(["fit", *given]) == 0
    assert "4 instances in 4 images" in capsys.readouterr().out
    for wrong, said in (("mine", "no sigmas 'mine'"), ("animalpose", "are for 20 keypoints")):
        assert main(["test", *given, "--scoring.sigmas", f"[ap10k,{wrong}]"]) == 2
        assert said in capsys.readouterr().err
        assert not (root / "runs/few/results-test.json").exists(), "it ran before it was said"
    assert main(["test", *given, "--scoring.sigmas", "[ap10k-legacy,ap10k]"]) == 0
    numbers = json.loads((root / "runs/few/metrics.json").read_text())["test"]
    assert "OKS sigmas: ap10k-legacy" in " ".join(numbers["protocol"])
    assert numbers["other_sigmas"].keys() == {"ap10k"}
    assert numbers["instances"] == 12
    assert "split of the training set: few-shot, shots 2, seed 0" in numbers["protocol"]
    assert any(line.endswith("after step 1 on 4 crops") for line in numbers["protocol"])

    assert main(["fit", *given[:-1], "others.json", "--ckpt_path", "last"]) == 2
    assert "a run goes on with the same data" in capsys.readouterr().err
    config.write_text(config.read_text().replace("annotations: train", "annotations: val"))
    assert main(["fit", *given, "--name", "b"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "was made for train.json" in error
