"""A random adapter on a random prior, both of a few kB, as training would have saved them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genloc.adapter import save_adapter
from genloc.conditions import LearnedCondition, TextCondition, VisualCondition
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.features import feature_widths
from genloc.models.lora import lora_parameters
from genloc.skeleton import AP10K, Skeleton
from tests.make_prior import tiny_modules, write_folder


def write_adapter(
    folder: Path, *, skeleton: Skeleton = AP10K, crop_size: int = 64, noise: bool = False
) -> Path:
    """Write `folder/prior` and `folder/adapter`; returns the latter."""
    prior = write_folder(folder / "prior", tiny_modules(depth=1))
    model = GenLoc(Prior(str(prior)), lora=LoRA("cross", rank=2), noise=noise, timestep=21).load()
    generator = torch.Generator().manual_seed(0)
    for _, parameter in lora_parameters(model.prior.unet):
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    condition = LearnedCondition().build(
        skeleton, model.prior.condition_channels, generator=generator
    )
    recipe = {"crop_size": crop_size, "padding": 1.25, "decoding": "centroid", "flip_test": False}
    return save_adapter(
        folder / "adapter",
        model=model,
        condition=condition,
        skeleton=skeleton,
        recipe=recipe | {"seed": 0, "steps": 4},
        metrics={"val/AP": 0.25},
    )


def write_text_adapter(folder: Path, *, skeleton: Skeleton = AP10K) -> Path:
    """Write `folder/prior` and `folder/adapter`, asked by words; returns the latter."""
    model = _null(folder)
    condition = TextCondition(hidden=8).build(
        skeleton,
        model.prior.condition_channels,
        model.prior.text,
        torch.Generator().manual_seed(0),
    )
    return _asked(folder, model, condition, skeleton)


def write_visual_adapter(folder: Path, *, skeleton: Skeleton = AP10K) -> Path:
    """Write `folder/prior` and `folder/adapter`, asked by examples; returns the latter."""
    model = _null(folder)
    condition = VisualCondition(hidden=8).build(
        skeleton,
        model.prior.condition_channels,
        generator=torch.Generator().manual_seed(0),
        widths=feature_widths(model),
    )
    return _asked(folder, model, condition, skeleton)


def _null(folder: Path) -> GenLoc:
    prior = write_folder(folder / "prior", tiny_modules())
    return GenLoc(Prior(str(prior)), context="null", lora=LoRA("up", rank=2)).load()


def _asked(folder: Path, model: GenLoc, condition: Any, skeleton: Skeleton) -> Path:
    return save_adapter(
        folder / "adapter",
        model=model,
        condition=condition,
        skeleton=skeleton,
        recipe={"crop_size": 64, "padding": 1.25, "decoding": "centroid"},
        metrics={},
    )
