"""A table of results that says how they were made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, Group

AP_OF_MEAN_POSE = "AP of mean pose"
COLUMNS = (
    *("AP", "AP50", "AP75", "APM", "APL", "AR", "AP pooled", "PCK@0.1", "PCK@0.05"),
    AP_OF_MEAN_POSE,
)
"""What a table shows, in this order, of what its rows have."""


@dataclass(frozen=True)
class Protocol:
    """How numbers were made. Two tables compare only where these agree, so none can be left out.

    Args:
        annotations: the file scored against. checksum: of it.
        boxes: `ground truth`, or where detections came from.
        padding: of the crop around a box.
        flip_test: whether maps of the mirrored crop were averaged in.
        decoding: map to point.
        sigmas: name of the OKS sigmas.
        nms: `OKS 0.9`, `none`, ...
        more: whatever else matters (species, the weights, what a prior has seen).
    """

    annotations: str
    checksum: str
    boxes: str
    padding: str
    flip_test: str
    decoding: str
    sigmas: str
    nms: str
    more: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One `name: value` line each."""
        return [
            f"annotations: {self.annotations} (sha256 {self.checksum})",
            f"boxes: {self.boxes}; padding: {self.padding}",
            f"flip test: {self.flip_test}; decoding: {self.decoding}",
            f"OKS sigmas: {self.sigmas}; NMS: {self.nms}",
            "AP: pycocotools, mean over species; AP pooled: all instances as one species",
            *(f"{name}: {value}" for name, value in self.more.items()),
        ]


@dataclass(frozen=True)
class Table:
    """Rows of scores (0 to 1, shown times 100) with their protocol.

    Args:
        title: above it.
        rows: name -> scores, as `CocoAP.compute` gives them; names outside `COLUMNS` are not shown.
        protocol: below it.
        notes: further lines below it.
    """

    title: str
    rows: Mapping[str, Mapping[str, Any]]
    protocol: Protocol
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The scores that some row has."""
        return [c for c in COLUMNS if any(c in row for row in self.rows.values())]

    def cells(self) -> list[list[str]]:
        """Rows of text; the first cell is the row's name."""
        return [[name, *(_percent(row.get(c)) for c in self.columns)] for name, row in self._items]

    @property
    def _items(self) -> list[tuple[str, Mapping[str, Any]]]:
        return list(self.rows.items())

    def markdown(self) -> str:
        """The table, its protocol and notes as Markdown."""
        lines = [f"**{self.title}**", "", "| " + " | ".join(["", *self.columns]) + " |"]
        lines.append("|" + " --- |" + " ---: |" * len(self.columns))
        lines += ["| " + " | ".join(row) + " |" for row in self.cells()]
        return "\n".join([*lines, "", *(f"- {line}" for line in self._below())])

    def rich(self) -> Group:
        """The same for a terminal: `rich.print(table.rich())`."""
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        # As narrow as it can be: nine numbers and "mean pose" fit in 80 columns.
        grid = RichTable(
            title=self.title,
            box=box.SIMPLE_HEAVY,
            title_justify="left",
            collapse_padding=True,
            pad_edge=False,
        )
        grid.add_column("")
        for column in self.columns:
            grid.add_column("\n".join(wrap(column, 8)), justify="right", no_wrap=True)
        for row in self.cells():
            grid.add_row(*(Text(cell) for cell in row))
        return Group(grid, *(Text(line, style="dim") for line in self._below()))

    def _below(self) -> list[str]:
        return [*self.protocol.lines(), *self.notes]


def table_console() -> Console:
    """A console to print tables to: of the terminal, or wide enough for them where there is none."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=110)


def _percent(value: Any) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:.1f}"
