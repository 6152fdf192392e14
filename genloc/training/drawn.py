"""Training crops as the sampler draws them, and their batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from genloc.data.batch import KeypointDataset, collate
from genloc.data.episodes import EpisodeDataset
from genloc.training.windows import Draw


class DrawnCrops(Dataset[dict[str, Any]]):
    """Training crops as the sampler draws them: the dataset's samples with their weight in the window.

    Args:
        crops: the samples.
        turns: how often an epoch goes through them; each turn has augmentation of its own.
    """

    def __init__(self, crops: KeypointDataset | EpisodeDataset, turns: int = 1) -> None:
        self.crops = crops
        self.turns = turns

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        epoch = self.crops.epoch * self.turns + draw.turn
        sample: dict[str, Any] = dict(self.crops.sample(draw.item, epoch))
        sample["weight"], sample["draw"] = draw.weight, epoch
        if not draw.real:
            sample["visible"] = torch.zeros_like(torch.as_tensor(sample["visible"]))
        return sample


def collate_draws(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A `KeypointBatch` with the keys `weight`, float32 [B]: each crop's part in its window's loss; and `draw`,
    int64 [B]: whose draws it has, which is the epoch unless that goes through the crops several times."""
    weights = torch.tensor([sample.pop("weight") for sample in samples], dtype=torch.float32)
    draws = torch.tensor([sample.pop("draw") for sample in samples])
    batch: dict[str, Any] = dict(collate(samples))  # type: ignore[arg-type]
    return batch | {"weight": weights, "draw": draws}
