"""Make small inputs take the paths of large ones."""

from __future__ import annotations

import pytest

from genloc.ops.correlation_map import fallback as map_fallback
from genloc.ops.heatmap_log_expectation import fallback as expectation_fallback


@pytest.fixture(params=[1, 3], ids=["one crop at a time", "three at a time"])
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the input, the crops are taken one by one or in threes, never all at once."""
    for module in (map_fallback, expectation_fallback):
        monkeypatch.setattr(module, "few_calls_win", lambda *_, alone: False)
        monkeypatch.setattr(module, "crops_per_chunk", lambda latent: request.param)
