"""Another data set's keypoints by name: from an adapter and a json to PCK."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import elsewhere
from genloc.adapter import save_adapter
from genloc.conditions import TextCondition
from genloc.models import GenLoc, Prior
from genloc.skeleton import ANIMALPOSE, AP10K
from tests.make_coco import write_coco
from tests.make_prior import write_folder


def test_trained_on_one_asked_for_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = GenLoc(Prior(str(write_folder(tmp_path / "prior"))), context="null").load()
    condition = TextCondition().build(AP10K, 24, model.prior.text)
    recipe = {"crop_size": 64, "padding": 1.25, "decoding": "centroid"}
    save_adapter(
        tmp_path / "a", model=model, condition=condition, skeleton=AP10K, recipe=recipe, metrics={}
    )
    file = write_coco(tmp_path, skeleton=ANIMALPOSE, images=3)
    arguments = [
        *("--adapter", str(tmp_path / "a"), "--annotations", str(file), "--descriptions"),
        *("animalpose", "--images", str(tmp_path / "images"), "--out", str(tmp_path / "out.json")),
    ]
    elsewhere.main([*arguments, "--ask", "withers", "throat"])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found.keys() == {"withers", "throat"}
    for row in found.values():
        by_name, described, best = row.values()
        assert 0 <= by_name <= 1 and 0 <= described <= 1 and 0 <= best <= 1
    assert "withers: PCK@0.1 by name" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no keypoint 'wing'"):
        elsewhere.main([*arguments, "--ask", "wing"])
