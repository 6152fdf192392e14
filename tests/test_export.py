"""The exported predictor in onnxruntime gives what torch gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from genloc.export import CropLocalizer, export_onnx
from genloc.predictor import KeypointPredictor
from tests.make_adapter import write_adapter
from tests.spots import SIDED, spots_predictor

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def compare(predictor: KeypointPredictor, file: Path, batches: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    size = predictor.crop_size
    for batch in batches:
        image = torch.rand(batch, 3, size, size) * 2 - 1
        with torch.no_grad():
            expected = CropLocalizer(predictor)(image)
        for ours, theirs in zip(session.run(None, {"image": image.numpy()}), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4)


def test_a_small_localizer(tmp_path: Path) -> None:
    predictor = spots_predictor(crop_size=16, flip_test=True, skeleton=SIDED)
    file = export_onnx(predictor, tmp_path / "spots.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["spots.onnx"]
    compare(predictor, file, (1, 2, 5, 70))
    facts = onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map["genloc"]
    assert json.loads(facts)["keypoints"] == ["left red", "green", "blue"]


def test_an_adapter_on_the_prior(tmp_path: Path) -> None:
    predictor = KeypointPredictor.from_pretrained(write_adapter(tmp_path), device="cpu")
    compare(predictor, export_onnx(predictor, tmp_path / "model.onnx"), (1, 3))


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export_onnx(spots_predictor(), tmp_path / "model.pt")
    noisy = spots_predictor()
    noisy.model.noise = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="wants noise"):
        export_onnx(noisy, tmp_path / "model.onnx")
    elsewhere = spots_predictor()
    elsewhere.device = torch.device("cuda")  # as if it had been moved to one
    with pytest.raises(ValueError, match="export one with device='cpu'"):
        export_onnx(elsewhere, tmp_path / "model.onnx")
