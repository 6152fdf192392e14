"""A table as a picture: curves over columns that follow each other, dots with their spread for all others."""

from __future__ import annotations

import io
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from tools.tables.job import write_bytes

if TYPE_CHECKING:
    from tools.tables.results import Result

COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000"]
MARKERS = "osD^vPX"


def draw(result: Result, path: Path) -> None:
    """Write `path`, a PNG; the paper's numbers are hollow marks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if len(result.columns) == 1:
        figure = _rows(result, pyplot)
    else:
        figure = _columns(result, pyplot)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130, bbox_inches="tight")
    pyplot.close(figure)
    write_bytes(path, drawn.getvalue())


def _values(result: Result, row: str, column: str, score: str) -> list[float]:
    return result.values.get(row, {}).get(column, {}).get(score, [])


def _rows(result: Result, pyplot):  # type: ignore[no-untyped-def]
    """One column: a line for each row, its first score."""
    column, score = result.columns[0], result.scores[0]
    rows = result.rows[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.36 * len(rows)))
    for place, row in enumerate(rows):
        values = _values(result, row, column, score)
        if values:
            middle = statistics.mean(values)
            axes.barh(place, middle, color="#c6dbef", height=0.62, zorder=1)
            axes.plot([min(values), max(values)], [place, place], color="#08306b", lw=2, zorder=3)
            axes.plot(values, [place] * len(values), "|", color="#08306b", ms=9, zorder=3)
            axes.annotate(
                f"{middle:.1f}", (max(values), place), xytext=(6, 0), textcoords="offset points",
                va="center", fontsize=9,
            )  # fmt: skip
        reference = result.paper.get(row, {}).get(column, {}).get(score)
        if reference is not None:
            axes.plot(reference, place, "o", mfc="none", mec="#d55e00", ms=8, zorder=4)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.set_xlabel(f"{score} x 100" + (", the paper's as a ring" if result.paper else ""))
    axes.set_xlim(0, max(5.0, axes.get_xlim()[1] * 1.08))
    _finish(result, axes)
    return figure


def _columns(result: Result, pyplot):  # type: ignore[no-untyped-def]
    """Several columns: each row a colour, its first score in every column."""
    score = result.scores[0]
    ordered = all(column.partition(" ")[0].isdigit() for column in result.columns)
    figure, axes = pyplot.subplots(figsize=(max(7.0, 1.25 * len(result.columns) + 2), 4.4))
    for n, row in enumerate(result.rows):
        colour, marker = COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]
        shift = 0.0 if ordered else 0.11 * (n - (len(result.rows) - 1) / 2)
        found = [
            (place + shift, values, result.paper.get(row, {}).get(column, {}).get(score))
            for place, column in enumerate(result.columns)
            if (values := _values(result, row, column, score))
        ]
        xs = [x for x, _, _ in found]
        middles = [statistics.mean(values) for _, values, _ in found]
        axes.plot(
            xs, middles, marker=marker, color=colour, ms=6, lw=1.6 if ordered else 0, label=row
        )
        for x, values, reference in found:
            axes.plot([x, x], [min(values), max(values)], color=colour, lw=2, alpha=0.7)
            if reference is not None:
                axes.plot(x, reference, marker=marker, mfc="none", mec=colour, ms=9, lw=0)
    axes.set_xticks(
        range(len(result.columns)), [c.replace(" to ", "\nto ") for c in result.columns]
    )
    axes.set_ylabel(f"{score} x 100" + (", the paper's hollow" if result.paper else ""))
    axes.set_ylim(0, max(5.0, axes.get_ylim()[1]))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    _finish(result, axes)
    return figure


def _finish(result: Result, axes) -> None:  # type: ignore[no-untyped-def]
    quick = " (quick form: shows nothing)" if result.facts and "QUICK" in result.facts[0] else ""
    axes.set_title(result.title + quick, fontsize=11, loc="left")
    axes.grid(axis="both", color="#e5e5e5", zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
