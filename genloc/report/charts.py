"""Charts as inline SVG whose text and axes take the colour of the page, by matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK = "#010203"  # stands for the page's own text colour while matplotlib draws
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "genloc",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
LINES = ("#0a84c6", "#d9822b", "#7a5cc9")
"""Read on white and on near-black alike."""
KIND_COLOURS = {
    "good": "#3d9a6d",
    "jitter": "#c9a227",
    "inversion": "#c2519b",
    "swap": "#6a6fd0",
    "miss": "#cf4a3f",
}


def curves(
    x: np.ndarray, lines: Mapping[str, np.ndarray], *, name: str, x_label: str, y_label: str,
    marks: Sequence[float] = (),
) -> str:  # fmt: skip
    """Lines of percentages over x. `marks` are places on x that are looked at most."""
    figure, axes = _axes()
    for mark in marks:
        axes.axvline(mark, color=_INK, alpha=0.35, linewidth=0.8, linestyle=(0, (2, 2)))
    for i, (title, y) in enumerate(lines.items()):
        axes.plot(x, 100 * y, label=title, color=LINES[i % 3], linewidth=2 if i == 0 else 1.4)
    axes.set(xlabel=x_label, ylabel=y_label, ylim=(-2, 102), xlim=(float(x[0]), float(x[-1])))
    _legend(axes, columns=len(lines))
    return _svg(figure, name)


def reliability(score: np.ndarray, right: np.ndarray, *, name: str) -> str:
    """Share of right keypoints against their mean score, bins of equally many."""
    figure, axes = _axes()
    axes.plot([0, 1], [0, 100], color=_INK, alpha=0.5, linewidth=0.8, linestyle=(0, (4, 3)),
              label="as good as it says")  # fmt: skip
    axes.plot(score, 100 * right, color=LINES[0], linewidth=2, marker="o", label="this run")
    axes.set(xlabel="mean score of the bin", ylabel="within 0.1 of the box, %")
    axes.set(ylim=(-2, 102), xlim=(0, 1))
    _legend(axes, columns=2)
    return _svg(figure, name)


def stacked(shares: Mapping[str, Mapping[str, float]], *, name: str) -> str:
    """A bar for each row, its parts the kinds of errors."""
    figure, axes = _axes(height=0.9 + 0.24 * len(shares), width=8.2)
    rows = list(shares)
    left = np.zeros(len(rows))
    for kind, colour in KIND_COLOURS.items():
        part = 100 * np.nan_to_num([shares[row][kind] for row in rows])
        axes.barh(rows, part, left=left, color=colour, label=kind, height=0.72)
        left += part
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 100), xlabel="labelled keypoints, %")
    _legend(axes, columns=5)
    return _svg(figure, name)


def _axes(height: float = 3.3, width: float = 5.2) -> tuple[Figure, Axes]:
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _legend(axes: Axes, columns: int) -> None:
    with rc_context(_STYLE):
        axes.figure.legend(loc="outside upper left", ncols=columns, fontsize=9)


def _svg(figure: Figure, name: str) -> str:
    """The chart as an `<svg>` element: no width, so that it fits its place; ids of its own."""
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'(\sid="|url\(#|xlink:href="#)', rf"\1{name}-", text)
    return text.replace("<svg ", '<svg aria-hidden="true" ', 1)
