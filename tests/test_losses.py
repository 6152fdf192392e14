"""HEL and MSE: values known beforehand, what is left out, and accumulation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genloc.losses import HEL, HeatmapMSE
from genloc.ops import correlation_map, gaussian_log_target, heatmap_log_expectation


def test_uniform_map_costs_5_094() -> None:
    points = torch.tensor([[[30.0, 33.0], [31.5, 31.5]]])
    log_target = gaussian_log_target(points, (64, 64), 2.0, (64, 64))
    value = heatmap_log_expectation(
        torch.zeros(1, 2, 8), torch.ones(1, 4096, 8), log_target, heads=1
    )
    assert HEL()(value, torch.ones(1, 2, dtype=torch.bool)).item() == pytest.approx(5.094, abs=5e-4)


def test_hel_is_a_mixtures_negative_log_likelihood_up_to_a_constant() -> None:
    torch.manual_seed(0)
    h, w, sigma = 5, 7, 1.3
    logits = torch.randn(1, h * w, 1, dtype=torch.float64)
    point = torch.tensor([2.2, 3.9], dtype=torch.float64)
    cells = torch.tensor([[x, y] for y in range(h) for x in range(w)], dtype=torch.float64)
    mixture = MixtureSameFamily(
        Categorical(logits=logits[0, :, 0]),
        Independent(Normal(cells, torch.full_like(cells, sigma)), 1),
    )
    log_target = gaussian_log_target(point[None, None], (h, w), sigma, (h, w))
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    value = heatmap_log_expectation(one, logits, log_target, heads=1)
    loss = HEL()(value, torch.ones(1, 1, dtype=torch.bool))
    expected = -mixture.log_prob(point) - math.log(2 * math.pi * sigma**2)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)


def test_hel_is_zero_for_all_mass_on_the_points_own_cell() -> None:
    logits = torch.zeros(1, 81, 1)
    logits[0, 4 * 9 + 6] = 1000
    log_target = gaussian_log_target(torch.tensor([[[6.0, 4.0]]]), (9, 9), 2.0, (9, 9))
    value = heatmap_log_expectation(torch.ones(1, 1, 1), logits, log_target, heads=1)
    assert HEL()(value, torch.ones(1, 1, dtype=torch.bool)).item() == 0


def test_mean_over_visible_keypoints_then_over_all_crops() -> None:
    value = -torch.tensor([[1.0, 2.0, 6.0], [8.0, 100.0, 100.0], [7.0, 7.0, 7.0]])
    visible = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    assert HEL()(value, visible).item() == pytest.approx((3 + 8 + 0) / 3)
    assert HEL("sum")(value, visible).item() == pytest.approx((9 + 8 + 0) / 3)


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, -math.inf])
def test_what_is_not_visible_neither_counts_nor_spoils(spoilt: float) -> None:
    value = torch.tensor([[-1.0, spoilt], [spoilt, spoilt]], requires_grad=True)
    visible = torch.tensor([[True, False], [False, False]])
    loss = HEL()(value, visible)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert value.grad is not None
    assert value.grad.tolist() == [[-0.5, 0], [0, 0]]

    maps = torch.full((2, 2, 3, 3), spoilt)
    maps[0, 0] = 1 / 9
    maps.requires_grad_()
    loss = HeatmapMSE()(maps, torch.zeros(2, 2, 3, 3), visible)
    loss.backward()
    assert loss.item() == pytest.approx(9 * (1 / 9) ** 2 / 2)
    assert maps.grad is not None
    assert (maps.grad[~visible] == 0).all()


class TinyLocalizer(nn.Module):
    """Conditions and one projection, so that a batch shares what it trains."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.condition = nn.Parameter(torch.randn(1, 5, 8, generator=generator).double())
        self.project = nn.Parameter(torch.randn(6, 8, generator=generator).double())

    def loss(self, kind: str, features: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        latent = features @ self.project
        log_target = gaussian_log_target(points, (8, 8), 1.0, (8, 8))
        if kind == "hel":
            value = heatmap_log_expectation(self.condition, latent, log_target, heads=2)
            return HEL()(value, visible)
        maps = correlation_map(self.condition, latent, heads=2).unflatten(-1, (8, 8))
        return HeatmapMSE()(maps, log_target.exp().unflatten(-1, (8, 8)), visible)


@pytest.mark.parametrize("kind", ["hel", "mse"])
def test_one_batch_of_8_equals_four_of_2_accumulated(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(8, 64, 6, generator=generator, dtype=torch.float64)
    points = torch.rand(8, 5, 2, generator=generator, dtype=torch.float64) * 8
    visible = torch.rand(8, 5, generator=generator) < 0.6
    visible[3] = False  # a crop with none, and
    visible[6:8] = False  # a whole small batch with none
    whole, parts = TinyLocalizer(), TinyLocalizer()
    whole.loss(kind, features, points, visible).backward()
    for i in range(0, 8, 2):
        pair = slice(i, i + 2)
        (parts.loss(kind, features[pair], points[pair], visible[pair]) / 4).backward()
    for (name, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert a.grad is not None
        assert a.grad.abs().max() > 0, name
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)


def test_mse_is_the_summed_square_with_the_printed_gradient() -> None:
    torch.manual_seed(0)
    maps = torch.randn(1, 1, 4, 6).flatten(2).softmax(-1).view(1, 1, 4, 6).requires_grad_()
    target = torch.rand(1, 1, 4, 6)
    loss = HeatmapMSE()(maps, target, torch.ones(1, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx(torch.linalg.vector_norm(maps - target).item() ** 2)
    loss.backward()
    torch.testing.assert_close(maps.grad, -2 * (target - maps.detach()))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_empty_batch_and_nothing_visible_give_zero_with_a_gradient(reduction: str) -> None:
    value = torch.zeros(0, 3, requires_grad=True)
    loss = HEL(reduction)(value, torch.zeros(0, 3, dtype=torch.bool))  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0
    value = torch.ones(2, 3, requires_grad=True)
    loss = HEL(reduction)(value, torch.zeros(2, 3, dtype=torch.bool))  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0
    assert value.grad is not None
    assert (value.grad == 0).all()


def test_each_says_what_it_needs() -> None:
    assert (HEL.needs, HeatmapMSE.needs) == ("log_expectation", "maps")


def test_errors_name_the_argument() -> None:
    visible = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match='reduction: expected "mean" or "sum", got \'none\''):
        HEL("none")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"visible: expected a bool tensor, got torch.float32"):
        HEL()(torch.zeros(2, 3), visible.float())
    with pytest.raises(ValueError, match=r"visible: expected shape \[B, K\] = \[2, 4\]"):
        HEL()(torch.zeros(2, 4), visible)
    with pytest.raises(ValueError, match=r"log_expectation: expected shape \[B, K\], got \(3,\)"):
        HEL()(torch.zeros(3), visible)
    with pytest.raises(ValueError, match="maps, target: expected two equal shapes"):
        HeatmapMSE()(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 5), visible)
