"""Planners of tables on a small zoo, which is laid out as AP-10K is and stands in for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tools.tables.cell import Options
from tools.tables.data import Splits
from tools.tables.plan import CONFIGS, Planner


def planner(
    table: str,
    root: Path,
    prior: str,
    *,
    on: str = "zoo",
    given: Path | None = None,
    **more: object,
) -> Planner:
    options = replace(Options(root, prior=prior, unseen=prior), **more)  # type: ignore[arg-type]
    splits = Splits(on, root, given, CONFIGS / "splits" / on, root / "made" / on)
    return Planner(table, on, options, splits)
