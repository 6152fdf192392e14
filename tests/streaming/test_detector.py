"""Boxes of a tiny random YOLOS, saved to a folder as transformers saves detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genloc.data.picture import ArrayPicture
from genloc.media import Frame
from genloc.streaming.detector import Detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    folder = tmp_path_factory.mktemp("detector")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = YolosConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=[64, 64],
            patch_size=16,
            num_detection_tokens=6,
            id2label={0: "mouse", 1: "rat", 2: "hand"},
            label2id={"mouse": 0, "rat": 1, "hand": 2},
        )
        model = YolosForObjectDetection(config)
        for parameter in model.parameters():  # its detection tokens start alike
            parameter.data += 0.5 * torch.randn_like(parameter)
        model.save_pretrained(folder)
    YolosImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def frame() -> Frame:
    values = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    return Frame(0, "a.png", ArrayPicture(values))


def test_its_boxes_are_the_pipelines(folder: Path) -> None:
    from PIL import Image
    from transformers import pipeline

    found = Detector(str(folder), threshold=0.0).find(frame())
    assert len(found) > 0
    assert found.boxes.shape == (len(found), 4)
    assert (np.diff(found.scores) <= 0).all()
    picture: Any = frame().picture
    raw = pipeline("object-detection", model=str(folder))(
        Image.fromarray(picture.rgb()), threshold=0.0
    )
    best = max(raw, key=lambda one: one["score"])
    x, y, w, h = found.boxes[0]
    box = best["box"]
    assert [x, y, x + w, y + h] == [box["xmin"], box["ymin"], box["xmax"], box["ymax"]]
    assert found.scores[0] == pytest.approx(best["score"])


def test_labels_threshold_and_number(folder: Path) -> None:
    everything = Detector(str(folder), threshold=0.0).find(frame())
    assert len(Detector(str(folder), threshold=0.0, most=2).find(frame())) == 2
    threshold = float(np.median(everything.scores))
    sure = Detector(str(folder), threshold=threshold).find(frame())
    assert 0 < len(sure) < len(everything)
    parts = [
        Detector(str(folder), threshold=0.0, labels=(name,)) for name in ("mouse", "rat", "hand")
    ]
    assert sum(len(part.find(frame())) for part in parts) == len(everything)
    assert len({part.facts for part in parts}) == 3


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"does not know \['cat'\]; it knows \['hand', 'mouse', 'rat'\]"
    ):
        Detector(str(folder), labels=("cat",))
    with pytest.raises(ValueError, match="threshold is 2"):
        Detector(str(folder), threshold=2)
    with pytest.raises(ValueError, match="cannot be loaded as a transformers object detector"):
        Detector(str(tmp_path))


def test_pickled_weights_are_not_loaded(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded"):
        Detector(str(tmp_path))
