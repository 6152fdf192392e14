"""Planners of tables on a small zoo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tools.tables.cell import Options
from tools.tables.data import Splits
from tools.tables.plan import CONFIGS, Planner


def planner(table: str, zoo: Path, prior: str, **more: object) -> Planner:
    options = replace(Options(zoo, prior=prior, unseen=prior), **more)  # type: ignore[arg-type]
    splits = Splits("zoo", zoo, None, CONFIGS / "splits" / "zoo", zoo / "made")
    return Planner(table, "zoo", options, splits)
