"""Tables on real data: their recipes and protocols, rivals as published, files beside a linked root."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from genloc.skeleton import COCO
from genloc.training.sets import SetSpec, load_set
from tests.tools.planning import planner
from tools.paper_tables import main
from tools.tables.cell import Cell
from tools.tables.definitions import METHODS, TABLES
from tools.tables.plan import CONFIGS
from tools.tables.recipe import look_up, nested, resolve
from tools.tables.session import _starts, _weights

SMALL_GPU = CONFIGS / "prior" / "small_gpu.yaml"


def recipe(cell: Cell) -> dict[str, Any]:
    return resolve(cell.training.files, cell.training.facts)


def first(table: str, root: Path, prior: str, row: str, on: str = "ap10k", **more: object) -> Cell:
    made = planner(table, root, prior, on=on, rows=(row,), seeds=(0,), **more)  # type: ignore[arg-type]
    return made.cells({})[0]


def test_scarcenets_numbers_stand_beside_its_sigmas(zoo: Path, prior: str) -> None:
    def sigmas(table: str, on: str) -> list[str]:
        return recipe(first(table, zoo, prior, "SimplePose", on))["scoring"]["sigmas"]

    assert sigmas("5", "ap10k") == ["ap10k-legacy", "ap10k"]
    assert "ap10k-legacy" not in sigmas("2", "ap10k")
    assert "ap10k-legacy" not in sigmas("5", "zoo")


@pytest.mark.parametrize("row", ["SimplePose", "ViT"])
def test_rivals_are_trained_as_published(row: str, zoo: Path, prior: str) -> None:
    """mmpose's recipes: 5e-4, to a tenth at 170 and 200 of 210 epochs, crops of 256, maps of 64, sigma 2."""
    config = recipe(first("2", zoo, prior, row))
    assert (config["data"]["crop_size"], config["data"]["effective_batch"]) == (256, 200)
    model = config["model"]
    assert (model["lr"], model["schedule"], model.get("sigma")) == (5e-4, "steps", None)
    if row == "ViT":
        assert model["model"]["init_args"]["crop_size"] == 256
    assert recipe(first("2", zoo, prior, "GenLoc"))["data"]["crop_size"] == 512


def test_trained_weights_are_given_and_said(zoo: Path, prior: str, tmp_path: Path) -> None:
    weights = "model.model.init_args.weights"
    plain = first("2", zoo, prior, "SimplePose")
    folder = tmp_path / "resnet"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"one")

    def of(source: str) -> Cell:
        return first("2", zoo, prior, "SimplePose", weights=_weights([f"SimplePose={source}"]))

    hub, local = of("microsoft/resnet-50"), of(str(folder))
    assert look_up(recipe(hub), weights) == "microsoft/resnet-50"
    moved = of(str(shutil.copytree(folder, tmp_path / "moved")))
    assert moved.training.name == local.training.name, "it is what is in them that counts"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"two")
    names = {c.training.name for c in (plain, hub, local, of(str(tmp_path / "other")))}
    assert len(names) == 4
    vit = first("2", zoo, prior, "ViT", weights=_weights(["SimplePose=microsoft/resnet-50"]))
    assert look_up(recipe(vit), weights) is None
    cells = [hub, vit, first("2", zoo, prior, "GenLoc")]
    cells.append(first("2", zoo, prior, "GenLoc without the prior (all weights)"))
    assert _starts(cells) == [
        "started: SimplePose from microsoft/resnet-50; ViT from random weights; GenLoc from the prior; "
        "GenLoc without the prior (all weights) from random weights behind the prior's encoder"
    ]
    for wrong in ("GenLoc=x", "SimplePose", "SimplePose=", "Magic=x"):
        with pytest.raises(ValueError, match=r"METHOD=FOLDER .* \['SimplePose', 'ViT'\]"):
            _weights([wrong])


def test_a_small_gpu_is_an_overlay_over_every_row(zoo: Path, prior: str) -> None:
    """It is below the rows' own: other networks have no U-Net to compute again, and normalise over a batch."""
    found = {}
    for row in (
        "GenLoc",
        "GenLoc without the prior (LoRA)",
        "SimplePose",
        "Convolutions on the prior",
    ):
        config = recipe(first("2", zoo, prior, row, overlays=(SMALL_GPU,)))
        again = look_up(config, "model.model.init_args.gradient_checkpointing")
        found[row] = (again, config["data"]["batch_size"], config["data"]["effective_batch"])
    assert found == {
        "GenLoc": (True, 2, 200), "GenLoc without the prior (LoRA)": (True, 2, 200),
        "SimplePose": (None, 40, 200), "Convolutions on the prior": (None, 8, 200),
    }  # fmt: skip


def test_convolutions_on_the_prior_have_as_fine_a_map_as_genloc(zoo: Path, prior: str) -> None:
    def of(on: str, row: str, *names: str) -> list[Any]:
        given = recipe(first("2", zoo, prior, row, on))["model"]["model"]["init_args"]
        return [given[name] for name in names]

    for on, finer in (("zoo", 2), ("ap10k", 1)):
        ours = of(on, "GenLoc", "finer", "timestep")
        assert of(on, "Convolutions on the prior", "upsample", "timestep") == ours
        assert ours[0] == finer


def test_rows_that_the_zoo_alone_can_have_are_not_missed_elsewhere(
    zoo: Path, prior: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not planner("6", zoo, prior, on="ap10k", unseen=None).left_out
    table = ["--table", "6", "--root", str(zoo), "--runs", str(tmp_path), "--prior", prior]
    table += ["--devices", "cpu", "--dry-run"]
    assert main([*table, "--on", "ap10k", "--rows", "GenLoc"]) == 0
    assert "left out" not in capsys.readouterr().out
    assert main([*table, "--on", "ap10k", "--rows", "GenLoc, prior without the test families"]) == 2
    assert "table 6 has no" in capsys.readouterr().err
    assert set(TABLES["6"].columns) == {"zoo", "ap10k"}
    assert not any(METHODS[row.method].takes_weights for row in TABLES["6"].rows if row.needs)


def test_human_art_lies_beside_coco_also_where_that_is_a_link(
    real_data: Path, prior: str, tmp_path: Path
) -> None:
    """Table 4 on COCO, on what there is of it; a person's data folder may be of links to a larger disk."""
    sample, data = real_data / "coco_mini", tmp_path / "data"
    labels = data / "HumanArt" / "annotations" / "validation_humanart.json"
    labels.parent.mkdir(parents=True)
    content = json.loads((sample / "annotations/person_keypoints_val2017.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"HumanArt/images/{image['file_name']}"
    labels.write_text(json.dumps(content))
    (data / "HumanArt" / "images").symlink_to(sample / "val2017", target_is_directory=True)
    (data / "coco").symlink_to(sample, target_is_directory=True)
    cell = first("4", data / "coco", prior, "ViT", "coco")
    spec = nested(cell.test.facts)["data"]
    assert spec["skeleton"] == "human_art"
    found = load_set("test", SetSpec(**spec["test"]), COCO, data / "coco")
    assert len(found) == cell.test.crops > 0  # and every picture is found
