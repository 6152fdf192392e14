"""Logs of a run that go on where it goes on: `logs/metrics.csv` and TensorBoard's event files."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

FOLDER = "logs"


class CsvLog(Logger):
    """`metrics.csv`: one row per logged step, a column per number, written as it comes.

    (Lightning's own deletes the file when a run goes on.)

    Args:
        folder: where the file is.
        from_step: rows of this and later steps are from a future that did not happen, and are dropped; None
            starts afresh.
    """

    def __init__(self, folder: str | Path, from_step: int | None = None) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: list[dict[str, Any]] = []
        self._columns = ["step"]
        self._from_step = from_step
        self._opened = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._open()
        row: dict[str, Any] = {"step": step if step is not None else len(self._rows)}
        row |= {key: float(value) for key, value in metrics.items()}
        new = [key for key in row if key not in self._columns]
        self._columns += new
        self._rows.append(row)
        if new:
            self._rewrite()
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, restval="").writerow(row)

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._from_step is not None and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or self._columns)
                # a row that a crash cut short has no step or too few fields
                self._rows = [
                    row
                    for row in reader
                    if None not in row.values()
                    and row["step"].isdigit()
                    and int(row["step"]) < self._from_step
                ]
        self._rewrite()

    def _rewrite(self) -> None:
        part = self.path.with_suffix(".part")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(part, self.path)


def run_loggers(run: Path, from_step: int | None) -> list[Logger]:
    """TensorBoard and CSV logs in `<run>/logs`, going on at `from_step` when it is given."""
    folder = run / FOLDER
    purge: dict[str, Any] = {} if from_step is None else {"purge_step": from_step}
    return [
        TensorBoardLogger(run, name=FOLDER, version="", **purge),
        CsvLog(folder, from_step),
    ]
