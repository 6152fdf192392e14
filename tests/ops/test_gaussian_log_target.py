"""The target carried down, against torch's own interpolation and against explicit matrices."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.ops import gaussian_log_target, heatmap_log_expectation
from genloc.ops.gaussian_log_target.reference import (
    gaussian_log_target_reference,
    upsampling_matrix,
)
from tests.ops.cases import assert_close

# finest grid, grid of a layer
GRIDS = [
    ((64, 64), (16, 16)),
    ((32, 64), (16, 16)),
    ((12, 12), (4, 4)),
    ((65, 33), (33, 17)),
    ((15, 7), (4, 3)),
    ((7, 9), (1, 2)),
    ((8, 8), (8, 8)),
]


def gaussian(points: Tensor, grid: tuple[int, int], sigma: float) -> Tensor:
    """``[B, K, h, w]``, straight from the definition."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=points.dtype) for n in grid), indexing="ij")
    dx, dy = x - points[..., 0, None, None], y - points[..., 1, None, None]
    return torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))


def upsampled(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)


def random_points(grid: tuple[int, int], seed: int = 0) -> Tensor:
    """``[2, 5, 2]`` float64, some of them outside the grid."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([grid[1], grid[0]], dtype=torch.float64)
    return (torch.rand(2, 5, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2) * size


@pytest.mark.parametrize(
    ("cells", "layer"), [(64, 16), (9, 3), (33, 17), (7, 4), (5, 1), (6, 6), (4, 7)]
)
def test_the_matrix_is_torchs_interpolation(cells: int, layer: int) -> None:
    basis = torch.eye(layer, dtype=torch.float64)[:, None]  # one map per cell of the layer
    expected = F.interpolate(basis[..., None, :], size=(1, cells), mode="bilinear")[:, 0, 0].T
    assert_close("U", expected, upsampling_matrix(cells, layer), 1e-14)


@pytest.mark.parametrize("s", [1, 2, 3, 4, 8])
def test_for_integer_s_an_upsampled_map_sums_to_s_squared(s: int) -> None:
    columns = upsampling_matrix(5 * s, 5).sum(0)
    assert columns.tolist() == pytest.approx([s] * 5, abs=1e-14)


@pytest.mark.parametrize(("grid", "layer_grid"), GRIDS)
def test_equals_the_transpose_written_as_a_matrix(
    grid: tuple[int, int], layer_grid: tuple[int, int]
) -> None:
    points = random_points(grid)
    matrix = torch.kron(*(upsampling_matrix(a, b) for a, b in zip(grid, layer_grid, strict=True)))
    fold = math.prod(grid) / math.prod(layer_grid)
    expected = (gaussian(points, grid, 3.0).flatten(2) @ matrix / fold).log()
    assert_close("op", expected, gaussian_log_target(points, grid, 3.0, layer_grid), 1e-12)
    reference = gaussian_log_target_reference(points, grid, 3.0, layer_grid)
    assert_close("reference", expected, reference, 1e-12)


def test_the_merged_maps_expectation_is_the_mean_of_the_layers_expectations() -> None:
    grid, sigma = (65, 33), 2.0
    points = random_points(grid)
    merged, parts = torch.zeros(2, 5, *grid, dtype=torch.float64), []
    layers = [(9, 5), (17, 9), (33, 17), (65, 33)]
    for seed, layer_grid in enumerate(layers):
        generator = torch.Generator().manual_seed(seed)
        latent = torch.randn(2, math.prod(layer_grid), 8, generator=generator, dtype=torch.float64)
        condition = torch.randn(1, 5, 8, generator=generator, dtype=torch.float64)
        # two heads of four channels each
        q, k = condition.unflatten(-1, (2, 4)), latent.unflatten(-1, (2, 4))
        c = (torch.einsum("aknd,btnd->bnkt", q, k) / 2).softmax(-1).mean(1)
        fold = math.prod(grid) / math.prod(layer_grid)
        merged += upsampled(c.unflatten(-1, layer_grid), grid) / fold / len(layers)
        log_target = gaussian_log_target(points, grid, sigma, layer_grid)
        parts.append(heatmap_log_expectation(condition, latent, log_target, heads=2))
    expected = (merged * gaussian(points, grid, sigma)).sum((-2, -1)).log()
    got = torch.stack(parts).logsumexp(0) - math.log(len(layers))
    assert_close("log-expectation", expected, got, 1e-12)


@pytest.mark.parametrize(("grid", "layer_grid"), GRIDS)
def test_nothing_underflows_in_float32(grid: tuple[int, int], layer_grid: tuple[int, int]) -> None:
    points = torch.tensor([[[-500.0, 3.0], [2.0, 700.0], [250.3, -120.1]]])
    got = gaussian_log_target(points, grid, 1.0, layer_grid)
    assert got.dtype == torch.float32
    assert got.isfinite().all()
    expected = gaussian_log_target_reference(points.double(), grid, 1.0, layer_grid)
    assert_close("far away", expected, got, 1e-6)


def test_finer_layers_than_the_grid() -> None:
    points = random_points((4, 4))
    matrix = torch.kron(upsampling_matrix(4, 10), upsampling_matrix(4, 10))
    expected = gaussian(points, (4, 4), 2.0).flatten(2) @ matrix * 100 / 16
    got = gaussian_log_target(points, (4, 4), 2.0, (10, 10)).exp()
    assert (expected == 0).any()
    assert_close("target", expected, got, 1e-12)


def test_gradcheck_in_the_points() -> None:
    points = random_points((9, 9)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: gaussian_log_target(p, (9, 9), 2.0, (4, 3)), points)


def test_half_points_autocast_and_compile() -> None:
    points = random_points((16, 16)).bfloat16()
    expected = gaussian_log_target(points.float(), (16, 16), 2.0, (8, 8))
    assert torch.equal(gaussian_log_target(points, (16, 16), 2.0, (8, 8)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gaussian_log_target(points, (16, 16), 2.0, (8, 8)), expected)
    compiled = torch.compile(gaussian_log_target, fullgraph=True, backend="aot_eager")
    assert_close("compiled", expected, compiled(points, (16, 16), 2.0, (8, 8)), 1e-6)


def test_empty_batch() -> None:
    assert gaussian_log_target(torch.zeros(0, 3, 2), (8, 8), 2.0, (4, 4)).shape == (0, 3, 16)


def test_errors_name_the_argument() -> None:
    points = torch.zeros(1, 3, 2)
    with pytest.raises(ValueError, match=r"points: expected shape \[B, K, 2\], got \(1, 3, 1\)"):
        gaussian_log_target(points[..., :1], (8, 8), 2.0, (8, 8))
    with pytest.raises(ValueError, match=r"points: expected shape \[B, K, 2\], got \(3, 2\)"):
        gaussian_log_target(points[0], (8, 8), 2.0, (8, 8))
    with pytest.raises(TypeError, match=r"points: .*got torch.int64"):
        gaussian_log_target(points.long(), (8, 8), 2.0, (8, 8))
    with pytest.raises(ValueError, match=r"layer_grid: expected \(rows, columns\).*got \(0, 8\)"):
        gaussian_log_target(points, (8, 8), 2.0, (0, 8))
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="sigma: expected a positive number of cells"):
            gaussian_log_target(points, (8, 8), sigma, (8, 8))
