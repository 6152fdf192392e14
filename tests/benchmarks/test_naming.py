"""The benchmark of identify-then-detect: its quick form, who is an example for whom, and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import naming
from benchmarks.named_examples import partners, with_partners
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import AP10K
from tests.make_coco import write_coco
from tests.make_prior import write_folder


def test_an_example_is_of_the_species_and_in_another_picture(tmp_path: Path) -> None:
    def alone(
        content: dict[str, Any],
    ) -> None:  # the last picture's animals: a species of their own
        last = content["images"][-1]["id"]
        content["categories"].append({**content["categories"][0], "id": 30, "name": "alone"})
        for one in content["annotations"]:
            if one["image_id"] == last:
                one["category_id"] = 30

    path = write_coco(tmp_path, images=7, instances=2, change=alone)
    whole = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K)
    source = with_partners(whole)
    assert len(source) == len(whole) - 2
    rng = np.random.default_rng(0)
    drawn = [partners(source, rng) for _ in range(20)]
    for chosen in drawn:
        for instance, i in zip(source.instances, chosen, strict=True):
            shown = source.instances[i]
            assert shown.category_id == instance.category_id
            assert shown.image_id != instance.image_id
    assert len({int(chosen[0]) for chosen in drawn}) > 1
    with pytest.raises(ValueError, match="no species is in two pictures"):
        with_partners(CocoKeypoints(path, None, skeleton=AP10K, image_ids=[1]))


def test_the_verdict_says_by_how_much_and_whether_beyond_the_seeds() -> None:
    def cell(**ways: float) -> dict[str, Any]:
        every = dict.fromkeys(naming.WAYS, 0.5) | {w.replace("_", " "): v for w, v in ways.items()}
        scores = ("paired PCK@0.1", "at the partner")
        return {"test": {f"{way} {score}": v for way, v in every.items() for score in scores}}

    apart = [cell(example=0.5, named=0.6), cell(example=0.52, named=0.58)]
    said = naming.verdict({"all": apart})
    assert said[0] == (
        "named over example, all: +8.0 paired PCK@0.1; the ranges over seeds do not overlap"
    )
    assert said[2].startswith("named by place over example, all: -1.0 paired PCK@0.1")
    near = [cell(example=0.5, named=0.6), cell(example=0.52, named=0.51)]
    assert naming.verdict({"all": near})[0].endswith("the ranges over seeds overlap")
    assert naming.verdict({"all": near[:1]})[1].endswith("at the partner; one seed")


def test_naming_runs_and_finished_cells_are_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = str(write_folder(tmp_path / "prior"))
    arguments = ["--quick", "--prior", prior, "--runs", str(tmp_path)]
    naming.main(arguments)
    (written,) = (tmp_path / "quick").glob("naming_*.json")
    content = json.loads(written.read_text())
    assert content["results"].keys() == {"families it knows", "families it does not"}
    for cells in content["results"].values():
        assert all(np.isfinite(value) for value in cells[0]["test"].values())
        assert {f"{way} at the partner" for way in naming.WAYS} <= cells[0]["test"].keys()
    text = written.with_suffix(".md").read_text()
    for words in ("named by place", "mean place", "named over example", "0 of all animals"):
        assert words in text, words
    assert capsys.readouterr().out.count("seed 0: step 2/2") == 1
    naming.main(arguments)
    assert "step 2/2" not in capsys.readouterr().out
