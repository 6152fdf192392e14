"""Words learn: on a few animals, what a phrase asks for is found, and another phrase finds another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genloc.codecs.heatmap import decode, default_sigma, to_cells
from genloc.conditions import TextCondition
from genloc.data.batch import KeypointDataset, collate
from genloc.data.coco import CocoKeypoints
from genloc.data.zoo import write_zoo
from genloc.losses import HEL
from genloc.models import GenLoc, LoRA, Prior
from genloc.skeleton import AP10K
from genloc.training.asking import ask
from genloc.training.optimiser import parameter_groups

SIDE = 128  # of the crops


@pytest.mark.slow
def test_a_phrase_finds_what_it_says(tmp_path: Path) -> None:
    write_zoo(tmp_path, per_species=6, size=96, species=(8, 21), workers=1)
    source = CocoKeypoints(
        tmp_path / "annotations" / "ap10k-train-split1.json", tmp_path / "data", skeleton=AP10K
    )
    crops = KeypointDataset(source, crop_size=SIDE)
    batch: dict[str, Any] = dict(collate([crops[i] for i in range(8)]))
    lora = LoRA("up-all", rank=16, alpha=16)
    model = GenLoc(Prior("tiny"), context="null", layers="finest-first", lora=lora).load()
    condition = TextCondition(subset=6).build(
        AP10K, model.prior.condition_channels, model.prior.text, torch.Generator().manual_seed(0)
    )
    batch["latent"] = model.encode(batch["image"])
    h, w = model.map_size(batch["image"])
    groups = parameter_groups(
        model, condition, lr=0, lr_lora=8e-4, lr_condition=3e-3, lora_ratio=10
    )
    optimiser = torch.optim.Adam(groups)
    losses = []
    for step in range(500):
        asked, part = ask(condition, batch, seed=0, epoch=step)
        assert asked is not None
        value = model.log_expectation(
            None,
            asked,
            to_cells(part["points"], SIDE / w),
            default_sigma(h),
            latent=batch["latent"],
        )
        loss = HEL()(value, part["visible"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1

    def found(phrases: list[str]) -> float:
        """Share of visible keypoints found within two of 16 cells."""
        with torch.no_grad():
            maps = model(None, condition.embed(phrases)[None], latent=batch["latent"])
        error = (decode(maps)[0] - to_cells(batch["points"], SIDE / w)).norm(dim=-1)
        return float((error < w / 8)[batch["visible"]].float().mean())

    right = list(condition.phrases)
    assert found(right) > 0.6
    assert found([f"the {phrase}" for phrase in right]) > 0.6, "other words for the same"
    assert found(right[1:] + right[:1]) < found(right) - 0.2, "the words must matter"
