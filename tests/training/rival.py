"""A localizer without conditions, as the baselines are: told K, trained whole, with running statistics."""

from __future__ import annotations

from torch import Tensor, nn


class Rival(nn.Module):
    """Stride 8, `hidden` channels."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.hidden = hidden

    def build(self, num_keypoints: int) -> None:
        self.layers = nn.Sequential(
            nn.Conv2d(3, self.hidden, 8, stride=8),
            nn.BatchNorm2d(self.hidden),
            nn.ReLU(),
            nn.Conv2d(self.hidden, num_keypoints, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, K, S/8, S/8]."""
        return self.layers(image)
