"""Finished cells that travel with the results."""

from __future__ import annotations

from pathlib import Path

from tests.tools.planning import planner
from tools.tables.budget import Speeds
from tools.tables.job import Job, write_json
from tools.tables.kept import finished, lay_back, with_others


def test_facts_from_elsewhere_say_nothing_of_weights_that_are_begun_here(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    (cell,) = planner("2", zoo, prior, rows=("ViT",)).cells({})
    name, out, runs = cell.training.name, tmp_path / "out", tmp_path / "runs"
    left = {"fit": {"row": "ViT", "seed": 0, "seconds": 3.0}, "tests": {}}
    write_json(out / "table_2_zoo.json", {"trainings": {name: left}})
    lay_back(out, "zoo", runs)
    job = Job(cell.training, (cell.test,), runs)
    assert job.fitted() and not job.trained(), "its test is left, and needs weights"
    last = job.folder / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.touch()  # begun, and stopped
    assert not job.trained()
    assert not Speeds(runs).measured, "nothing was measured here"
    assert finished([job], zoo)[name] == left


def test_what_is_not_asked_for_again_stays_in_the_result(tmp_path: Path) -> None:
    def of(row: str, seed: int) -> dict:
        return {"fit": {"row": row, "seed": seed}, "tests": {}}

    path = tmp_path / "table_2_zoo.json"
    assert with_others(path, {"a": of("ViT", 0)}, {("ViT", 0)}) == {"a": of("ViT", 0)}
    write_json(path, {"trainings": {"a": of("ViT", 0), "b": of("ViT", 1), "c": of("GenLoc", 0)}})
    kept = with_others(path, {"d": of("ViT", 0)}, {("ViT", 0)})
    assert kept.keys() == {"b", "c", "d"}
