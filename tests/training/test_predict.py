"""What `genloc predict` writes scores exactly as `genloc test` does: they share everything from file to point."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.cli import main
from genloc.data.coco import CocoKeypoints
from genloc.metrics.coco import STATS
from genloc.metrics.evaluate import evaluate
from genloc.skeleton import AP10K
from tests.make_coco import write_coco
from tests.training.conftest import World


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained a little, on a set whose test pictures are large JPEGs, shrunk while they are decoded."""
    runs = tmp_path_factory.mktemp("runs")
    assert (
        main(world.arguments("fit", runs, "--trainer.max_epochs", "1", "--pictures.count", "0"))
        == 0
    )
    return runs


@pytest.mark.parametrize("flip", [False, True])
def test_predict_then_evaluate_gives_the_ap_of_test(
    world: World, trained: Path, tmp_path: Path, flip: bool
) -> None:
    write_coco(tmp_path, images=7, instances=2, size=(400, 300), missing=0.6, seed=5)
    truth = tmp_path / "annotations.json"
    content = json.loads(truth.read_text())
    for image in content["images"]:
        import cv2

        png = tmp_path / "images" / image["file_name"]
        image["file_name"] = image["file_name"].replace(".png", ".jpg")
        cv2.imwrite(str(png.with_suffix(".jpg")), cv2.imread(str(png)))
        png.unlink()
    content["annotations"][3] |= {"keypoints": [0] * 51, "num_keypoints": 0}
    content["annotations"] = (
        content["annotations"][1::2] + content["annotations"][::2]
    )  # not by picture
    truth.write_text(json.dumps(content))
    tested = world.arguments(
        *("test", trained, "--data.test.annotations", str(truth), "--data.test.images"),
        *(str(tmp_path / "images"), "--model.flip_test", str(flip).lower()),
    )
    assert main(tested) == 0
    expected = json.loads((trained / "small" / "metrics.json").read_text())["test"]

    out = tmp_path / "out"
    command = ["predict", str(tmp_path / "images"), "--adapter", str(trained / "small" / "adapter")]
    command += ["--boxes", str(truth), "--out", str(out), "--overlays", "none", "--batch-size", "3"]
    assert main([*command, "--flip-test" if flip else "--no-flip-test"]) == 0
    source = CocoKeypoints(truth, None, skeleton=AP10K)
    scores = evaluate(out / "results.json", source.ground_truth(), AP10K).scores
    for name in (*STATS, "AP pooled", "PCK@0.1", "PCK@0.05"):
        assert scores[name] == pytest.approx(expected[name], abs=0, nan_ok=True) or (
            np.isnan(scores[name]) and expected[name] is None
        ), name

    ours = {r["annotation_id"]: r for r in json.loads((out / "results.json").read_text())}
    theirs = json.loads((trained / "small" / "results-test.json").read_text())
    assert ours.keys() == {r["annotation_id"] for r in theirs}
    for r in theirs:
        mine = ours[r["annotation_id"]]
        np.testing.assert_allclose(mine["keypoints"], r["keypoints"], rtol=1e-4, atol=1e-3)
        assert mine["image_id"] == r["image_id"]
        assert mine["category_id"] == r["category_id"]
