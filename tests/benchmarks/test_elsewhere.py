"""Another data set's keypoints by name: from an adapter and a json to PCK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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

    def heads(content: dict[str, Any]) -> None:
        for one in content["annotations"]:
            one["head_size"] = 1000  # pictures of 48 pixels: whatever is found is right

    file = write_coco(tmp_path, skeleton=ANIMALPOSE, images=3, change=heads)
    arguments = [
        *("--adapter", str(tmp_path / "a"), "--annotations", str(file), "--descriptions"),
        *("animalpose", "--images", str(tmp_path / "images"), "--out", str(tmp_path / "out.json")),
    ]
    elsewhere.main([*arguments, "--ask", "withers", "throat"])
    content = json.loads((tmp_path / "out.json").read_text())
    found = content["scores"]
    assert found.keys() == {"PCK@0.1", "PCKh@0.5"}
    for rows in found.values():
        assert rows.keys() == {"withers", "throat"}
        for row in rows.values():
            ways = [what.partition(":")[0] for what in row]
            named = ["by name", "described", "nearest by words", "best trained", "shuffled words"]
            assert ways == named and all(0 <= value <= 1 for value in row.values())
            best = max(value for what, value in row.items() if what.startswith("best"))
            assert best >= max(value for what, value in row.items() if what.startswith("nearest"))
    assert {value for row in found["PCKh@0.5"].values() for value in row.values()} == {1}
    unread = content["protocol"]["words that the prior never read"]
    assert unread == "withers: on above and; throat: below head from down on"
    printed = capsys.readouterr().out
    assert "withers: PCK@0.1 by name" in printed and "0.6 x the diagonal of the head" in printed

    write_coco(tmp_path, skeleton=ANIMALPOSE, images=3)
    elsewhere.main([*arguments, "--ask", "withers"])  # one name alone: no words to deal out
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["scores"].keys() == {"PCK@0.1"}
    assert "shuffled words" not in content["scores"]["PCK@0.1"]["withers"]
    assert content["protocol"]["PCKh@0.5"] == "not given: no head_size"
    with pytest.raises(ValueError, match="no keypoint 'wing'"):
        elsewhere.main([*arguments, "--ask", "wing"])
