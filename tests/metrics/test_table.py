from __future__ import annotations

import io
import math

import rich.console

from genloc.metrics.table import Protocol, Table

PROTOCOL = Protocol(
    annotations="ap10k-val-split1.json",
    checksum="0123456789abcdef",
    boxes="ground truth",
    padding="1.25",
    flip_test="on",
    decoding="centroid 5x5",
    sigmas="ap10k",
    nms="none",
    more={"prior": "tiny, has seen the zoo only"},
)
TABLE = Table(
    "Zoo",
    {
        "GenLoc": {"AP": 0.5337, "AP50": 1.0, "APM": math.nan, "PCK@0.1": 0.912, "per_species": {}},
        "mean pose": {"AP": 0.013, "AP50": 0.05, "APM": math.nan},
    },
    PROTOCOL,
    notes=("3 results dropped",),
)


def printed() -> str:
    stream = io.StringIO()
    rich.console.Console(file=stream, width=120).print(TABLE.rich())
    return stream.getvalue()


def test_numbers_are_times_100_and_what_is_not_there_is_a_dash() -> None:
    assert TABLE.columns == ["AP", "AP50", "APM", "PCK@0.1"]
    assert TABLE.cells() == [
        ["GenLoc", "53.4", "100.0", "-", "91.2"],
        ["mean pose", "1.3", "5.0", "-", "-"],
    ]


def test_markdown_is_a_table() -> None:
    lines = TABLE.markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
    assert rows[2] == "| GenLoc | 53.4 | 100.0 | - | 91.2 |"


def test_both_forms_say_the_whole_protocol() -> None:
    values = [PROTOCOL.annotations, PROTOCOL.checksum, "ground truth", "1.25", "flip test: on",
              "centroid 5x5", "sigmas: ap10k", "NMS: none", "has seen the zoo only",
              "3 results dropped"]  # fmt: skip
    for text in (TABLE.markdown(), printed()):
        for value in values:
            assert value in text
    assert "53.4" in printed()
