"""`genloc fit`, `genloc validate`, `genloc test`: Lightning's command line."""

from __future__ import annotations

from collections.abc import Sequence


def fit(arguments: Sequence[str]) -> None:
    """train a localizer, in runs/<name>/"""
    _train(["fit", *arguments])


def validate(arguments: Sequence[str]) -> None:
    """score a run on its validation set"""
    _train(["validate", *arguments])


def test(arguments: Sequence[str]) -> None:
    """score a run on its test set: metrics.json, AP table, pictures"""
    _train(["test", *arguments])


def _train(arguments: list[str]) -> None:
    from genloc.training.command import run

    run(arguments)
