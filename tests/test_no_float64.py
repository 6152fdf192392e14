"""Nothing of float64 goes onto the device: Apple's GPUs have none."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genloc.training.data
from genloc.cli import main
from genloc.predictor import KeypointPredictor
from genloc.training.module import KeypointModule
from tests.make_adapter import write_adapter
from tests.no_float64 import DEVICE, OnDevice, move, no_float64
from tests.training.conftest import World, make_world


def test_the_device_computes_and_refuses_float64() -> None:
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3)
    expected = layer(x).square().sum()
    expected.backward()
    gradient = layer.weight.grad
    layer.weight.grad = None
    with no_float64() as device:
        y = move(layer)(x.to(device))
        assert y.device == device
        loss = y.square().sum()
        loss.backward()
        assert loss.item() == pytest.approx(expected.item())
        assert layer.weight.grad is not None and gradient is not None
        assert torch.equal(layer.weight.grad.cpu(), gradient)
        for what in (
            lambda: y.double(),
            lambda: x.double().to(device),
            lambda: torch.zeros(2, dtype=torch.float64, device=device),
        ):
            with pytest.raises(TypeError, match="makes a float64"):
                what()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("command", "loss"), [("fit", "HEL"), ("fit", "HeatmapMSE"), ("test", "HEL")]
)
def test_training_and_scoring(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, loss: str
) -> None:
    """Whole steps of the trainer: Lightning believes to be on the CPU, model and batches are not."""
    configure, to_device = KeypointModule.configure_model, genloc.training.data.to_device
    steps: list[torch.device] = []

    def configure_there(module: KeypointModule) -> None:
        fresh = not module._configured
        configure(module)
        if fresh:
            stack.enter_context(no_float64())  # only now: reading weights uses torch's meta device
            move(module)

    def put(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
        there = to_device(batch, DEVICE)
        steps.append(there["image"].device)
        return there

    monkeypatch.setattr(KeypointModule, "configure_model", configure_there)
    monkeypatch.setattr(genloc.training.data, "to_device", put)
    for stays in ("to", "cpu"):
        monkeypatch.setattr(KeypointModule, stays, lambda module, *_: module)
    more = [
        "--trainer.fast_dev_run",
        "2",
        "--model.flip_test",
        "true",
        f"--model.loss=genloc.losses.{loss}",
    ]
    if command == "test":
        more += ["--ckpt_path", "none", "--trainer.inference_mode", "false"]
    with ExitStack() as stack:
        assert main(world.arguments(command, tmp_path, *more)) == 0
    assert set(steps) == {DEVICE} and len(steps) >= 2


@pytest.mark.parametrize("decoding", ["centroid", "argmax", "quarter"])
def test_predicting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoding: str) -> None:
    run = inspect.unwrap(KeypointPredictor._run)  # inference mode takes no tensors of our own kind
    monkeypatch.setattr(KeypointPredictor, "_run", torch.no_grad()(run))
    predictor = KeypointPredictor.from_pretrained(write_adapter(tmp_path, noise=True), device="cpu")
    predictor.decoding, predictor.flip_test = decoding, True  # type: ignore[assignment]
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    expected = predictor(picture, keep_heatmaps=True)
    with no_float64() as device:
        move(predictor.model)  # type: ignore[arg-type]
        assert predictor.condition is not None
        predictor.condition, predictor.device = OnDevice(predictor.condition), device
        found = predictor(picture, keep_heatmaps=True)
    assert found.heatmaps is not None and expected.heatmaps is not None
    np.testing.assert_allclose(found.heatmaps, expected.heatmaps, atol=1e-6)
    assert found.xy.shape == expected.xy.shape and np.isfinite(found.xy).all()
