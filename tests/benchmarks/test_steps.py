"""The benchmarks of whole steps: every case computes the same, and a wrong one stops the report."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch

from benchmarks import inference, steps, training_step
from benchmarks.step_table import table
from benchmarks.steps import Case, Runner, Setting, check
from genloc.models import GenLoc
from tests.make_prior import write_folder


def here(cases: list[Case]) -> list[Case]:
    return [case for case in cases if not (case.gpu or case.compiled)]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))


@pytest.fixture
def small(prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def setting(_: str, size: int, batch: int, **more: object) -> Setting:
        return Setting(prior, 64, batch, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "Setting", setting)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("train", [True, False])
def test_every_case_gives_what_the_naive_one_gives(train: bool) -> None:
    check(here(training_step.CASES if train else inference.CASES), train, "cpu")


@pytest.mark.usefixtures("small")
def test_a_case_that_computes_something_else_stops_the_report() -> None:
    forward = GenLoc.forward

    def spoilt(self: GenLoc, *given: Any, **named: Any) -> torch.Tensor:
        return forward(self, *given, **named).roll(1, dims=-1)

    with (
        patch.object(GenLoc, "forward", spoilt),
        pytest.raises(RuntimeError, match=r"\+ early stop: .* is off by"),
    ):
        check([Case("+ early stop", fused=False)], True, "cpu")


def test_what_a_case_takes(prior: str) -> None:
    kept = Case("kept", context="null", kept="outputs")
    result = Runner(kept, Setting(prior, 64, 2, repeats=1)).measure()
    assert result["seconds"] > 0 and result["tflop"] > 0
    latent = 4 * 8 * 8 * 4
    assert result["disk"] > latent
    naive = {**result, "seconds": 2 * result["seconds"], "disk": 0}
    lines = table([(Case("naive", naive=True), naive), (kept, result)], Setting(prior, 64, 2), 1.0)
    assert "1.00x" in lines[2] and "2.00x" in lines[3]
    refused = table([(kept, {"refused": "not measured on a GPU"})], Setting(prior, 64, 2), 1.0)
    assert "not measured on a GPU" in refused[2]
