"""An example without any training for it: what resembles its points, as a model sees it.

The points' own projected features are looked for in other pictures (`genloc.models.features`). Any model
can compare so, whatever it was trained to be asked by; with its prior as it is, nothing is trained at all.

Letters: B crops, K keypoints, S crop pixels, h, w cells.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.conditions.visual import gaussian_pool
from genloc.data.support import Support
from genloc.inference import picture_parts
from genloc.models import GenLoc
from genloc.models.features import TEMPERATURE, key_maps, support_keys
from genloc.predictor import KeypointPredictor


class ByResemblance(torch.nn.Module):
    """A localizer that finds what resembles the points of a labelled picture.

    Args:
        model: with `context="null"` and without noise.
        keys: of `support_keys`.
    """

    def __init__(self, model: GenLoc, keys: dict[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.keys = keys

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, K, h, w]; each map sums to 1."""
        return key_maps(self.model, image, self.keys, temperature=TEMPERATURE)

    def map_size(self, image: Tensor) -> tuple[int, int]:
        """(h, w) of the maps of crops."""
        return self.model.map_size(image)

    def identify(self, image: Tensor, points: Tensor, *_: Any) -> Tensor:
        """As `GenLoc.identify`: bilinear between the cells' centres, the border's value beyond them."""
        maps = self(image)
        grid = 2 * (points + 0.5) / points.new_tensor(maps.shape[:1:-1]) - 1
        read = F.grid_sample(maps, grid[:, None], align_corners=False, padding_mode="border")[
            :, :, 0
        ]
        return (read / read.sum(1, keepdim=True)).mT


def comparing(model: GenLoc) -> GenLoc:
    """The same model, all weights shared, with features that depend on the picture alone."""
    if model.context == "null" and not model.noise:
        return model
    other = copy.copy(model)
    other.context, other.noise = "null", False
    return other


def by_resemblance(own: KeypointPredictor, support: Support) -> KeypointPredictor:
    """Looks for what resembles the points of a labelled picture.

    Args:
        own: whose `GenLoc`, crops and device are used.
        support: the picture with its K points.

    Raises:
        ValueError: a point that lies outside of the picture's box.
    """
    image, points, visible = support.crop(own.crop_size, own.padding)
    if not visible.all():
        raise ValueError("A point of the example lies outside of its box: widen the box.")
    parts = picture_parts(torch.from_numpy(points)[None], own.crop_size).to(own.device)
    given: Any = own.model
    model = comparing(given)
    with torch.inference_mode():
        keys = support_keys(
            model,
            torch.from_numpy(image)[None].to(own.device),
            parts,
            partial(gaussian_pool, sigma=1.0),
        )
    return KeypointPredictor(
        ByResemblance(model, keys), None, support.skeleton,
        crop_size=own.crop_size, padding=own.padding, device=own.device,
    )  # fmt: skip
