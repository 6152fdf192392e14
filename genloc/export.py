"""`export_onnx`: a predictor's work on a batch of crops as one ONNX file, for where there is no torch.

Letters: B crops, K keypoints, S crop pixels, h, w cells of the maps.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genloc import __version__
from genloc.codecs.heatmap import Score, decode, to_pixels
from genloc.inference import heatmaps
from genloc.predictor import KeypointPredictor

OPSET = 20  # the least in which every operation used here is exported as itself


class CropLocalizer(nn.Module):
    """Crops to keypoints in crop pixels, with the conditions inside."""

    condition: Tensor | None

    def __init__(self, predictor: KeypointPredictor) -> None:
        super().__init__()
        self.model: Any = predictor.model
        self.register_buffer("condition", predictor.condition)
        self.flip = predictor.skeleton if predictor.flip_test else None
        self.decoding = predictor.decoding
        self.score: Score = getattr(predictor.model, "score", "mass")

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, S, S] in [-1, 1] -> xy [B, K, 2] in crop pixels, scores [B, K], maps [B, K, h, w]."""
        maps = heatmaps(self.model, image, self.condition, flip=self.flip)
        cells, scores = decode(maps, method=self.decoding, score=self.score)
        return to_pixels(cells, image.shape[-1] / maps.shape[-1]), scores, maps


@torch.no_grad()
def export_onnx(predictor: KeypointPredictor, path: str | Path) -> Path:
    """Write `path`; weights above 1 GiB go into `<path>.data` beside it.

    Input: `image`, float32 [B, 3, S, S], RGB / 127.5 - 1. Outputs: `xy`, float32 [B, K, 2] in crop pixels
    (the crop's affine carries them into the picture), `scores` [B, K], `maps` [B, K, h, w]. B is free. Names,
    S, padding and flip test stand in the file's metadata. Needs onnx and onnxscript.

    Args:
        predictor: on the CPU in fp32, whose model wants no noise.
        path: ends in `.onnx`.

    Raises:
        ValueError: a predictor that cannot be exported.
        ImportError: onnx or onnxscript are not installed.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"path is {path}, expected a name that ends in .onnx")
    if predictor.device.type != "cpu":
        raise ValueError(f"predictor is on {predictor.device}; export one with device='cpu'")
    if getattr(predictor.model, "noise", False):
        raise ValueError(
            "this model wants noise with every crop, which an exported one cannot draw"
        )
    try:
        import onnx
        import onnxscript  # noqa: F401 - what torch exports with
    except ImportError as error:
        raise ImportError(
            f"this needs onnx and onnxscript: pip install 'genloc[onnx]' ({error})"
        ) from error

    size = predictor.crop_size
    image = torch.zeros(2, 3, size, size)
    # diffusers treats 64 crops and more in another way (the same result): the free axis stops there for
    # torch's check, not for the file.
    batch = torch.export.Dim("batch", min=1, max=63)
    # In two steps: given a module, torch.onnx lets it fix the batch without a word.
    graph = torch.export.export(
        CropLocalizer(predictor).eval(),
        (image,),
        dynamic_shapes={"image": {0: batch}},
        strict=False,
    )
    program = torch.onnx.export(
        graph,
        dynamo=True,
        input_names=["image"],
        output_names=["xy", "scores", "maps"],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    facts = {
        "genloc": __version__,
        "skeleton": predictor.skeleton.name,
        "keypoints": list(predictor.skeleton.keypoints),
        "crop_size": size,
        "padding": predictor.padding,
        "flip_test": predictor.flip_test,
        "decoding": predictor.decoding,
    }
    program.model.metadata_props["genloc"] = json.dumps(facts)
    part = path.with_name(f".{path.stem}.part.onnx")
    program.save(str(part), external_data=None)
    onnx.checker.check_model(str(part))
    os.replace(part, path)
    return path
