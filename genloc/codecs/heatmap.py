"""Points to heatmaps and back.

Pixels and cells count alike: the centre of the first one is 0. A cell of stride ``s`` pixels covers
the pixels ``[j s - 0.5, (j + 1) s - 0.5)``, so cell ``j``'s centre is pixel ``(j + 0.5) s - 0.5``.

Letters: ``B`` crops, ``K`` keypoints, ``h, w`` cells of the map. Points are x, y.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Method = Literal["centroid", "argmax", "quarter"]
Score = Literal["mass", "peak"]


def to_cells(points: Tensor, stride: float) -> Tensor:
    """Crop pixels ``[..., 2]`` -> cells ``[..., 2]`` of ``stride`` pixels each."""
    return (points + 0.5) / stride - 0.5


def to_pixels(points: Tensor, stride: float) -> Tensor:
    """Cells of ``stride`` pixels each ``[..., 2]`` -> crop pixels ``[..., 2]``."""
    return (points + 0.5) * stride - 0.5


def default_sigma(height: int) -> float:
    """The target's sigma for a map of ``height`` cells: 2 cells at 64, scaled with the grid."""
    return 2 * height / 64


def gaussian_target(
    points: Tensor,  # [B, K, 2]
    grid: tuple[int, int],
    sigma: float,
) -> Tensor:  # [B, K, h, w]
    """``exp(-|g_j - p|^2 / 2 sigma^2)`` at the cell centres, unnormalised and not truncated.

    Args:
        points: ``[B, K, 2]`` in cells, floats, may lie outside the grid.
        grid: ``(h, w)``.
        sigma: in cells.

    Returns:
        ``[B, K, h, w]`` of points' dtype; 1 at most.

    Raises:
        ValueError: sigma is not positive, or points are not ``[..., 2]``.
    """
    if not sigma > 0:
        raise ValueError(f"sigma: expected a positive number of cells, got {sigma}")
    if points.shape[-1] != 2:
        raise ValueError(f"points: expected shape [B, K, 2], got {tuple(points.shape)}")
    y = torch.arange(grid[0], dtype=points.dtype, device=points.device)
    x = torch.arange(grid[1], dtype=points.dtype, device=points.device)
    gy = ((y - points[..., 1, None]).square() / (-2 * sigma**2)).exp()  # [B, K, h]
    gx = ((x - points[..., 0, None]).square() / (-2 * sigma**2)).exp()  # [B, K, w]
    return gy[..., :, None] * gx[..., None, :]


