"""Which labels the cells of a table train on, choose by and are tested on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from genloc.cli import main as genloc
from genloc.splits import Source, listed, read_source, read_split, write_split
from genloc.training.sets import SetSpec, lay_over, load_set
from tests.tools.planning import planner
from tools.paper_tables import main
from tools.tables.data import Splits
from tools.tables.recipe import nested, resolve

TRAIN = "annotations/ap10k-train-split1.json"


def splits(zoo: Path, tmp_path: Path, given: Path | None = None, on: str = "zoo") -> Splits:
    return Splits(on, zoo, given, tmp_path / "none", tmp_path / "made")


@pytest.fixture(scope="module")
def mixed(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo with a cow's picture on which a dog is labelled as well, in val-split1."""
    root = tmp_path_factory.mktemp("mixed")
    shutil.copytree(zoo / "annotations", root / "annotations")
    path = root / "annotations" / "ap10k-val-split1.json"
    labels = json.loads(path.read_text())
    family = {c["id"]: c["supercategory"] for c in labels["categories"]}
    cow, dog = (
        next(a for a in labels["annotations"] if family[a["category_id"]] == name)
        for name in ("Bovidae", "Canidae")
    )
    twin = dict(cow, id=999_999_999, image_id=999_999)
    image = next(i for i in labels["images"] if i["id"] == cow["image_id"])
    labels["images"].append(dict(image, id=twin["image_id"], file_name="another.jpg"))
    labels["annotations"] += [twin, dict(cow, id=999_999_998, category_id=dog["category_id"])]
    path.write_text(json.dumps(labels))
    return root


@pytest.mark.parametrize("on", ["zoo", "ap10k"])
def test_checkpoints_are_chosen_on_species_trained_on_and_never_on_tested_pictures(
    on: str, mixed: Path, prior: str
) -> None:
    cells = planner("6", mixed, prior, on=on, rows=("SimplePose",), seeds=(0,)).cells({})
    assert len(cells) == 6
    for cell in cells:
        family = cell.column.partition(" to ")[0]
        fit = nested(cell.training.facts)["data"]
        test = nested({**cell.training.facts, **cell.test.facts})["data"]
        taken = {}  # as `genloc fit` and `genloc test` lay the split over the files
        for part, data in (("train", fit), ("val", fit), ("test", test)):
            source = read_source(mixed / data.get(part, {}).get("annotations", TRAIN))
            ids = set(read_split(data["split"]).parts[part].annotation_ids or ())
            assert read_split(data["split"]).parts[part].sha256 == source.checksum
            taken[part] = [label for label in source.labels if label.annotation_id in ids]
        species = {part: {label.species for label in labels} for part, labels in taken.items()}
        images = {part: {label.image_id for label in labels} for part, labels in taken.items()}
        assert species["val"] == species["train"]
        assert {label.family for label in taken["val"]} == {family}
        assert not species["test"] & species["train"]
        assert not images["test"] & (images["train"] | images["val"])
        watched, tested = (
            cell.training.facts[f"data.{part}.annotations"] for part in ("val", "test")
        )
        # AP-10K's pairs are tested on val-split1, as CLAMP's configuration has it: on other pictures of it.
        assert (watched == tested) == (on == "ap10k")
        assert cell.training.val_crops % len(taken["val"]) == 0


def test_the_kept_splits_of_pairs_fit_the_table() -> None:
    """Those of configs/splits/zoo are of the three files that the table names."""
    from tools.tables.definitions import SETS, TABLES
    from tools.tables.plan import CONFIGS

    for column in TABLES["6"].columns["zoo"]:
        split = read_split(CONFIGS / "splits" / "zoo" / f"{column.split}.json")
        assert {n: p.file for n, p in split.parts.items()} == {
            n: Path(file).name for n, file in SETS["zoo"].files._asdict().items()
        }


# ---------------------------------------------------------------------- given


