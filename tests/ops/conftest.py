"""Make small inputs take the paths of large ones."""

from __future__ import annotations

import pytest

from genloc.ops.correlation_map import fallback as map_fallback
from genloc.ops.heatmap_log_expectation import fallback as expectation_fallback


@pytest.fixture(params=[1, 3], ids=["one crop at a time", "three at a time"])
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the input, the crops are taken one by one or in threes, never all at once."""
    monkeypatch.setattr(expectation_fallback, "_TINY", 0)
    for module in (map_fallback, expectation_fallback):
        monkeypatch.setattr(module, "fits_one_chunk", lambda latent: False)
        monkeypatch.setattr(module, "crops_per_chunk", lambda latent: request.param)
