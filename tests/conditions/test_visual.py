from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genloc.conditions import VisualCondition
from genloc.conditions.visual import gaussian_pool, shots_mean
from genloc.skeleton import AP10K

WIDTHS = (6, 4, 2)


def levels(n: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    grids = ((2, 3), (4, 6), (8, 12))
    return [
        torch.randn(n, c, *grid, generator=generator) for c, grid in zip(WIDTHS, grids, strict=True)
    ]


def built(seed: int = 0) -> VisualCondition:
    generator = torch.Generator().manual_seed(seed)
    return VisualCondition(hidden=16).build(AP10K, 5, None, generator, widths=WIDTHS)


def test_pooling_by_hand() -> None:
    """Every cell's weight from its centre's distance, in float64 loops."""
    (feature,) = levels(1)[1:2]
    x, y, sigma = 0.31, 0.77, 0.8
    total, sums = 0.0, [0.0] * 4
    for row in range(4):
        for column in range(6):
            d2 = (column - (x * 6 - 0.5)) ** 2 + (row - (y * 4 - 0.5)) ** 2
            weight = math.exp(-d2 / (2 * sigma**2))
            total += weight
            for c in range(4):
                sums[c] += weight * float(feature[0, c, row, column])
    found = gaussian_pool(feature, torch.tensor([[[x, y]]]), sigma)
    torch.testing.assert_close(found[0, 0], torch.tensor([s / total for s in sums]))


@given(x=st.floats(-3, 4), y=st.floats(-3, 4), sigma=st.floats(0.05, 5))
def test_the_weights_sum_to_one_wherever_the_point_is(x: float, y: float, sigma: float) -> None:
    found = gaussian_pool(torch.full((1, 2, 5, 7), 3.0), torch.tensor([[[x, y]]]), sigma)
    torch.testing.assert_close(found, torch.full((1, 1, 2), 3.0))


def test_a_narrow_gaussian_reads_the_cell_under_the_point() -> None:
    feature = torch.arange(20.0).reshape(1, 1, 4, 5)
    centre = torch.tensor([[[(3 + 0.5) / 5, (2 + 0.5) / 4]]])
    assert gaussian_pool(feature, centre, 0.05).item() == 13.0


def test_shots_count_where_they_label_a_keypoint() -> None:
    values = torch.tensor([[[[1.0], [2.0], [9.0]], [[3.0], [math.nan], [9.0]]]])
    visible = torch.tensor([[[True, True, False], [True, False, False]]])
    assert shots_mean(values, visible).flatten().tolist() == [2.0, 2.0, 0.0]


def test_five_times_the_same_shot_asks_as_one() -> None:
    condition, points = built(), torch.rand(1, 1, 3, 2)
    visible = torch.ones(1, 1, 3, dtype=torch.bool)
    once = condition(levels(1), points, visible)
    five = [level.expand(5, -1, -1, -1) for level in levels(1)]
    again = condition(five, points.expand(1, 5, 3, 2), visible.expand(1, 5, 3))
    torch.testing.assert_close(again, once)
    assert once.shape == (1, 3, 5)


def test_a_condition_depends_on_its_own_point_alone() -> None:
    condition, points = built(), torch.rand(2, 2, 4, 2)
    visible = torch.rand(2, 2, 4) > 0.3
    visible[:, 0] = True
    whole = condition(levels(4), points, visible)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        condition(levels(4), points[:, :, order], visible[:, :, order]), whole[:, order]
    )
    moved = points.clone()
    moved[1, 0, 2] = 0.1
    other = condition(levels(4), moved, visible)
    changed = (other - whole).abs().amax(-1) > 1e-6
    assert changed.nonzero().tolist() == [[1, 2]]


def test_gradients_reach_every_layer_and_the_features() -> None:
    condition = built()
    given_levels = [level.requires_grad_() for level in levels(2)]
    points, visible = torch.rand(2, 1, 3, 2), torch.ones(2, 1, 3, dtype=torch.bool)
    (condition(given_levels, points, visible) * torch.randn(2, 3, 5)).sum().backward()
    for tensor in (*condition.parameters(), *given_levels):
        assert tensor.grad is not None and tensor.grad.abs().max() > 0


def test_the_start_is_a_function_of_the_generator() -> None:
    one, same, other = built(), built(), built(1)
    assert torch.equal(one.layers[0].weight, same.layers[0].weight)  # type: ignore[arg-type]
    assert not torch.equal(one.layers[0].weight, other.layers[0].weight)  # type: ignore[arg-type]
    before = one.layers[0].weight.clone()  # type: ignore[union-attr, operator]
    one.build(AP10K, 5, widths=WIDTHS)  # a trainer configures more than once
    assert torch.equal(one.layers[0].weight, before)  # type: ignore[arg-type]


def test_facts_make_it_again() -> None:
    condition = built()
    again = VisualCondition(**condition.facts()).build(AP10K, 5, measure=False)
    assert again.load_state_dict(condition.state_dict())
    assert again.facts() == {"hidden": 16, "sigma": 1.0, "widths": [6, 4, 2]}


def test_what_does_not_fit_is_refused() -> None:
    for wrong in ({"hidden": 0}, {"sigma": 0.0}):
        with pytest.raises(ValueError, match="hidden and sigma"):
            VisualCondition(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"asked for \(\)"):
        VisualCondition().build(AP10K, 5)
    with pytest.raises(ValueError, match=r"asked for \(6, 4\) and 5"):
        built().build(AP10K, 5, widths=(6, 4))
    with pytest.raises(ValueError, match="and 9"):
        built().build(AP10K, 9, widths=WIDTHS)
    with pytest.raises(ValueError, match="features have"):
        built().pool(levels(1)[:2], torch.zeros(1, 1, 2))
    with pytest.raises(RuntimeError, match="build"):
        VisualCondition().from_pooled(torch.zeros(1, 1, 12))
    with pytest.raises(ValueError, match=r"\[N, K, 2\]"):
        gaussian_pool(torch.zeros(1, 2, 3, 4), torch.zeros(2, 1, 2), 1.0)
    with pytest.raises(ValueError, match="sigma"):
        gaussian_pool(torch.zeros(1, 2, 3, 4), torch.zeros(1, 1, 2), 0.0)
