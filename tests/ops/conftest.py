"""Make small inputs take the paths of large ones."""

from __future__ import annotations

import pytest

from genloc.ops import products
from genloc.ops.correlation_map import fallback as map_fallback
from genloc.ops.heatmap_log_expectation import fallback as expectation_fallback


@pytest.fixture(
    params=[(1, 8), (1, 3), (3, 8)],
    ids=["one crop at a time", "three heads at a time", "three crops at a time"],
)
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the input, it is taken in chunks, never all at once."""
    crops, several = request.param
    for module in (map_fallback, expectation_fallback):
        monkeypatch.setattr(module, "few_calls_win", lambda *_, alone: False)
    monkeypatch.setattr(products, "crops_per_chunk", lambda latent: crops)
    monkeypatch.setattr(products, "heads_per_chunk", lambda c, z, heads: min(heads, several))
