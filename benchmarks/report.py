"""Tables of contenders: mean and spread over seeds, with the protocol and how each was chosen."""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Benchmark, Recipe
from benchmarks.crops import Crops
from benchmarks.ops.measure import slug
from genloc import __version__
from genloc.card import prior_has_seen
from genloc.metrics.evaluate import evaluate, sigmas_name
from genloc.metrics.mean_pose import mean_pose, place
from genloc.metrics.table import Protocol

COLUMNS = ("AP", "AP50", "AP75", "AP pooled", "PCK@0.1")


def spread(cells: Sequence[Mapping[str, Any]], score: str = "AP") -> tuple[float, float, float]:
    """(mean, least, most) of a test score over seeds, times 100."""
    values = [100 * cell["test"][score] for cell in cells]
    return statistics.mean(values), min(values), max(values)


def protocol(test: Crops, recipe: Recipe, more: Mapping[str, str]) -> Protocol:
    """How every number of a benchmark was made."""
    skeleton = test.source.skeleton
    return Protocol(
        annotations=str(test.source.annotations),
        checksum=test.source.checksum,
        boxes="ground truth",
        padding=str(test.padding),
        flip_test="off",
        decoding=recipe.decoding,
        sigmas=sigmas_name(skeleton, None),
        nms="none, one result for each box",
        more=more,
    )


def prior_facts(source: str, digest: str) -> dict[str, str]:
    """Lines of a protocol: which prior, and what it has seen."""
    seen = prior_has_seen(source) or "not known"
    return {"prior": f"{source}@{digest}", "prior has seen": seen}


def mean_pose_scores(train: Crops, test: Crops) -> dict[str, float]:
    """Scores of the training set's mean pose placed in each box."""
    source, skeleton = test.source, test.source.skeleton
    instances = source.instances
    placed = place(
        mean_pose(train.source.instances), np.array([i.box for i in instances]), skeleton
    ).to_coco(
        [i.image_id for i in instances],
        [i.category_id for i in instances],
        [i.annotation_id for i in instances],
    )
    found = evaluate(placed, source.ground_truth(), skeleton).scores
    return {name: float(found[name]) for name in COLUMNS}


def table(results: Mapping[str, Sequence[dict[str, Any]]], mean: Mapping[str, float]) -> list[str]:
    """Markdown rows: mean (least to most) of the test scores of each contender's seeds."""
    head = ("", "rate", "steps (best by val)", "learning", "ms a step", *COLUMNS)
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" + " ---: |" * (len(head) - 1)]
    for name, cells in results.items():
        first = cells[0]
        row = [
            name,
            f"{first['rate']:g}",
            f"{first['steps']} ({', '.join(str(c['val']['step']) for c in cells)})",
            f"{first['learning']:,}",
            f"{1000 * statistics.mean(c['seconds_per_step'] for c in cells):.0f}",
        ]
        for column in COLUMNS:
            middle, least, most = spread(cells, column)
            more = f" ({least:.1f} to {most:.1f})" if column == "AP" and len(cells) > 1 else ""
            row.append(f"{middle:.1f}{more}")
        lines.append("| " + " | ".join(row) + " |")
    row = ["mean pose", "", "", "", "", *(f"{100 * mean[c]:.1f}" for c in COLUMNS)]
    return [*lines, "| " + " | ".join(row) + " |"]


def tuning(benchmark: Benchmark) -> list[str]:
    """One line per contender: AP on val of the first seed at every rate and number of steps tried.

    Where the best is at an end of the grid, that is said: its own best may lie beyond.
    """
    return [
        f"{contender.name}: "
        + ", ".join(
            f"{cell['rate']:g} x {cell['steps']}: {100 * cell['val']['AP']:.1f}"
            + (" (diverged)" if cell["diverged"] else "")
            for cell in benchmark.tried(contender)
        )
        + "".join(f"; best at the {end} of the grid" for end in benchmark.ends(contender))
        for contender in benchmark.contenders
    ]


def write(out: Path, name: str, device: str, lines: Sequence[str], content: dict) -> None:
    """`<out>/<name>_<hardware>_<date>.{md,json}`; prints the first."""
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{name}_{slug(device)}_{datetime.date.today().isoformat()}"
    text = "\n".join(lines) + "\n"
    content = {"genloc": __version__, **content}
    (out / f"{stem}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nwrote {out / stem}.md and .json")
