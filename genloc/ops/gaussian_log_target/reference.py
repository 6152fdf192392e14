"""The truth of :func:`genloc.ops.gaussian_log_target`: explicit matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloc.ops.precision import accumulation_dtype


def upsampling_matrix(
    cells: int, layer_cells: int, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Bilinear upsampling of one axis as a matrix ``[cells, layer_cells]``.

    It is what ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` does along
    one axis when given the output's size: cell ``x`` of the finest grid lies at
    ``(x + 0.5) * layer_cells / cells - 0.5`` of the layer's grid, clamped to its cells, and takes
    the two neighbours there by distance. Rows sum to 1.
    """
    x, j = torch.arange(cells), torch.arange(layer_cells)
    # In integers, times 2 cells: what should be 0 is 0.
    place = ((2 * x + 1) * layer_cells - cells).clamp(0, 2 * cells * (layer_cells - 1))
    share = (2 * cells - (place[:, None] - 2 * cells * j).abs()).clamp_min(0)
    return share.to(dtype) / (2 * cells)


def gaussian_log_target_reference(
    points: Tensor,  # [B, K, 2]
    grid: tuple[int, int],
    sigma: float,
    layer_grid: tuple[int, int],
) -> Tensor:  # [B, K, hl * wl]
    """A Gaussian target on the finest grid, carried down to a layer's own grid, in logarithms.

    The target is ``H[y, x] = exp(-((x - px)^2 + (y - py)^2) / (2 sigma^2))`` at the cells of the
    finest grid, from float coordinates, neither truncated nor rounded. The merged map is the mean
    over layers of ``U C_l / s^2``: a layer's map ``C_l``, upsampled bilinearly (``U``) and divided
    by ``s^2 = (h * w) / (hl * wl)``, the number of fine cells per cell of the layer. Its
    expectation of the target is linear in every map,

        ``<U C_l / s^2, H> = <C_l, U^T H / s^2>``,

    so the merged map's expectation is the mean over layers of each layer's own expectation of
    ``U^T H / s^2``. This function returns the logarithm of that, and nothing is upsampled.

    ``U`` is separable and so is ``H``: ``log U^T H = log Uy^T Hy + log Ux^T Hx``. Each factor is a
    logsumexp over the cells of one axis, so no value underflows, however far the point.

    Args:
        points: ``[B, K, 2]``, x and y in cells of the finest grid, cell ``j``'s centre at ``j``.
        grid: ``(h, w)`` of the finest grid.
        sigma: in cells of the finest grid.
        layer_grid: ``(hl, wl)`` of the layer.

    Returns:
        ``[B, K, hl * wl]``, row-major, float64 for float64 points and float32 otherwise. A cell of
        the layer that no fine cell reads (possible only if the layer is finer) is minus infinity.
    """
    dtype = accumulation_dtype(points.dtype)
    points = points.to(dtype)
    axes = []
    for axis, cells, layer_cells in ((1, grid[0], layer_grid[0]), (0, grid[1], layer_grid[1])):
        log_u = upsampling_matrix(cells, layer_cells).log().to(dtype).to(points.device)
        centres = torch.arange(cells, dtype=dtype, device=points.device)
        log_h = -((centres - points[..., axis, None]) ** 2) / (2 * sigma**2)  # [B, K, cells]
        axes.append((log_h[..., None] + log_u).logsumexp(-2) - math.log(cells / layer_cells))
    return (axes[0][..., :, None] + axes[1][..., None, :]).flatten(-2)
