"""A table as a picture: curves over columns that follow each other, dots with their spread for all others."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.tables.job import write_bytes

if TYPE_CHECKING:
    from tools.tables.results import Result

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
MARKERS = "osD^vPX<>*hp"
LINES = ("-", "--", ":")
"""Of the first seven rows, the next seven, and so on; with the markers no two of 84 rows look alike."""


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
    axes.set_title(_title(result), fontsize=11, loc="left")
    _finish(axes)
    return figure


def style(n: int) -> dict[str, Any]:
    """How row n is drawn among columns: no other row looks the same."""
    return {
        "color": COLOURS[n % len(COLOURS)],
        "marker": MARKERS[n % len(MARKERS)],
        "linestyle": LINES[n // len(COLOURS) % len(LINES)],
    }


def panels(columns: Sequence[str]) -> list[list[str]]:
    """Columns that one curve may join: "5 shots" and "10 shots", but not "5 shots, val", which is of another test
    set and gets a panel of its own. All others in one."""
    if not all(column.partition(" ")[0].isdigit() for column in columns):
        return [list(columns)]
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(column.partition(", ")[2], []).append(column)
    return list(found.values())


def _columns(result: Result, pyplot):  # type: ignore[no-untyped-def]
    """Several columns: each row a colour and a marker, its first score in every column."""
    score, parts = result.scores[0], panels(result.columns)
    ordered = all(column.partition(" ")[0].isdigit() for column in result.columns)
    figure, all_axes = pyplot.subplots(
        ncols=len(parts), sharey=True, squeeze=False, layout="constrained",
        figsize=(max(7.0, 1.25 * len(result.columns) + 2), 4.4),
    )  # fmt: skip
    for axes, columns in zip(all_axes[0], parts, strict=True):
        for n, row in enumerate(result.rows):
            shift = 0.0 if ordered else 0.8 / len(result.rows) * (n - (len(result.rows) - 1) / 2)
            look = style(n)
            found = [
                (place + shift, values, result.paper.get(row, {}).get(column, {}).get(score))
                for place, column in enumerate(columns)
                if (values := _values(result, row, column, score))
            ]
            xs = [x for x, _, _ in found]
            middles = [statistics.mean(values) for _, values, _ in found]
            axes.plot(xs, middles, **look, ms=6, lw=1.6 if ordered else 0, label=row)
            for x, values, reference in found:
                axes.plot([x, x], [min(values), max(values)], color=look["color"], lw=2, alpha=0.7)
                if reference is not None:
                    hollow = {"marker": look["marker"], "mfc": "none", "mec": look["color"]}
                    axes.plot(x, reference, **hollow, ms=9, lw=0)
        ticks = [c.replace(" to ", "\nto ") for c in columns]
        if ordered:  # "5", "10", ... of "shots, val"
            axes.set_xlabel(columns[0].partition(" ")[2])
            ticks = [column.partition(" ")[0] for column in columns]
        axes.set_xticks(range(len(columns)), ticks)
        _finish(axes)
    first, last = all_axes[0, 0], all_axes[0, -1]
    first.set_ylabel(f"{score} x 100" + (", the paper's hollow" if result.paper else ""))
    first.set_ylim(0, max(5.0, first.get_ylim()[1]))
    last.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    first.set_title(_title(result), fontsize=11, loc="left")
    return figure


def _title(result: Result) -> str:
    quick = " (quick form: shows nothing)" if result.facts and "QUICK" in result.facts[0] else ""
    return result.title + quick


def _finish(axes) -> None:  # type: ignore[no-untyped-def]
    axes.grid(axis="both", color="#e5e5e5", zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
