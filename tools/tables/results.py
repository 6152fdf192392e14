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
from tools.tables.job import Job, write_bytes
from tools.tables.kept import finished, read_test, with_others
from tools.tables.paper import paper_numbers
from tools.tables.plan import Planner
from tools.tables.recipe import what_it_has_seen

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
        tuned: trainings that chose the rates, likewise. tried: method -> rate -> AP on val.
    """
    table, scores = planner.table, list(planner.table.scores)
    columns = [column.label for column in planner.columns]
    rows = list(dict.fromkeys(cell.row for cell in cells))
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    mean_pose: dict[str, dict[str, list[float]]] = {}
    records: list[dict[str, Any]] = []
    protocols: dict[str, Any] = {}
    missing = 0
    for cell in cells:
        job = jobs[cell.training.name]
        path = job.metrics(cell.test)
        if not path.is_file():
            missing += 1
            continue
        found = read_test(path, planner.options.root)
        for score in scores:
            if (value := found.get(score)) is not None:
                kept = values.setdefault(cell.row, {}).setdefault(cell.column, {})
                kept.setdefault(score, []).append(100 * value)
            if (value := found["mean_pose"].get(score)) is not None:
                kept = mean_pose.setdefault(cell.column, {})
                kept.setdefault(score, []).append(100 * value)
        protocols.setdefault(cell.column, []).append((found["protocol"], found["instances"]))
        fit = job.fitted() or {}
        records.append(
            {
                "row": cell.row, "column": cell.column, "seed": cell.seed,
                **{k: fit.get(k) for k in SAID}, "training": cell.training.name, "test": cell.test.name,
            }
        )  # fmt: skip
    if mean_pose:
        # It depends on the training set alone: one number for each training set (seeds of a split).
        values[MEAN_POSE] = {
            column: {score: list(dict.fromkeys(numbers)) for score, numbers in found.items()}
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
        facts=_facts(planner, records, protocols, tried),
        missing=missing,
        records=records,
        trainings=finished({**tuned, **jobs}.values(), planner.options.root),
        asked=frozenset((cell.row, cell.seed) for cell in cells),
    )


def _facts(
    planner: Planner,
    records: Sequence[Mapping[str, Any]],
    protocols: Mapping[str, Sequence[tuple[Sequence[str], int]]],
    tried: Mapping[str, Mapping[float, float]],
) -> list[str]:
    seeds = ", ".join(map(str, planner.seeds))
    several = "one seed" if len(planner.seeds) == 1 else "mean (least to most) over the seeds"
    facts = [f"numbers x 100; seed {seeds}: {several}"]
    if planner.options.quick:
        facts.insert(
            0,
            "QUICK FORM: two steps on a few small pictures, to see every cell run. It shows nothing.",
        )
    everything = [set(lines) for found in protocols.values() for lines, _ in found]
    # Weights, crops and the prior are said below, or belong to a single cell.
    common = [
        line
        for line in (next(iter(protocols.values()))[0][0] if protocols else ())
        if all(line in lines for lines in everything)
        and not line.startswith(("weights:", "prior", "crops:"))
    ]
    facts += common
    for column, found in protocols.items():
        lines, instances = found[0]
        own = [line for line in lines if line.startswith("annotations:") and line not in common]
        trained = dict.fromkeys(r["trained on"] for r in records if r["column"] == column)
        facts.append(
            f"{column}: {instances} animals or people tested" + "".join(f"; {line}" for line in own)
            + f"; trained on {', '.join(trained)}"
        )  # fmt: skip
    lengths = sorted({(r["steps"], r["crops seen"]) for r in records})
    if lengths:
        low, high = lengths[0], lengths[-1]
        text = f"{low[0]:,} steps, {low[1]:,} crops seen"
        if low != high:
            text += f" to {high[0]:,} steps, {high[1]:,} crops seen"
        facts.append(
            f"length of each training: {text}; the best of its evaluations on val is tested"
        )
    if (precision := planner.set.facts.get("trainer.precision")) is not None:
        facts.append(f"precision: {precision}, in training and in tests")
    rates: dict[str, list[str]] = {}
    for record in records:
        if (said := f"{record['rate']:g}") not in rates.setdefault(record["row"], []):
            rates[record["row"]].append(said)
    shared = {" ".join(found) for found in rates.values()}
    if len(shared) == 1:
        facts.append(f"learning rate: {shared.pop()}")
    elif rates:
        each = ", ".join(f"{row} {' '.join(found)}" for row, found in rates.items())
        facts.append(f"learning rate: {each}")
    for method, each_rate in tried.items():
        text = ", ".join(f"{rate:g}: {ap:.1f}" for rate, ap in each_rate.items())
        facts.append(
            f"rate of {method} chosen by AP on val with the first seed and 10 shots: {text}"
        )
    for prior in dict.fromkeys(r["prior"] for r in records if r.get("prior")):
        source = prior.rpartition("@")[0]
        if source == "tiny" or Path(source).is_dir():
            facts.append(f"the prior {prior} has seen {what_it_has_seen(source)}")
        else:
            facts.append(f"prior: {prior}")
    for hardware, threads in dict.fromkeys((r["hardware"], r["threads"]) for r in records):
        days = sorted(
            r["date"] for r in records if (r["hardware"], r["threads"]) == (hardware, threads)
        )
        when = " to ".join(dict.fromkeys((days[0], days[-1])))
        facts.append(
            f"{when}, {hardware}, {threads} threads for each training, genloc {__version__}"
        )
    return facts
