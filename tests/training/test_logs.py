from __future__ import annotations

import csv
from pathlib import Path

from genloc.training.logs import CsvLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_get_columns_as_numbers_appear(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    log.log_metrics({"loss": 1.5}, step=0)
    log.log_metrics({"AP": 0.25}, step=1)
    log.log_metrics({"loss": 0.5}, step=2)
    assert rows(tmp_path) == [
        {"step": "0", "loss": "1.5", "AP": ""},
        {"step": "1", "loss": "", "AP": "0.25"},
        {"step": "2", "loss": "0.5", "AP": ""},
    ]


def test_a_resumed_log_goes_on_and_forgets_the_future_that_did_not_happen(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    for step in range(4):
        log.log_metrics({"loss": float(step)}, step=step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4")  # the process was killed while it wrote
    log = CsvLog(tmp_path, from_step=2)
    log.log_metrics({"loss": 9.0}, step=2)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        ("0", "0.0"),
        ("1", "1.0"),
        ("2", "9.0"),
    ]


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    CsvLog(tmp_path).log_metrics({"loss": 1.0}, step=0)
    CsvLog(tmp_path).log_metrics({"loss": 2.0}, step=0)
    assert [row["loss"] for row in rows(tmp_path)] == ["2.0"]
