"""What is trained in a cell, its loss on a batch and its scores on a set of crops."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.crops import Crops
from genloc.codecs.heatmap import default_sigma, gaussian_target, to_cells
from genloc.inference import Decoding, localize
from genloc.models import GenLoc, LoRA, Prior
from genloc.training.asking import ask
from genloc.training.scores import Scores


def model_of(a: argparse.Namespace, lora: bool = True) -> GenLoc:
    """GenLoc on the prior, context null, by the options that the benchmarks of asking share."""
    chosen = LoRA(a.lora, a.rank, a.rank) if lora else None
    return GenLoc(
        Prior(a.prior, dtype="fp32"),
        context="null",
        layers=a.layers,
        finer=a.finer,
        timestep=a.timestep,
        lora=chosen,
    ).load()


@dataclass
class Learner:
    """An untrained model, ready: weights loaded, conditions built. `reads` says what it is given.

    sigma: of its targets, in cells of its map; the default for the map's size if None.
    """

    model: Any
    loss: Any
    condition: Any = None
    reads: Literal["image", "latent"] = "latent"
    sigma: float | None = None


def given(
    learner: Learner, batch: dict[str, Tensor], asked: Tensor | None = None
) -> tuple[tuple, dict[str, Tensor]]:
    """Arguments of a model for a batch; `asked` instead of all that the condition asks for."""
    condition: tuple[Tensor, ...] = ()
    if learner.condition is not None:
        condition = (learner.condition() if asked is None else asked,)
    if learner.reads == "latent":
        return (None, *condition), {"latent": batch["latent"]}
    return (batch["image"], *condition), {}


def batch_loss(
    learner: Learner, batch: dict[str, Tensor], size: int, *, seed: int = 0, step: int = 0
) -> Tensor:
    """The loss of `KeypointModule` for a batch of crops of `size` pixels."""
    asked, batch = ask(learner.condition, batch, seed=seed, epoch=step)
    positional, named = given(learner, batch, asked)
    if learner.loss.needs == "log_expectation":
        h, w = learner.model.map_size(torch.empty(0, 3, size, size))
        cells = to_cells(batch["points"], size / w)
        value = learner.model.log_expectation(
            *positional, cells, learner.sigma or default_sigma(h), **named
        )
        return learner.loss(value, batch["visible"])
    maps = learner.model(*positional, **named)
    h, w = maps.shape[-2:]
    sigma = learner.sigma or default_sigma(h)
    target = gaussian_target(to_cells(batch["points"], size / w), (h, w), sigma)
    return learner.loss(maps, target, batch["visible"])


@torch.no_grad()
def evaluate(
    learner: Learner, crops: Crops, device: str, decoding: Decoding = "centroid"
) -> dict[str, float]:
    """AP and its kin on plain crops, 0 to 1."""
    scores = Scores(crops.source)
    modules = [m for m in (learner.model, learner.condition) if m is not None]
    for module in modules:
        module.eval()
    for start in range(0, len(crops), 64):
        items = np.arange(start, min(start + 64, len(crops)))
        batch = crops.batch(items, np.zeros_like(items), device, latent=learner.reads == "latent")
        positional, named = given(learner, batch)
        found = localize(
            learner.model(*positional, **named),
            batch["to_image"],
            batch["box"],
            crop_size=crops.size,
            skeleton=crops.source.skeleton,
            decoding=decoding,
            score=getattr(learner.model, "score", "mass"),
        )
        scores.add(found, batch)
    for module in modules:
        module.train()
    return {name: value for name, value in scores.compute().items() if not math.isnan(value)}
