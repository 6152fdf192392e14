"""Conditions from an example: labelled support pictures say what to look for.

Features of a support picture are pooled under a Gaussian at each labelled point, on every grid of
the up-blocks; a small network makes a condition of them. Several shots are averaged where they are
labelled. (Pooling under a normalised Gaussian: Xu et al., "Pose for Everything", ECCV 2022,
https://arxiv.org/abs/2207.10387.)

Letters: ``B`` queries, ``S`` shots, ``K`` keypoints, ``C`` condition channels, ``L`` grids,
``C_l, h_l, w_l`` channels and cells of grid ``l``, ``F`` the sum of all ``C_l``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from genloc.skeleton import Skeleton


def gaussian_pool(
    features: Tensor,  # [N, C_l, h_l, w_l]
    points: Tensor,  # [N, K, 2]
    sigma: float,
) -> Tensor:  # [N, K, C_l]
    """Mean of the features around each point, weighted by a Gaussian that sums to 1 over the grid.

    Args:
        features: one grid of N pictures.
        points: x, y as parts of the picture's sides: 0 is its left or upper edge, 1 the other one.
        sigma: in cells of this grid, above 0.

    Returns:
        float32 [N, K, C_l]; differentiable in features and points.

    Raises:
        ValueError: shapes that do not fit, or sigma not above 0.
    """
    if (
        features.ndim != 4
        or points.ndim != 3
        or points.shape[2] != 2
        or len(features) != len(points)
    ):
        raise ValueError(
            f"features {tuple(features.shape)} and points {tuple(points.shape)}: expected "
            "[N, C, h, w] and [N, K, 2]"
        )
    if not sigma > 0:
        raise ValueError(f"sigma: expected a positive number of cells, got {sigma}")
    h, w = features.shape[-2:]
    points = points.float()
    axes = []
    for size, place in ((w, points[..., 0]), (h, points[..., 1])):
        cells = torch.arange(size, device=points.device, dtype=torch.float32)
        # The centre of cell j lies at part (j + 0.5) / size. A softmax: sums to 1 however far it is.
        gap = cells - (place[..., None] * size - 0.5)
        axes.append(torch.softmax(gap.square() / (-2 * sigma**2), dim=-1))
    return torch.einsum("nchw,nkh,nkw->nkc", features.float(), axes[1], axes[0])


def shots_mean(values: Tensor, visible: Tensor) -> Tensor:
    """Mean over the shots that label a keypoint; 0 where none does.

    Args:
        values: [B, S, K, F]. visible: bool [B, S, K].

    Returns:
        [B, K, F].
    """
    weight = visible[..., None].to(values.dtype)
    # where, not a product: what an unlabelled shot holds may be anything.
    total = values.where(visible[..., None], 0).sum(1)
    return total / weight.sum(1).clamp_min(1)


class VisualCondition(nn.Module):
    """One network for all keypoints of all categories; nothing in it belongs to a keypoint.

    The constructor is light: :meth:`build` makes the layers when the prior is known.

    Args:
        hidden: width of the network.
        sigma: of the Gaussian that pools, in cells of each grid.
        widths: ``C_l`` of each grid, from coarse to fine; empty until :meth:`build` is told.

    Raises:
        ValueError: a number that is not positive.
    """

    reads_support = True
    """Called with the features of support pictures instead of with nothing."""

    def __init__(self, hidden: int = 512, sigma: float = 1.0, widths: Sequence[int] = ()) -> None:
        super().__init__()
        if hidden < 1 or not sigma > 0:
            raise ValueError(f"hidden and sigma must be positive, got {hidden} and {sigma}")
        self.hidden = hidden
        self.sigma = sigma
        self.widths = tuple(int(width) for width in widths)
        self.skeleton: Skeleton | None = None
        self.channels: int | None = None  # C, once built
        self.norms = nn.ModuleList()
        self.layers = nn.Sequential()

    def facts(self) -> dict[str, Any]:
        """The constructor's arguments, in plain values."""
        return {"hidden": self.hidden, "sigma": self.sigma, "widths": list(self.widths)}

    def build(
        self,
        skeleton: Skeleton,
        channels: int,
        text: Any = None,
        generator: torch.Generator | None = None,
        *,
        widths: Sequence[int] = (),
        measure: bool = True,
    ) -> Self:
        """Make the layers, float32. Building again for the same widths keeps them as they are.

        Args:
            skeleton: kept for who saves this; the layers do not depend on it.
            channels: ``C``.
            text, measure: not needed here.
            generator: source of the random start; torch's global one if None.
            widths: as in the constructor, where they were not given.

        Raises:
            ValueError: no widths, or already built for other ones or other channels.
        """
        asked = tuple(int(width) for width in widths) or self.widths
        made = self.channels
        if not asked or (self.widths and asked != self.widths) or (made and made != channels):
            raise ValueError(
                f"build: made for grids of {self.widths} channels and conditions of {made}, asked for "
                f"{asked} and {channels}; make a new VisualCondition for another prior"
            )
        self.skeleton = skeleton
        if made:
            return self
        self.widths, self.channels = asked, channels
        self.norms.extend(nn.LayerNorm(width) for width in asked)
        # A condition stands where a word's embedding stood: its values have the spread of one.
        for layer in (
            nn.Linear(sum(asked), self.hidden), nn.GELU(),
            nn.Linear(self.hidden, channels), nn.LayerNorm(channels),
        ):  # fmt: skip
            self.layers.append(layer)
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
                nn.init.zeros_(layer.bias)
        return self

    def pool(self, features: Sequence[Tensor], points: Tensor) -> Tensor:
        """What is kept of a support picture.

        Args:
            features: [N, C_l, h_l, w_l] for each grid, from coarse to fine.
            points: [N, K, 2], parts of the picture's sides; see :func:`gaussian_pool`.

        Returns:
            float32 [N, K, F].

        Raises:
            ValueError: features of other channels than those it was built for.
        """
        got = tuple(level.shape[1] for level in features)
        if got != self.widths:
            raise ValueError(f"features have {got} channels; built for {self.widths}")
        return torch.cat([gaussian_pool(level, points, self.sigma) for level in features], dim=-1)

    def from_pooled(self, pooled: Tensor) -> Tensor:
        """Mean features of the shots [B, K, F] -> conditions [B, K, C], float32."""
        if self.channels is None:
            raise RuntimeError("VisualCondition has no layers yet; call build() first")
        parts = pooled.split(self.widths, dim=-1)
        normed = [norm(part) for norm, part in zip(self.norms, parts, strict=True)]
        return self.layers(torch.cat(normed, dim=-1))

    def forward(self, features: Sequence[Tensor], points: Tensor, visible: Tensor) -> Tensor:
        """Conditions from support pictures.

        Args:
            features: [B * S, C_l, h_l, w_l] for each grid, from coarse to fine.
            points: [B, S, K, 2], parts of the picture's sides.
            visible: bool [B, S, K]: which points count.

        Returns:
            float32 [B, K, C]. A keypoint that no shot labels gets a condition that means nothing.
        """
        pooled = self.pool(features, points.flatten(0, 1)).unflatten(0, points.shape[:2])
        return self.from_pooled(shots_mean(pooled, visible))

    def extra_repr(self) -> str:
        return f"hidden={self.hidden}, sigma={self.sigma}, widths={self.widths or 'not built'}"
