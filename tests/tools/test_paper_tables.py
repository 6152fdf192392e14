"""What the tables are made of: definitions, keys, budget, and what is written; nothing is trained here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from genloc.conditions.learned import LearnedCondition
from genloc.models import genloc
from genloc.models.lora import Preset
from tests.tools.planning import planner
from tools.paper_tables import main
from tools.tables import definitions, recipe
from tools.tables.budget import Speeds, spoken, whole
from tools.tables.definitions import METHODS, SETS, TABLES
from tools.tables.job import FIT, LOG, METRICS, Job
from tools.tables.paper import paper_numbers
from tools.tables.plan import CONFIGS
from tools.tables.pool import last_words, progress_of
from tools.tables.results import collect
from tools.tables.session import choose, jobs_of

# ---------------------------------------------------------------------- definitions


def test_definitions_name_what_there_is() -> None:
    for name, table in TABLES.items():
        labels = [row.label for row in table.rows]
        assert len(labels) == len(set(labels)), name
        for row in table.rows:
            method = METHODS[row.method]
            for overlay in (*method.overlays, *(method.real or ()), *row.overlays):
                assert (CONFIGS / overlay).is_file(), overlay
        for set_name, columns in table.columns.items():
            assert {c.test for c in columns} - {""} <= SETS[set_name].tests.keys()
            assert set_name in table.steps and table.seeds[set_name]
    assert definitions.LAYERS == genloc.LAYERS and get_args(Preset) == definitions.PRESETS
    for init in definitions.INITS:
        LearnedCondition(init=init)  # refuses what it does not know
    for name in ("1", "5", "6"):
        assert len(TABLES[name].seeds["zoo"]) == 3


def test_the_papers_numbers_stand_beside_real_data_alone() -> None:
    for name, table in TABLES.items():
        for set_name, columns in table.columns.items():
            labels = tuple(column.label for column in columns)
            found = paper_numbers(name, set_name, labels, table.scores)
            assert (not found) == (set_name == "zoo" or name == "choices")
            assert not found or any(row.label in found for row in table.rows)


def test_the_papers_numbers_give_the_differences_of_its_text() -> None:
    def of(table: str, set_name: str) -> dict:
        columns = tuple(c.label for c in TABLES[table].columns[set_name])
        return paper_numbers(table, set_name, columns, TABLES[table].scores)

    one = {row: found["test"]["AP"] for row, found in of("1", "ap10k").items()}
    best = one["HEL = + LoRA = no noise"]
    assert one["CKHE = MSE loss"] - one["Cross Attention"] == pytest.approx(9.8)
    assert best - one["CKHE = MSE loss"] == pytest.approx(2.6)
    assert best - one["Only condition"] == pytest.approx(13.2)
    two = {row: found["test"]["AP"] for row, found in of("2", "ap10k").items()}
    assert two["GenLoc"] - two["CLAMP-L"] == pytest.approx(2.3)
    five = of("5", "ap10k")
    assert five["GenLoc"]["5 shots"]["AP"] - five["ScarceNet"]["5 shots"]["AP"] == pytest.approx(
        9.5
    )
    assert "5 shots, val" not in five["GenLoc"]  # the paper's are on the test set
    six = of("6", "ap10k")
    gains = [six["GenLoc"][c]["AP"] - six["CLAMP"][c]["AP"] for c in six["GenLoc"]]
    assert gains == pytest.approx([25.9, 29.4, 35.6, 25.0, 28.2, 32.8])


# ---------------------------------------------------------------------- plan


def test_pairs_of_one_training_family_share_it_and_are_tested_apart(zoo: Path, prior: str) -> None:
    cells = [c for c in planner("6", zoo, prior, seeds=(0,)).cells({}) if c.row == "ViT"]
    assert len(cells) == 6
    assert len({c.training.name for c in cells}) == 2
    assert len({c.test.name for c in cells}) == 6
    jobs = jobs_of(cells, Path("runs"))
    assert sorted(len(job.tests) for job in jobs.values()) == [3, 3]


def test_seeds_of_few_shots_are_other_pictures_and_shots_see_as_many_crops(
    zoo: Path, prior: str
) -> None:
    cells = [c for c in planner("5", zoo, prior).cells({}) if c.row == "SimplePose"]
    paths = {c.training.facts["data.split"] for c in cells if c.column == "5 shots"}
    assert len(paths) == 3
    crops = [c.training.crops for c in cells]
    assert max(crops) < 1.2 * min(crops)
    for cell in cells:
        epochs = cell.training.facts["trainer.max_epochs"]
        assert epochs % cell.training.facts["trainer.check_val_every_n_epoch"] == 0


def test_a_row_without_its_prior_is_left_out(zoo: Path, prior: str) -> None:
    made = planner("6", zoo, prior, unseen=None)
    assert made.left_out == ["GenLoc, prior without the test families"]
    assert made.left_out[0] not in {c.row for c in made.cells({})}


def test_rates_are_chosen_by_ap_on_val(zoo: Path, prior: str, tmp_path: Path) -> None:
    made = planner("2", zoo, prior, rows=("SimplePose", "GenLoc without the prior (LoRA)"))
    tuning = made.tuning()
    assert tuning.keys() == {"SimplePose", "GenLoc without the prior (LoRA)"}
    found = tuning["SimplePose"]
    assert len({training.name for training in found.values()}) == 3
    for rate, ap in zip(found, (0.2, 0.4, 0.1), strict=True):
        (tmp_path / found[rate].name).mkdir()
        fit = {"val": {"val/AP": ap}}
        (tmp_path / found[rate].name / FIT).write_text(json.dumps(fit))
    rates, tried = choose(tuning, tmp_path)
    assert rates == {"SimplePose": 1e-3}  # the other one's trainings are not over
    assert list(tried["SimplePose"].values()) == pytest.approx([20.0, 40.0, 10.0])
    # Every table asks for the same trainings to choose its rates.
    five = planner("5", zoo, prior, rows=("SimplePose",)).tuning()["SimplePose"]
    assert [t.name for t in five.values()] == [t.name for t in found.values()]


def test_a_row_with_another_loss_chooses_its_own_rate(zoo: Path, prior: str) -> None:
    labels = ("CKHE = MSE loss", "HEL = + LoRA = no noise", "noise t=21")
    made = planner("1", zoo, prior, rows=labels, seeds=(0,))
    tuning = made.tuning()
    assert list(tuning) == ["CKHE = MSE loss", "GenLoc"]
    names = [{t.name for t in found.values()} for found in tuning.values()]
    assert not names[0] & names[1]
    mse = next(iter(tuning["CKHE = MSE loss"].values()))
    assert any(file.endswith("ablation/mse.yaml") for file in mse.files)
    cells = {c.row: c.training for c in made.cells({"CKHE = MSE loss": 2e-4, "GenLoc": 8e-4})}
    assert [cells[label].about["rate"] for label in labels] == [2e-4, 8e-4, 8e-4]


def test_mistakes_are_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zoo: Path, prior: str
) -> None:
    with pytest.raises(ValueError, match="--table 3 is not made --on zoo; it is made --on coco"):
        planner("3", zoo, prior)
    with pytest.raises(ValueError, match="--rows: table 2 has no"):
        _ = planner("2", zoo, prior, rows=("Magic",)).rows
    arguments = ["--table", "1", "--on", "ap10k", "--root", str(tmp_path), "--runs", str(tmp_path)]
    assert main([*arguments, "--prior", prior, "--dry-run"]) == 2
    assert "no annotation file" in capsys.readouterr().err
    missing = ["--table", "1", "--on", "ap10k", "--root", str(tmp_path / "x"), "--prior", "nowhere"]
    assert main([*missing, "--runs", str(tmp_path), "--dry-run"]) == 2
    assert f"--root: no folder {tmp_path / 'x'}" in capsys.readouterr().err
    assert main([*arguments, "--prior", prior, "--steps", "0"]) == 2
    assert "--steps: 0; expected at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--table", "7", "--on", "zoo"])


def test_a_dry_run_draws_and_writes_nothing(
    zoo: Path, prior: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--on", "zoo", "--runs", str(tmp_path / "runs"), "--prior", prior, "--dry-run"]
    assert main(["--table", "1", "--root", str(tmp_path / "none"), *words]) == 2
    assert "holds no zoo yet" in capsys.readouterr().err
    arguments = ["--table", "5", "--root", str(zoo), "--rows", "ViT", *words]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "trainings to run" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- time


def test_time_is_measured_where_a_training_has_run(zoo: Path, prior: str, tmp_path: Path) -> None:
    cells = planner("2", zoo, prior, rows=("SimplePose",)).cells({})
    (job,) = jobs_of(cells, tmp_path).values()
    guess = Speeds(tmp_path)
    assert not guess.known(job)
    assert guess.speed(job) == METHODS["SimplePose"].speed
    crops, val = job.training.crops, job.training.val_crops
    fit = {"seconds": 50.0, "crops": crops, "val_crops": val, "speed_as": job.training.speed_as}
    for name, seconds in (("a", 50.0), ("interrupted", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / FIT).write_text(json.dumps(fit | {"seconds": seconds}))
    measured = Speeds(tmp_path)
    assert measured.known(job)
    assert measured.speed(job) == pytest.approx((crops + val / 3) / 50)
    tests = sum(4 + test.crops / (3 * measured.speed(job)) for test in job.tests)
    assert measured.seconds(job) == pytest.approx(50 + tests)
    assert whole([job], measured, 2) == pytest.approx(50 + tests)  # one training is not shared out
    assert [spoken(s) for s in (3.2, 600, 7500)] == ["3 s", "10 min", "2 h 05 min"]


def test_progress_is_read_from_the_log(zoo: Path, prior: str, tmp_path: Path) -> None:
    (job,) = jobs_of(planner("2", zoo, prior, rows=("ViT",)).cells({}), tmp_path).values()
    assert progress_of(job) == (0, 1)
    assert "nothing said" in last_words(job, -9)
    job.folder.mkdir(parents=True)
    (job.folder / LOG).write_text("epoch 1/8: loss 2\nepoch 2/8: loss 1 (3 s)\ngenloc fit: no!\n\n")
    assert progress_of(job) == (2, 8)
    assert "exit status 2): genloc fit: no! [" in last_words(job, 2)


# ---------------------------------------------------------------------- results


def test_numbers_are_collected_by_row_column_and_seed(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    made = planner("6", zoo, prior, rows=("GenLoc", "ViT"), seeds=(0, 1))
    cells = made.cells({})
    jobs = jobs_of(cells, tmp_path)
    for cell in cells[:-1]:
        job = jobs[cell.training.name]
        ap = 0.5 + 0.1 * cell.seed + (0.05 if cell.row == "ViT" else 0)
        numbers = {"AP": ap, "AP50": ap, "AP75": None, "AR": ap, "instances": 9,
                   "mean_pose": {"AP": 0.01},
                   "protocol": [f"annotations: {zoo}/{cell.column}", "NMS: none"]}  # fmt: skip
        job.metrics(cell.test).parent.mkdir(parents=True)
        job.metrics(cell.test).write_text(json.dumps({"test": numbers}))
        made_on = {"rate": 1e-3, "hardware": "a machine", "threads": 1, "date": "2026-11-28"}
        (job.folder / FIT).write_text(json.dumps({**job.training.about, **made_on}))
    found = collect(made, cells, jobs, {}, {"ViT": {1e-3: 12.0}})
    assert found.missing == 1
    column = found.columns[0]
    assert found.values["GenLoc"][column]["AP"] == pytest.approx([50.0, 60.0])
    assert found.values["ViT"][column]["AR"] == pytest.approx([55.0, 65.0])
    assert "AP75" not in found.values["ViT"][column]
    assert found.values["mean pose"][column]["AP"] == pytest.approx([1.0])
    text = found.markdown()
    for line in (
        "NMS: none",
        f"annotations: {zoo.name}/{column}",
        "0.001: 12.0",
        "2026-11-28, a machine",
        f"prior: {Path(prior).name}@",
    ):
        assert line in text, line
    assert f"{zoo}/" not in json.dumps([text, found.trainings])  # where it lies on this machine
    assert METRICS in {path.name for path in tmp_path.rglob("*.json")}


def test_what_the_shipped_prior_has_seen_is_said() -> None:
    said = recipe.what_it_has_seen("tiny")
    assert "pictures" in said and "families left out" in said
    assert "framed by the renderer" in said
    assert "no training.json" in recipe.what_it_has_seen("elsewhere")


def test_a_resolved_recipe_holds_defaults_and_no_paths(zoo: Path) -> None:
    config = recipe.resolve([CONFIGS / "zoo.yaml"], {"data.root": str(zoo), "data.padding": 1.0})
    kept = recipe.learned(config)
    assert kept["data"]["padding"] == 1.0
    assert kept["data"]["augmentation"]["flip"] == 0.5  # a default of the code
    assert str(zoo) not in json.dumps(kept)
    with pytest.raises(ValueError, match="magic"):
        recipe.resolve([CONFIGS / "zoo.yaml"], {"model.magic": 1})
    assert isinstance(Job(SimpleNamespace(name="x"), (), zoo).folder, Path)  # type: ignore[arg-type]