def test_what_the_commands_write_is_what_the_tables_use(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    given, labels = tmp_path / "given", zoo / "annotations"
    few = ("--shots", "5", "10", "15", "20", "25", "--seeds", "0", "1", "2")
    assert genloc(["split", "few-shot", str(zoo / TRAIN), *few, "--out", str(given)]) == 0
    assert genloc(["split", "zero-shot", str(labels), "--table-6", "--out", str(given)]) == 0
    for table in ("5", "6"):
        made = planner(table, zoo, prior, on="ap10k", given=given, rows=("SimplePose",))
        made.splits.expect(made.split_names)
        used = {cell.training.facts["data.split"] for cell in made.cells({})}
        assert used == {str(given / f"{name}.json") for name in made.split_names}
    assert {path.name for path in given.iterdir()} == {
        f"{name}.json"
        for table in ("5", "6")
        for name in planner(table, zoo, prior, on="ap10k").split_names
    }


def test_a_published_list_serves_every_seed_and_is_named(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    source = read_source(zoo / TRAIN)
    ids = [images[0] for images in source.images_of.values()]
    (tmp_path / "annotation_list_5").write_text(str(ids))
    given = tmp_path / "given"
    write_split(listed(source, tmp_path / "annotation_list_5"), given / "few_shot_5.json")
    made = planner("5", zoo, prior, given=given, rows=("SimplePose",))
    made.splits.expect(made.split_names)
    cells = made.cells({})
    five = [cell for cell in cells if cell.column == "5 shots"]
    assert {cell.training.facts["data.split"] for cell in five} == {
        str((given / "few_shot_5.json").absolute())
    }
    assert len({cell.training.name for cell in five}) == 3, "trained with three seeds all the same"
    said = five[1].training.about["trained on"]
    assert said == f"{labels_on(source, ids)} animals (few_shot_5: listed, list annotation_list_5)"
    ten = next(cell for cell in cells if cell.column == "10 shots" and cell.seed == 1)
    assert ten.training.about["trained on"].endswith("(few_shot_10_seed_1)")


def labels_on(source: Source, images: list[int]) -> int:
    return sum(label.image_id in images for label in source.labels)


def test_a_split_of_one_seed_serves_no_other(zoo: Path, tmp_path: Path) -> None:
    path, split = splits(zoo, tmp_path).find("few_shot_5_seed_1")
    assert path.parent == tmp_path / "made" and split.seed == 1
    given = tmp_path / "given"
    given.mkdir()
    shutil.copy(path, given / "few_shot_5.json")
    with pytest.raises(
        ValueError, match=r"shots 5, seed 1', not of a published list.* few_shot_5_seed_2\.json"
    ):
        splits(zoo, tmp_path, given).find("few_shot_5_seed_2")
    (given / "few_shot_5.json").rename(given / "few_shot_5_seed_2.json")
    with pytest.raises(
        ValueError, match="seed 1', where its name says 'few-shot, shots 5, seed 2'"
    ):
        splits(zoo, tmp_path, given).find("few_shot_5_seed_2")
    (given / "few_shot_5_seed_2.json").rename(given / "few_shot_5_seed_1.json")
    found = splits(zoo, tmp_path, given).find("few_shot_5_seed_1")
    assert found == ((given / "few_shot_5_seed_1.json").absolute(), split)
    assert splits(zoo, tmp_path, given).find("few_shot_5_seed_2")[0].parent == tmp_path / "made"
    with pytest.raises(ValueError, match="no split 'third'"):
        splits(zoo, tmp_path).find("third")


def test_splits_of_other_files_and_pairs_without_val_are_refused(zoo: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    path, split = splits(zoo, tmp_path).find("few_shot_5_seed_1")
    given.mkdir()
    text = path.read_text().replace(split.part("train").sha256, "0" * 16)
    (given / path.name).write_text(text)
    with pytest.raises(ValueError, match=r"the part train of .* was made for"):
        splits(zoo, tmp_path, given).find("few_shot_5_seed_1")

    def pair(*more: str) -> Splits:
        out = given / "zero_shot_Bovidae_Canidae.json"
        words = ["zero-shot", str(zoo / "annotations"), "--train", "Bovidae", "--test", "Canidae"]
        assert genloc(["split", *words, "--out", str(out), *more]) == 0
        return splits(zoo, tmp_path, given, on="ap10k")

    assert pair().find("zero_shot_Bovidae_Canidae")[0].parent == given
    with pytest.raises(ValueError, match="has no part val"):
        pair("--val-split", "train-split1").find("zero_shot_Bovidae_Canidae")
    with pytest.raises(ValueError, match=r"the part test of .* was made for ap10k-test-split1"):
        pair("--test-split", "test-split1").find("zero_shot_Bovidae_Canidae")


def test_a_folder_in_which_nothing_fits_is_refused(
    zoo: Path, prior: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "Bovidae_Canidae.json").write_text("{}")
    table = ["--on", "ap10k", "--root", str(zoo), "--runs", str(tmp_path), "--prior", prior]
    table += ["--splits", str(given), "--rows", "SimplePose", "--devices", "cpu", "--dry-run"]
    assert main(["--table", "6", *table]) == 2
    said = capsys.readouterr().err
    assert "holds none of the splits of this table, zero_shot_Bovidae_Canidae.json, " in said
    assert "and 2 more; it has Bovidae_Canidae.json. genloc split few-shot" in said
    assert main(["--table", "5", *table]) == 2
    assert "few_shot_5_seed_0.json" in capsys.readouterr().err
    assert main(["--table", "2", *table]) == 0, "it needs none"


def test_a_split_is_laid_over_the_sets_that_the_facts_name(zoo: Path, prior: str) -> None:
    """What the keys say is what the data module takes."""
    from genloc.skeleton import AP10K

    (cell, *_) = planner("6", zoo, prior, rows=("ViT",), seeds=(0,)).cells({})
    data = resolve(cell.training.files, cell.training.facts)["data"]
    specs = {
        name: SetSpec(data[name]["annotations"], data[name]["images"]) for name in ("train", "val")
    }
    laid = lay_over(
        data["split"],
        {**specs, "test": SetSpec(cell.test.facts["data.test.annotations"], "data")},
        zoo,
    )
    sizes = {}
    for name, spec in laid.items():
        assert spec is not None
        sizes[name] = len(load_set(name, spec, AP10K, zoo))
    parts = read_split(data["split"]).parts
    assert sizes == {name: part.counts["annotations"] for name, part in parts.items()}
