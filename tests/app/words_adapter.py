"""A random adapter that is asked by words, on a random prior, as training would have saved it."""

from __future__ import annotations

from pathlib import Path

import torch

from genloc.adapter import save_adapter
from genloc.conditions import TextCondition
from genloc.models import GenLoc, LoRA, Prior
from genloc.skeleton import AP10K
from tests.make_prior import tiny_modules, write_folder


def write_text_adapter(folder: Path) -> Path:
    """Write `folder/prior` and `folder/adapter`, asked by words; returns the latter."""
    prior = write_folder(folder / "prior", tiny_modules())
    model = GenLoc(Prior(str(prior)), context="null", lora=LoRA("up", rank=2)).load()
    condition = TextCondition(hidden=8).build(
        AP10K,
        model.prior.condition_channels,
        model.prior.text,
        torch.Generator().manual_seed(0),
    )
    return save_adapter(
        folder / "adapter",
        model=model,
        condition=condition,
        skeleton=AP10K,
        recipe={"crop_size": 64, "padding": 1.25, "decoding": "centroid"},
        metrics={},
    )
