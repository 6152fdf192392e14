"""The figure of maps is drawn from trained runs and bare adapters alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from benchmarks import maps_figure
from genloc.adapter import save_adapter
from genloc.conditions.learned import LearnedCondition
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.read_out import ReadOutName
from genloc.skeleton import AP10K
from tests.make_coco import write_coco
from tests.make_prior import write_folder


def save(folder: Path, prior: Path, read_out: ReadOutName, crop_size: int = 64) -> str:
    model = GenLoc(Prior(str(prior)), lora=LoRA("up", rank=2), read_out=read_out).load()
    condition = LearnedCondition().build(AP10K, 24, generator=torch.Generator().manual_seed(3))
    recipe = {"crop_size": crop_size, "padding": 1.25}
    save_adapter(
        folder, model=model, condition=condition, skeleton=AP10K, recipe=recipe, metrics={}
    )
    return str(folder)


def test_it_draws_every_read_out_for_every_picture(tmp_path: Path) -> None:
    prior = write_folder(tmp_path / "prior")
    save(tmp_path / "runs" / "zoo" / "adapter", prior, "ckhe")
    cross = save(tmp_path / "cross", prior, "cross")
    truth = write_coco(tmp_path, images=4)
    data = [str(truth), str(tmp_path / "images")]
    run = str(tmp_path / "runs" / "zoo")
    shapes = {}
    for pictures in (1, 2):
        out = tmp_path / f"{pictures}.png"
        more = ["--out", str(out), "--pictures", str(pictures), "--keypoints", "nose", "left_eye"]
        maps_figure.main([run, cross, *data, *more])
        drawn = cv2.imread(str(out))
        assert drawn is not None
        shapes[pictures] = drawn.shape
    assert shapes[2][0] > 1.7 * shapes[1][0] and shapes[2][1] == shapes[1][1]
    other = save(tmp_path / "other", prior, "cross", crop_size=128)
    with pytest.raises(ValueError, match="other: its skeleton or crops are not those of"):
        maps_figure.main([run, other, *data, "--out", str(tmp_path / "x.png")])
    with pytest.raises(ValueError, match=r"has no \[7\]"):
        maps_figure.main([run, *data, "--out", str(tmp_path / "x.png"), "--annotation-ids", "7"])
