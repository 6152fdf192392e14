"""The predictor that the arguments of `genloc predict` ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloc.predictor import KeypointPredictor


def read_localizer(given: argparse.Namespace) -> KeypointPredictor:
    """Read `--adapter`, to look for its own keypoints or for what `--ask` or `--like` say.

    Args:
        given: parsed by `genloc.cli.predict`.

    Raises:
        ValueError: arguments that this adapter cannot follow; and as `KeypointPredictor.from_pretrained`,
            `read_supports` and `language_predictor` do.
    """
    from genloc.data.support import read_supports
    from genloc.predictor import KeypointPredictor

    if (Path(given.adapter) / "language.yaml").is_file():
        from genloc.language.saved import language_predictor

        if given.ask or given.like or given.points or given.flip_test or given.heatmaps:
            raise ValueError(
                f"--adapter {given.adapter} holds a language model, which is asked for its own keypoints and has no "
                "maps; leave out --ask, --like, --points, --flip-test and --heatmaps"
            )
        return language_predictor(
            given.adapter, prior=_prior(given), batch_size=given.batch_size, device=given.device
        )
    return KeypointPredictor.from_pretrained(
        given.adapter,
        prior=_prior(given),
        phrases=given.ask,
        like=read_supports(given.like, given.points) if given.like or given.points else (),
        flip_test=given.flip_test,
        batch_size=given.batch_size,
        device=given.device,
    )


def _prior(given: argparse.Namespace) -> Any:
    """What the adapter's prior is read from: a tokenizer can only be given together with it."""
    if given.tokenizer is None:
        return given.prior
    if given.prior is None:
        raise ValueError(
            f"--tokenizer {given.tokenizer}: give --prior as well, the file that the tokenizer belongs to"
        )
    from genloc.models.prior import Prior

    return Prior(given.prior, tokenizer=given.tokenizer)
