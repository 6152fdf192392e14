"""A finished table as Markdown, json and picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tools.tables.results import Result


def result(**more: object) -> Result:
    values = {
        "GenLoc": {"a": {"AP": [70.0, 71.0, 75.0]}, "b": {"AP": [60.0]}},
        "ViT": {"a": {"AP": [30.0]}},
    }
    facts: dict = dict(
        name="table_9_zoo", title="Nine", rows=["GenLoc", "ViT"], columns=["a", "b"], scores=["AP"],
        values=values, paper={}, facts=["one seed"], missing=0,
    )  # fmt: skip
    return Result(**(facts | more))


def test_a_table_shows_mean_and_spread_and_what_is_missing() -> None:
    text = result(missing=1).markdown()
    assert "| GenLoc | 72.0 (70.0 to 75.0) | 60.0 |" in text
    assert "| ViT | 30.0 | - |" in text
    assert "Not complete: 1 cells" in text
    assert text.rstrip().endswith("- one seed")
    assert "paper" not in text


def test_the_papers_numbers_are_a_column_of_their_own() -> None:
    paper = {"GenLoc": {"a": {"AP": 80.0}, "b": {"AP": 81.5}}, "HRNet": {"a": {"AP": 50.0}}}
    text = result(paper=paper).markdown()
    assert "|  | a | b | paper |" in text
    assert "| GenLoc | 72.0 (70.0 to 75.0) | 60.0 | 80.0 / 81.5 |" in text
    assert "| ViT | 30.0 | - |  |" in text
    assert "| HRNet | - | - | 50.0 / - |" in text


@pytest.mark.parametrize("columns", [["a"], ["a", "b"], ["5 shots", "10 shots"]])
def test_a_table_is_written_as_json_markdown_and_picture(
    columns: list[str], tmp_path: Path
) -> None:
    values = {row: {c: {"AP": [40.0, 50.0]} for c in columns} for row in ("GenLoc", "ViT")}
    paper = {"GenLoc": {columns[0]: {"AP": 45.0}}}
    written = result(columns=columns, values=values, paper=paper).write(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".md", ".png"]
    assert json.loads(written[0].read_text())["values"] == values
    with Image.open(tmp_path / "table_9_zoo.png") as picture:
        assert min(picture.size) > 150
