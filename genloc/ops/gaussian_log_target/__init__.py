"""The log of a Gaussian target, carried down from the finest grid to a layer's own grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloc.ops.arguments import check_tensor
from genloc.ops.precision import accumulation_dtype, without_autocast


def gaussian_log_target(
    points: Tensor,  # [B, K, 2]
    grid: tuple[int, int],
    sigma: float,
    layer_grid: tuple[int, int],
) -> Tensor:  # [B, K, hl * wl]
    """``log(U^T H / s^2)``: what a layer's map must be compared with instead of being upsampled.

    :func:`reference.gaussian_log_target_reference` has the formula and the reason. Here only the
    few fine cells that read a layer's cell take part in its sum (at most ``2 s + 1`` per axis).

    Args:
        points: ``[B, K, 2]``, x and y in cells of the finest grid, cell ``j``'s centre at ``j``;
            floats, may lie outside the grid.
        grid: ``(h, w)`` of the finest grid, on which ``sigma`` counts.
        sigma: standard deviation in cells of the finest grid.
        layer_grid: ``(hl, wl)`` of the layer; equal to ``grid`` gives the plain log-Gaussian.

    Returns:
        ``[B, K, hl * wl]``, tokens in row-major order, float32 (float64 for float64 points). Finite
        wherever the layer is not finer than ``grid``. Differentiable in ``points``.

    Raises:
        TypeError, ValueError: the argument, what came, what was expected.
    """
    check_tensor("points", points, "[B, K, 2]", 3)
    if points.shape[-1] != 2:
        raise ValueError(f"points: expected shape [B, K, 2], got {tuple(points.shape)}")
    for name, value in (("grid", grid), ("layer_grid", layer_grid)):
        if len(value) != 2 or min(value) < 1:
            raise ValueError(f"{name}: expected (rows, columns), both at least 1, got {value}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma: expected a positive number of cells, got {sigma}")
    points = points.to(accumulation_dtype(points.dtype))
    with without_autocast(points.device):
        rows = _axis(points[..., 1], grid[0], sigma, layer_grid[0])  # [B, K, hl]
        columns = _axis(points[..., 0], grid[1], sigma, layer_grid[1])  # [B, K, wl]
        return (rows[..., :, None] + columns[..., None, :]).flatten(-2)


def _axis(p: Tensor, cells: int, sigma: float, layer_cells: int) -> Tensor:
    """``log(U^T H / s)`` along one axis, for ``p`` ``[B, K]``: ``[B, K, layer_cells]``."""
    steps = torch.arange(layer_cells, device=p.device)
    if cells == layer_cells:
        return (steps - p[..., None]).square() / (-2 * sigma**2)
    # Fine cell x reads the layer at (x + 0.5) / s - 0.5. Cell j has a share in it where that place
    # is less than one cell away: a band of 2 s fine cells, of one length for every j. In integers
    # (times 2 cells): a share that should be 0 but is 1e-8 would count, since one cell nearer to a
    # distant point the target is larger by a factor of millions.
    j = steps[:, None]
    first = ((2 * j - 1) * cells - layer_cells).div(2 * layer_cells, rounding_mode="floor") + 1
    x = first + torch.arange(2 * cells // layer_cells + 1, device=p.device)
    place = ((2 * x + 1) * layer_cells - cells).clamp(0, 2 * cells * (layer_cells - 1))
    share = (2 * cells - (place - 2 * cells * j).abs()).clamp_min(0)
    share = share.where((x >= 0) & (x < cells), 0)
    log_weight = (share.to(p.dtype) / (2 * cells)).log()
    log_h = (x - p[..., None, None]).square() / (-2 * sigma**2)  # [B, K, layer_cells, band]
    return (log_h + log_weight).logsumexp(-1) - math.log(cells / layer_cells)