def decode(
    maps: Tensor,  # [B, K, h, w]
    method: Method = "centroid",
    window: int = 5,
    score: Score = "mass",
) -> tuple[Tensor, Tensor]:  # [B, K, 2], [B, K]
    """Read one point and one score out of each map.

    Methods:
        ``"centroid"``: the centre of mass of the window around the largest cell. Along an axis
            where the window would stick out of the map it shrinks on both sides alike (to the
            largest cell alone at the border): a window cut on one side would pull the point
            inwards. Exact where the map's mass lies in the window, as with a mass shared out
            between neighbouring cells; a Gaussian wider than the window is pulled towards the
            cell's centre, yet never past it.
        ``"argmax"``: the centre of the largest cell (the paper's decoding; off by 0.41 cells RMS).
        ``"quarter"``: that, moved a quarter of a cell towards the larger neighbour along each axis,
            as published pose code does; not at the border.

    Args:
        maps: ``[B, K, h, w]``. Negative values count as 0 in the centre of mass and in the score.
        method: one of the above.
        window: odd number of cells, for the centre of mass and for the mass as score.
        score: ``"mass"``, the map's mass in the window (cut at the border), at most 1 for a map that
            sums to 1; ``"peak"``, its largest value, for maps regressed towards Gaussians of peak 1.

    Returns:
        points ``[B, K, 2]`` in cells, and scores ``[B, K]``, at least 0. Float32, or float64 for
        float64 maps. Of equal largest cells the first is taken; NaN in a map gives a NaN point and
        score.

    Raises:
        ValueError: the argument, what came, what was expected.
    """
    if maps.dim() != 4 or maps.shape[-1] == 0 or maps.shape[-2] == 0:
        raise ValueError(f"maps: expected shape [B, K, h, w], got {tuple(maps.shape)}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window: expected an odd number of cells, got {window}")
    if method not in ("centroid", "argmax", "quarter"):
        raise ValueError(f'method: expected "centroid", "argmax" or "quarter", got {method!r}')
    if score not in ("mass", "peak"):
        raise ValueError(f'score: expected "mass" or "peak", got {score!r}')
    maps = maps.to(torch.float64 if maps.dtype == torch.float64 else torch.float32)
    height, width = maps.shape[-2:]
    peaks, best = maps.flatten(2).max(-1)  # [B, K]
    x, y = best % width, best // width
    peak = torch.stack((x, y), -1).to(maps.dtype)

    reach = torch.arange(window, device=maps.device) - window // 2  # [window]
    dx = reach.expand(window, window)
    dy = reach[:, None].expand(window, window)
    values, inside = _cells(maps, x, y, dx, dy)
    values = values.clamp_min(0)
    scores = values.where(inside, 0).sum((-2, -1)) if score == "mass" else peaks.clamp_min(0)
    spoilt = maps.sum((-2, -1)).isnan()
    scores = scores.masked_fill(spoilt, torch.nan)
    if method == "centroid":
        room_x = torch.minimum(x, width - 1 - x)[..., None, None]
        room_y = torch.minimum(y, height - 1 - y)[..., None, None]
        mass = values.where((dx.abs() <= room_x) & (dy.abs() <= room_y), 0)
        total = mass.sum((-2, -1))
        shift = torch.stack(((mass * dx).sum((-2, -1)), (mass * dy).sum((-2, -1))), -1)
        # A map without positive values has no centre of mass: its largest cell must do.
        points = peak + shift / total.where(total > 0, 1)[..., None]
    elif method == "quarter":
        sides = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]], device=maps.device)
        side, inside = _cells(maps, x, y, sides[:, 0], sides[:, 1])  # [B, K, 4]
        slope = torch.stack((side[..., 0] - side[..., 1], side[..., 2] - side[..., 3]), -1)
        both = torch.stack((inside[..., :2].all(-1), inside[..., 2:].all(-1)), -1)
        points = peak + 0.25 * slope.sign().where(both, 0)
    else:
        points = peak
    return points.masked_fill(spoilt[..., None], torch.nan), scores


def _cells(
    maps: Tensor, x: Tensor, y: Tensor, dx: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor]:  # [B, K, *shape of dx] twice
    """The cells at ``(x + dx, y + dy)``, and which of them lie inside the map."""
    height, width = maps.shape[-2:]
    extra = (None,) * dx.dim()
    cx, cy = x[(..., *extra)] + dx, y[(..., *extra)] + dy
    inside = (cx >= 0) & (cx < width) & (cy >= 0) & (cy < height)
    place = cy.clamp(0, height - 1) * width + cx.clamp(0, width - 1)
    values = maps.flatten(2).gather(-1, place.flatten(2)).view(place.shape)
    return values, inside


def flip_back(maps: Tensor, flip_index: Sequence[int]) -> Tensor:
    """Maps of the mirrored crop, put back: columns reversed, left and right keypoints swapped.

    Args:
        maps: ``[B, K, h, w]``, predicted on the crop with its columns reversed.
        flip_index: ``K`` numbers, for each keypoint its mirror image (``Skeleton.flip_index``).

    Returns:
        ``[B, K, h, w]``, to be averaged with the maps of the crop itself.

    Raises:
        ValueError: flip_index is no permutation of the K keypoints.
    """
    if sorted(flip_index) != list(range(maps.shape[1])):
        raise ValueError(
            f"flip_index: expected a permutation of the {maps.shape[1]} keypoints of maps, "
            f"got {tuple(flip_index)}"
        )
    return maps.flip(-1)[:, list(flip_index)]
