"""Points to maps and back: the pixel convention, sub-cell accuracy, borders, the flip."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from genloc.codecs.heatmap import (
    Method,
    decode,
    default_sigma,
    flip_back,
    gaussian_target,
    to_cells,
    to_pixels,
)


def one_map(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows)[None, None]


def point(maps: Tensor, method: Method = "centroid", window: int = 5) -> list[float]:
    return decode(maps, method, window)[0][0, 0].tolist()


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_a_cells_centre_is_the_mean_of_its_pixels(stride: int) -> None:
    for cell in range(4):
        pixels = torch.arange(cell * stride, (cell + 1) * stride, dtype=torch.float64)
        assert to_pixels(torch.tensor([float(cell)]), stride).item() == pixels.mean()
        assert to_cells(pixels, stride).mean().item() == pytest.approx(cell)


def test_pixels_and_cells_are_inverse() -> None:
    points = torch.randn(2, 5, 2, dtype=torch.float64) * 100
    torch.testing.assert_close(to_pixels(to_cells(points, 8), 8), points)


def test_gaussian_target_equals_its_definition() -> None:
    points = torch.tensor([[[1.3, 2.9], [-4.0, 9.5]]], dtype=torch.float64)
    target = gaussian_target(points, (4, 6), 1.7)
    assert target.shape == (1, 2, 4, 6)
    for k, (px, py) in enumerate(points[0].tolist()):
        for y in range(4):
            for x in range(6):
                expected = math.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 1.7**2))
                assert target[0, k, y, x].item() == pytest.approx(expected, rel=1e-12)


def test_default_sigma_scales_with_the_grid() -> None:
    assert [default_sigma(h) for h in (64, 32, 16)] == [2, 1, 0.5]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=st.floats(0.5, 10.5, exclude_min=True), y=st.floats(0.5, 6.5, exclude_min=True))
def test_a_mass_shared_between_neighbours_is_found_exactly(x: float, y: float) -> None:
    maps = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    for cx in (math.floor(x), math.floor(x) + 1):
        for cy in (math.floor(y), math.floor(y) + 1):
            maps[0, 0, cy, cx] += (1 - abs(x - cx)) * (1 - abs(y - cy))
    points, scores = decode(maps)
    assert points[0, 0].tolist() == pytest.approx([x, y], abs=1e-9)
    assert scores.item() == pytest.approx(1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=st.floats(2.5, 12.5), y=st.floats(2.5, 12.5), sigma=st.sampled_from([0.7, 1.0, 2.0]))
def test_a_gaussian_is_found_more_exactly_than_its_largest_cell(
    x: float, y: float, sigma: float
) -> None:
    maps = gaussian_target(torch.tensor([[[x, y]]], dtype=torch.float64), (16, 16), sigma)
    # Five cells hold a Gaussian of sigma 1 but for a few per cent, and cut one of sigma 2 short.
    tolerance = {0.7: 0.02, 1.0: 0.1, 2.0: 0.35}[sigma]
    for got, largest, true in zip(point(maps), point(maps, "argmax"), (x, y), strict=True):
        assert abs(got - true) <= tolerance
        assert abs(got - true) <= abs(largest - true) + 1e-9


@pytest.mark.parametrize("method", ["centroid", "argmax", "quarter"])
@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 5), (2, 3), (4, 4), (9, 6)])
def test_every_cell_can_be_the_largest(h: int, w: int, method: Method) -> None:
    maps = torch.eye(h * w).view(1, h * w, h, w)
    points, scores = decode(maps, method)
    assert points[0].tolist() == [[x, y] for y in range(h) for x in range(w)]
    assert scores.tolist() == [[1] * (h * w)]


def test_at_the_border_the_window_shrinks_on_both_sides() -> None:
    # Largest in column 1: only columns 0 to 2 may pull, not column 3.
    maps = one_map([[0, 0, 0, 0], [1, 4, 1, 3], [0, 0, 0, 0]])
    assert point(maps) == [1, 1]
    # At the border itself nothing can pull.
    assert point(one_map([[4.0, 3.0, 2.0, 1.0]])) == [0, 0]
    assert point(one_map([[1.0, 2.0, 3.0, 4.0]])) == [3, 0]


def test_the_score_is_the_mass_in_the_window() -> None:
    uniform = torch.full((1, 1, 10, 10), 0.01)
    inside, corner = uniform.clone(), uniform.clone()
    inside[0, 0, 5, 5] += 1e-6
    corner[0, 0, 9, 9] += 1e-6
    assert decode(inside)[1].item() == pytest.approx(0.25, abs=1e-5)
    assert decode(corner)[1].item() == pytest.approx(0.09, abs=1e-5)
    assert decode(inside, "argmax", window=3)[1].item() == pytest.approx(0.09, abs=1e-5)


def test_quarter_offset_follows_the_larger_neighbour() -> None:
    maps = one_map([[0, 0, 0, 0], [0, 1, 5, 2], [0, 0, 3, 0], [0, 0, 0, 0]])
    assert point(maps, "quarter") == [2.25, 1.25]
    maps = one_map([[0, 0, 3, 0], [0, 2, 5, 1], [0, 0, 2, 0], [0, 0, 0, 0]])
    assert point(maps, "quarter") == [1.75, 0.75]
    assert point(one_map([[0, 2, 5, 2, 0]]), "quarter") == [2, 0]  # equal neighbours
    assert point(one_map([[5, 4, 0, 0, 0]]), "quarter") == [0, 0]  # at the border


def test_equal_largest_cells_negative_and_empty_maps() -> None:
    assert point(one_map([[0, 3, 0, 0, 0, 3]]), "argmax") == [1, 0]
    # A negative value has no mass.
    assert point(one_map([[0.0, -5.0, 2.0, 0.0, 0.0]])) == [2, 0]
    points, scores = decode(torch.full((1, 2, 4, 4), -1.0))
    assert points.tolist() == [[[0, 0], [0, 0]]]
    assert scores.tolist() == [[0, 0]]
    points, scores = decode(torch.zeros(0, 3, 4, 4))
    assert points.shape == (0, 3, 2)
    assert scores.shape == (0, 3)


@pytest.mark.parametrize("method", ["centroid", "argmax", "quarter"])
def test_nan_is_not_hidden(method: Method) -> None:
    maps = torch.rand(1, 2, 12, 12)
    maps[0, 1, 11, 0] = torch.nan
    points, scores = decode(maps, method)
    assert points.isnan().tolist() == [[[False, False], [True, True]]]
    assert scores.isnan().tolist() == [[False, True]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    maps = gaussian_target(torch.tensor([[[5.0, 4.0]]]), (9, 9), 1.0).to(dtype)
    points, scores = decode(maps)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert points.dtype == scores.dtype == wanted
    assert points[0, 0].tolist() == pytest.approx([5, 4], abs=1e-6)


def test_flip_back_undoes_a_mirrored_crop() -> None:
    width, flip_index = 12, (1, 0, 2)
    points = torch.tensor([[[2.3, 4.0], [7.9, 1.5], [5.0, 6.0]]])
    mirrored = torch.stack((width - 1 - points[..., 0], points[..., 1]), -1)[:, list(flip_index)]
    expected = gaussian_target(points, (8, width), 1.0)
    got = flip_back(gaussian_target(mirrored, (8, width), 1.0), flip_index)
    torch.testing.assert_close(got, expected)


def test_errors_name_the_argument() -> None:
    maps = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"maps: expected shape \[B, K, h, w\], got \(3, 4, 4\)"):
        decode(maps[0])
    with pytest.raises(ValueError, match="window: expected an odd number of cells, got 4"):
        decode(maps, window=4)
    with pytest.raises(ValueError, match='method: expected "centroid"'):
        decode(maps, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma: expected a positive number of cells, got 0"):
        gaussian_target(torch.zeros(1, 3, 2), (4, 4), 0)
    with pytest.raises(ValueError, match=r"points: expected shape \[B, K, 2\], got \(1, 3\)"):
        gaussian_target(torch.zeros(1, 3), (4, 4), 1)
    with pytest.raises(ValueError, match="flip_index: expected a permutation of the 3 keypoints"):
        flip_back(maps, (0, 1, 1))


def test_the_score_is_the_mass_around_the_peak_or_the_peak() -> None:
    maps = torch.full((1, 2, 9, 9), -0.1)
    maps[0, 0, 3:6, 3:6] = 0.25
    maps[0, 0, 4, 4] = 0.75
    assert decode(maps)[1].tolist() == [[0.75 + 8 * 0.25, 0]]
    assert decode(maps, score="peak")[1].tolist() == [[0.75, 0]]
    assert decode(maps, "quarter", score="peak")[1].tolist() == [[0.75, 0]]
    with pytest.raises(ValueError, match="score"):
        decode(maps, score="mean")  # type: ignore[arg-type]
