"""A small loaded GenLoc and something to show it, for the tests of the model."""

from __future__ import annotations

import torch
from torch import Tensor

from genloc.models import GenLoc, Prior
from genloc.models.lora import lora_parameters


def make(folder: str, **arguments) -> GenLoc:
    torch.manual_seed(0)
    model = GenLoc(Prior(folder), **arguments).load()
    for name, parameter in lora_parameters(model.prior.unet):
        if ".lora_B." in name and parameter.requires_grad:  # B = 0 would hide half of the paths
            parameter.data.normal_(std=0.1)
    return model


def inputs(
    batch: int = 2,
    keypoints: int = 3,
    size: tuple[int, int] = (64, 64),
    per_image: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Crops, conditions, and points in cells of the 8 times smaller map."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, *size, generator=generator) * 2 - 1
    condition = torch.randn(batch if per_image else 1, keypoints, 24, generator=generator)
    h, w = size[0] // 8, size[1] // 8
    points = torch.rand(batch, keypoints, 2, generator=generator) * torch.tensor([w, h])
    return image, condition, points


def gaussian(points: Tensor, h: int, w: int, sigma: float) -> Tensor:
    y, x = torch.arange(h)[:, None], torch.arange(w)[None]
    d2 = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return torch.exp(-d2 / (2 * sigma**2))
