"""Numbers of trainings that the READMEs repeat are those of the tables in `benchmarks/results`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MEASURED = (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8")

ROWS = {  # as the READMEs call a row -> as its table does
    "GenLoc on a random U-Net, all weights learn": "GenLoc without the prior (all weights)",
    "GenLoc on a random U-Net, LoRA learns": "GenLoc without the prior (LoRA)",
    "convolutions on the frozen prior": "Convolutions on the prior",
    "SimplePose, a small ResNet": "SimplePose",
    "ViT, a small one": "ViT",
    "ordinary cross-attention as a map, MSE": "Cross Attention",
    "CKHE, MSE": "CKHE = MSE loss",
    "CKHE, HEL: the method": "HEL = + LoRA = no noise",
    "without LoRA: only conditions learn": "Only condition",
    "noise of t = 601 on the latent": "noise t=601",
    "noise of t = 21": "noise t=21",
}
Cell = tuple[str, str, str, str]  # table, row, column, score

# How a table of a README begins -> how many rows it has, and what each cell is, by its row and its column.
TABLES: dict[str, tuple[str, int, Callable[[str, str], Cell]]] = {
    "pictures of each species": (
        README,
        7,
        lambda row, column: (
            ("2", row, "test", "AP")
            if column.startswith("all")
            else ("5", row, f"{column} shots", "AP")
        ),
    ),
    "part of the method": (README, 6, lambda row, column: ("1", row, "test", column)),
    "tested on": (MEASURED, 3, lambda row, column: ("4", row, column, "AP")),
    "trained on, tested on": (
        MEASURED,
        6,
        lambda row, column: ("6", column, row.replace(", ", " to "), "AP"),
    ),
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table_of(text: str, begin: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the one table in Markdown whose header begins with a cell."""
    (found,) = re.findall(rf"^\| {begin} \|.*\n\|[-:| ]+\n(?:\|.*\n)+", text, flags=re.MULTILINE)
    header, _, *rows = found.splitlines()
    return cells(header)[1:], [cells(row) for row in rows]


def measured(cell: Cell) -> str:
    """A number as the READMEs write it: the mean, and the least to the most of several seeds; "" for none."""
    table, row, column, score = cell
    found: dict[str, Any] = json.loads((RESULTS / f"table_{table}_zoo.json").read_text())["values"]
    numbers = found.get(row, {}).get(column, {}).get(score, [])
    if not numbers:
        return ""
    mean = f"{sum(numbers) / len(numbers):.1f}"
    low, high = (f"{number:.1f}" for number in (min(numbers), max(numbers)))
    return mean if low == high else f"{mean} ({low} to {high})"


@pytest.mark.parametrize("begin", TABLES)
def test_a_table_says_what_was_measured(begin: str) -> None:
    text, count, meaning = TABLES[begin]
    header, rows = table_of(text, begin)
    assert len(rows) == count
    wrong = []
    for name, *numbers in rows:
        for column, number in zip(header, numbers, strict=True):
            right = measured(meaning(ROWS.get(name, name), column))
            if number != right:
                wrong.append(f"{name}, {column}: {number}, measured: {right}")
    assert not wrong, "\n".join(wrong)


def test_what_is_named_as_a_result_is_one() -> None:
    """In `benchmarks/README.md`: beginnings of files' names, what follows is hardware, date and kind."""
    kinds = {path.name.split("_")[0] for path in RESULTS.iterdir()}
    said = set(re.findall(rf"(?<![\w/])((?:{'|'.join(kinds)})_[\w-]*)", MEASURED))
    assert len(said) > 10
    assert [name for name in said if not list(RESULTS.glob(f"{name}*"))] == []
