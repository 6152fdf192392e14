"""A localizer that needs no weights: keypoint i is where colour channel i is brightest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from genloc.predictor import KeypointPredictor
from genloc.skeleton import Skeleton

SPOTS = Skeleton(
    name="spots",
    keypoints=("red", "green", "blue"),
    edges=((0, 1), (1, 2)),
    flip_pairs=(),
    sigmas=(0.05, 0.05, 0.05),
)

SIDED = replace(SPOTS, keypoints=("left red", "green", "blue"))
"""The same where names tell left from right, so that there can be a flip test."""


class Spots(nn.Module):
    """Crops [B, 3, S, S] to maps [B, 3, S, S] that sum to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():  # an exported batch has no length yet
            self.calls.append(len(image))
        light = ((image + 1) / 2) ** 4
        return light / light.sum((-2, -1), keepdim=True).clamp_min(1e-12)


def spots_predictor(**changes: object) -> KeypointPredictor:
    given = {"crop_size": 64, "batch_size": 4, "device": "cpu"} | changes
    given = {"skeleton": SPOTS} | given
    return KeypointPredictor(Spots(), None, **given)  # type: ignore[arg-type]


def spots_picture(
    *animals: tuple[float, float], size: tuple[int, int] = (96, 72), arm: float = 8.0
) -> tuple[np.ndarray, np.ndarray]:
    """A black picture with a red, a green and a blue dot around each centre, and where they are [N, 3, 2]."""
    picture = np.zeros((size[1], size[0], 3), np.float32)
    offsets = arm * np.array([[-1.0, -1.0], [1.0, -0.5], [0.0, 1.0]])
    truth = np.array(animals, np.float64).reshape(-1, 1, 2) + offsets
    y, x = np.mgrid[: size[1], : size[0]]
    for points in truth:
        for channel, (px, py) in enumerate(points):
            picture[..., channel] += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 1.5**2))
    return (255 * picture.clip(0, 1)).astype(np.uint8), truth


def around(truth: np.ndarray) -> np.ndarray:
    """Boxes [N, 4] around instances [N, 3, 2], 8 pixels wider on each side."""
    low, high = truth.min(1) - 8, truth.max(1) + 8
    return np.concatenate([low, high - low], axis=1)


def write_picture(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path
