"""What a table is made of: cells, each a training and a test of it; and what a person may say about a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Test:
    """One `genloc test` of a training: facts over the training's own, and a name for its folder."""

    name: str
    facts: Mapping[str, Any]
    crops: int


@dataclass(frozen=True)
class Training:
    """One `genloc fit`.

    Args:
        name: of its folder; ends in its key.
        files: configuration and overlays.
        facts: over them: data, length, seed, rate.
        speed_as: trainings of the same network on crops of the same size take alike.
        crops: seen in all. val_crops: evaluated in all. about: for people.
    """

    name: str
    files: tuple[str, ...]
    facts: Mapping[str, Any]
    speed_as: str
    crops: int
    val_crops: int
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Cell:
    """Where a row meets a column, for one seed."""

    row: str
    column: str
    seed: int
    training: Training
    test: Test


@dataclass(frozen=True)
class Options:
    """What a person may say about a table run.

    Args:
        root: of the data. prior: of every row, instead of the configuration's; None leaves it.
        weights: method -> trained weights that it starts from, a folder or hub id.
        unseen: folder of a prior trained without the test families of Table 6; None leaves those rows out.
        overlays: configuration files over the set's, below what makes a row. steps: instead of the table's.
        seeds: instead of the table's. rows: only those of these labels. quick: everything small, to see it run.
    """

    root: Path
    prior: str | None = None
    unseen: str | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    overlays: tuple[Path, ...] = ()
    steps: int | None = None
    seeds: tuple[int, ...] | None = None
    rows: tuple[str, ...] | None = None
    quick: bool = False
