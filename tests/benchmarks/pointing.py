"""A stand-in for GenLoc whose answers are known beforehand, and labelled pictures to ask it about.

All places are x, y in cells of its map of 32 x 32: crops and pictures are of 128 pixels and every box is its
whole picture, so that 3 cells off are within 0.1 of the box, 6 within 0.2, and 4 and 7 are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.crops import Crops
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import Skeleton
from tests.make_coco import write_coco

SIDE, CELLS = 128, 32
STRIDE = SIDE / CELLS
Place = tuple[int, int]


class Pointing(nn.Module):
    """A condition is a place, and is found there; a crop's latent [2] says how far off in that crop, in cells.

    At a place it identifies the condition that it would find nearest to it.
    """

    def map_size(self, image: Tensor) -> tuple[int, int]:
        return CELLS, CELLS

    def forward(self, image: None, condition: Tensor, *, latent: Tensor) -> Tensor:
        """Peaks of 1, [B, K, 32, 32]."""
        x, y = self._places(condition, latent).round().long().unbind(-1)
        assert ((x >= 0) & (x < CELLS) & (y >= 0) & (y < CELLS)).all(), "a place is off the map"
        return nn.functional.one_hot(y * CELLS + x, CELLS**2).unflatten(-1, (CELLS, CELLS)).float()

    def log_expectation(
        self, image: None, condition: Tensor, points: Tensor, sigma: float, *, latent: Tensor
    ) -> Tensor:
        """Minus the distance in units of sigma, [B, K]."""
        return -(self._places(condition, latent) - points).norm(dim=-1) / sigma

    def identify(self, image: None, points: Tensor, condition: Tensor, *, latent: Tensor) -> Tensor:
        """1 for the nearest, [B, P, K]."""
        nearest = torch.cdist(points, self._places(condition, latent)).argmin(-1)
        return nn.functional.one_hot(nearest, condition.shape[1]).float()

    def _places(self, condition: Tensor, latent: Tensor) -> Tensor:
        return condition + latent[:, None]


def write_labels(
    folder: Path,
    skeleton: Skeleton,
    animals: Sequence[tuple[int, Mapping[str, Place]]],
    name: str = "annotations.json",
) -> Path:
    """A COCO set of animals of one species: the picture of each, from 1 on, and its labels; the ids are 101, ..."""

    def change(content: dict[str, Any]) -> None:
        content["annotations"] = [
            {
                "id": 101 + i, "image_id": picture, "category_id": 8, "iscrowd": 0,
                "bbox": [0, 0, SIDE, SIDE], "area": SIDE**2, "num_keypoints": len(labels),
                "keypoints": [v for k in skeleton.keypoints for v in _label(labels.get(k))],
            }
            for i, (picture, labels) in enumerate(animals)
        ]  # fmt: skip

    pictures = max(picture for picture, _ in animals)
    return write_coco(
        folder, skeleton=skeleton, images=pictures, size=(SIDE, SIDE), species=(8,), name=name,
        change=change,
    )  # fmt: skip


def labelled_crops(
    folder: Path,
    skeleton: Skeleton,
    animals: Sequence[tuple[int, Mapping[str, Place]]],
    off: Sequence[Place],
    name: str = "annotations.json",
) -> Crops:
    """Crops of such a set; `off` is their latents: how far off the stand-in finds all of each animal."""
    path = write_labels(folder, skeleton, animals, name)
    source = CocoKeypoints(path, folder / "images", skeleton=skeleton)
    crops = Crops(source, folder / "crops", size=SIDE, padding=1.0)
    crops.latent = torch.tensor(off, dtype=torch.float32)[:, None]
    return crops


def _label(place: Place | None) -> tuple[float, float, int]:
    """In pixels of the picture: a box of pixels 0 to 128 is cut so that cell j has its centre at 4 j + 2."""
    if place is None:
        return 0, 0, 0
    x, y = place
    return STRIDE * (x + 0.5), STRIDE * (y + 0.5), 2
