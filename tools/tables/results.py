"""What is written of a table: numbers as json, a Markdown table with its protocol, and a picture."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genloc import __version__
from tools.tables.cell import Cell
from tools.tables.definitions import METHODS
from tools.tables.facts import Tested, facts_below, name_of
from tools.tables.job import Job, write_bytes
from tools.tables.kept import finished, read_test, with_others
from tools.tables.paper import paper_numbers
from tools.tables.plan import Planner
from tools.tables.rows import acting_rates, configurations

Scores = dict[str, float | None]
MEAN_POSE = "mean pose"
# Of what a training left, beside each cell.
SAID = (
    "rate",
    "steps",
    "epochs",
    "crops seen",
    "trained on",
    "prior",
    "seconds",
    "hardware",
    "threads",
    "date",
)


@dataclass
class Result:
    """A table with its numbers.

    Args:
        name: `table_1_zoo`. title: above it. rows, columns, scores: names, in order.
        values: row -> column -> score -> one number for each seed that is done, 0 to 100.
        paper: row -> column -> score -> the paper's number; its other rows are people's we do not run.
        facts: below the table, one line each. missing: cells that are not done. records: the cells that are.
        trainings: what they left, by name of the training (`kept.py`). asked: (row, seed) of all cells.
    """

    name: str
    title: str
    rows: list[str]
    columns: list[str]
    scores: list[str]
    values: dict[str, dict[str, dict[str, list[float]]]]
    paper: dict[str, dict[str, dict[str, float]]]
    facts: list[str]
    missing: int
    records: list[dict[str, Any]] = field(default_factory=list)
    trainings: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: frozenset[tuple[str, int]] = frozenset()

    def shown(self, row: str, column: str, score: str) -> str:
        """Mean, and least to most over several seeds; "-" where nothing is done."""
        values = self.values.get(row, {}).get(column, {}).get(score, [])
        if not values:
            return "-"
        middle = f"{statistics.mean(values):.1f}"
        return middle if len(values) == 1 else f"{middle} ({min(values):.1f} to {max(values):.1f})"

    def shown_paper(self, row: str, pairs: Iterable[tuple[str, str]]) -> str:
        """The paper's numbers of a row for (column, score) pairs."""
        known = self.paper.get(row, {})
        values = [known.get(column, {}).get(score) for column, score in pairs]
        if all(value is None for value in values):
            return ""
        return " / ".join("-" if value is None else f"{value:.1f}" for value in values)

    def markdown(self) -> str:
        """One grid for a table of one column, else one for each score, with the protocol below."""
        lines = [f"# {self.title}", ""]
        if self.missing:
            lines += [f"**Not complete: {self.missing} cells are not done yet.**", ""]
        if len(self.columns) == 1:
            column = self.columns[0]
            lines += self._grid(self.scores, [(column, score) for score in self.scores])
        else:
            for score in self.scores:
                lines += [f"**{score}**", ""]
                lines += self._grid(self.columns, [(column, score) for column in self.columns])
        return "\n".join([*lines, *(f"- {fact}" for fact in self.facts), ""])

    def _grid(self, heads: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
        beside = ["paper"] if self.paper else []
        lines = ["| " + " | ".join(["", *heads, *beside]) + " |"]
        lines.append("|" + " --- |" + " ---: |" * (len(heads) + len(beside)))
        for row in (*self.rows, *(row for row in self.paper if row not in self.rows)):
            cells = [self.shown(row, column, score) for column, score in pairs]
            reference = [self.shown_paper(row, pairs)] if self.paper else []
            lines.append("| " + " | ".join([row, *cells, *reference]) + " |")
        return [*lines, ""]

    def write(self, out: Path) -> list[Path]:
        """`<out>/<name>.{json,md,png}`."""
        from tools.tables.draw import draw

        kept = with_others(out / f"{self.name}.json", self.trainings, self.asked)
        content = {
            "title": self.title, "rows": self.rows, "columns": self.columns, "scores": self.scores,
            "values": self.values, "paper": self.paper, "facts": self.facts, "missing": self.missing,
            "genloc": __version__, "cells": self.records, "trainings": kept,
        }  # fmt: skip
        texts = {".json": json.dumps(content, indent=1) + "\n", ".md": self.markdown()}
        written = []
        for suffix, text in texts.items():
            path = out / f"{self.name}{suffix}"
            write_bytes(path, text.encode())
            written.append(path)
        draw(self, out / f"{self.name}.png")
        return [*written, out / f"{self.name}.png"]


def collect(
    planner: Planner,
    cells: Sequence[Cell],
    jobs: Mapping[str, Job],
    tuned: Mapping[str, Job],
    tried: Mapping[str, Mapping[float, float]],
) -> Result:
    """The result of a table from what its cells left, whether all are done or not.

    Args:
        planner: of the table. cells: all of them. jobs: by name of the training.
        tuned: trainings that chose the rates, likewise. tried: method or row -> rate -> AP on val.
    """
    table, scores = planner.table, list(planner.table.scores)
    columns = [column.label for column in planner.columns]
    rows = list(dict.fromkeys(cell.row for cell in cells))
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    mean_pose: dict[str, dict[str, dict[str, float]]] = {}
    records: list[dict[str, Any]] = []
    tested: list[Tested] = []
    done: list[Cell] = []
    for cell in cells:
        job = jobs[cell.training.name]
        path = job.metrics(cell.test)
        if not path.is_file():
            continue
        found = read_test(path, planner.options.root)
        for score in scores:
            if (value := found.get(score)) is not None:
                kept = values.setdefault(cell.row, {}).setdefault(cell.column, {})
                kept.setdefault(score, []).append(100 * value)
            if (value := found["mean_pose"].get(score)) is not None:
                # It depends on the training set alone: one number for each (seeds of a split).
                of_one = mean_pose.setdefault(cell.column, {}).setdefault(score, {})
                of_one[cell.training.about["trained on"]] = 100 * value
        tested.append(Tested(cell.row, cell.column, found["protocol"], found["instances"]))
        done.append(cell)
        fit = job.fitted() or {}
        records.append(
            {
                "row": cell.row, "column": cell.column, "seed": cell.seed,
                **{k: fit.get(k) for k in SAID}, "training": cell.training.name, "test": cell.test.name,
            }
        )  # fmt: skip
    configs = configurations(done)
    for record, cell in zip(records, done, strict=True):
        method = cell.training.about["method"]
        if METHODS[method].rate not in acting_rates(method, configs[cell.row][1]):
            record["rate"] = None  # nothing learns at it
    trainings = finished({**tuned, **jobs}.values(), planner.options.root)
    for left in (*records, *(training["fit"] for training in trainings.values())):
        if left.get("prior"):
            left["prior"] = name_of(left["prior"])  # its folder is this machine's
    if mean_pose:
        values[MEAN_POSE] = {
            column: {score: list(of_one.values()) for score, of_one in found.items()}
            for column, found in mean_pose.items()
        }
        rows.append(MEAN_POSE)
    return Result(
        name=f"table_{planner.table_name}_{planner.set_name}",
        title=f"{table.title}, on {planner.set_name}",
        rows=rows,
        columns=columns,
        scores=scores,
        values=values,
        paper=paper_numbers(planner.table_name, planner.set_name, tuple(columns), tuple(scores)),
        facts=facts_below(planner, configs, records, tested, tried),
        missing=len(cells) - len(done),
        records=records,
        trainings=trainings,
        asked=frozenset((cell.row, cell.seed) for cell in cells),
    )
