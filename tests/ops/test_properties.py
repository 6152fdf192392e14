"""Both attention ops over shapes that hypothesis thinks up, against their float64 references."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given, settings
from hypothesis import strategies as st

from genloc.ops import correlation_map, heatmap_log_expectation, products
from genloc.ops.correlation_map import fallback as map_fallback
from genloc.ops.correlation_map.reference import correlation_map_reference
from genloc.ops.heatmap_log_expectation import fallback as expectation_fallback
from genloc.ops.heatmap_log_expectation.reference import heatmap_log_expectation_reference
from tests.ops.cases import assert_close, attention_inputs


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 5),
    tokens=st.sampled_from([1, 2, 15, 16, 17, 63, 255]),
    keypoints=st.sampled_from([1, 2, 17, 33]),
    heads=st.integers(1, 5),
    depth=st.sampled_from([1, 7, 8, 40]),
    shared=st.booleans(),
    magnitude=st.sampled_from([1e-4, 1.0, 5.0]),
    chunk=st.integers(1, 6),
    several=st.integers(1, 5),
    few_calls=st.booleans(),
    seed=st.integers(0, 99),
)
def test_ops_equal_their_references(
    batch: int,
    tokens: int,
    keypoints: int,
    heads: int,
    depth: int,
    shared: bool,
    magnitude: float,
    chunk: int,
    several: int,
    few_calls: bool,
    seed: int,
) -> None:
    c, z, log_target = attention_inputs(
        batch,
        tokens,
        keypoints,
        heads,
        depth,
        shared=shared,
        magnitude=magnitude,
        seed=seed,
    )
    c64, z64 = c.detach().double().requires_grad_(), z.detach().double().requires_grad_()
    scale = depth**-0.5
    with (
        patch.object(expectation_fallback, "few_calls_win", lambda *_, alone: few_calls),
        patch.object(products, "crops_per_chunk", lambda latent: chunk),
        patch.object(products, "heads_per_chunk", lambda c, z, heads: min(heads, several)),
        patch.object(map_fallback, "few_calls_win", lambda *_, alone: few_calls),
    ):
        maps = correlation_map(c, z, heads=heads)
        values = heatmap_log_expectation(c, z, log_target, heads=heads)
        upstream = torch.randn(maps.shape, generator=torch.Generator().manual_seed(seed))
        loss = (maps * upstream).sum() + (values * upstream[..., 0]).sum()
        dc, dz = torch.autograd.grad(loss, (c, z))
    expected_maps = correlation_map_reference(c64, z64, heads=heads, scale=scale)
    expected_values = heatmap_log_expectation_reference(
        c64, z64, log_target.double(), heads=heads, scale=scale
    )
    loss = (expected_maps * upstream).sum() + (expected_values * upstream[..., 0]).sum()
    dc64, dz64 = torch.autograd.grad(loss, (c64, z64))
    # float32 logits of size 100 are off by 1e-5 each
    assert_close("map", expected_maps, maps, 1e-4)
    assert_close("log-expectation", expected_values, values, 1e-4)
    terms = magnitude * scale
    assert_close("condition's gradient", dc64, dc, 1e-3, terms)
    assert_close("latent's gradient", dz64, dz, 1e-3, terms)
