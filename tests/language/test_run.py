"""From `genloc fit` to a table, a page and a predictor: the same commands as for every other model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.cli import main
from genloc.language.saved import language_predictor
from tests.make_coco import write_coco
from tests.make_prior import write_folder
from tests.test_configs import CONFIGS, PRIOR


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, scored."""
    folder = tmp_path_factory.mktemp("run")
    write_folder(folder / "prior")
    (folder / "annotations").mkdir()
    for part in ("train", "val", "test"):
        write_coco(folder, images=4, name=f"annotations/ap10k-{part}-split1.json")
    (folder / "data").symlink_to(folder / "images", target_is_directory=True)
    decoder = "--model.model.init_args.decoder.init_args"
    arguments = [
        *("--config", str(CONFIGS / "language.yaml"), "--data.root", str(folder)),
        *(f"--{PRIOR}", str(folder / "prior"), "--runs", str(folder / "runs")),
        *("--data.crop_size", "64", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
        *("--trainer.max_epochs", "1", "--data.batch_size", "2", "--data.effective_batch", "2"),
        *(f"{decoder}.width", "16", f"{decoder}.heads", "2", f"{decoder}.layers", "2"),
        *("--trainer.enable_progress_bar", "false", "--data.views", "1"),
        *("--model.cache", str(folder / "cache"), "--model.keep", "outputs"),
        *("--trainer.check_val_every_n_epoch", "1"),
    ]
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments]) == 0
    return folder / "runs" / "language"


def test_it_leaves_what_every_run_leaves(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert "AP" in metrics and "mean_pose" in metrics
    told = "\n".join(metrics["protocol"])
    assert "of 68 held no coordinates" in told and "score of a keypoint" in told
    assert (run / "overlays.png").is_file() and (run / "adapter" / "language.yaml").is_file()
    kept = list((run.parent.parent / "cache").glob("outputs-*/*.safetensors"))
    assert len(kept) == 4
    assert main(["report", str(run)]) == 0


def test_its_adapter_predicts_what_was_tested(run: Path) -> None:
    folder = run.parent.parent
    records = json.loads((run / "results-test.json").read_text())
    truth = json.loads((folder / "annotations" / "ap10k-test-split1.json").read_text())
    one, label = records[0], truth["annotations"][0]
    assert one["annotation_id"] == label["id"]
    predictor = language_predictor(run / "adapter", device="cpu")
    found = predictor(folder / "images" / truth["images"][0]["file_name"], [label["bbox"]])
    expected = np.array(one["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(found.xy[0], expected[:, :2], atol=1e-3)
    np.testing.assert_allclose(found.scores[0], expected[:, 2], atol=1e-4)


def test_what_a_language_model_cannot_be_asked_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(run.parent.parent / "images"), "--adapter", str(run / "adapter")]
    assert main([*arguments, "--flip-test", "--out", str(run / "p")]) != 0
    assert "leave out --ask" in capsys.readouterr().err
    (run / "points.json").write_text('{"nose": [3, 4]}')
    for more in (["--points", str(run / "points.json")], ["--heatmaps"]):
        assert main([*arguments, *more, "--out", str(run / "p"), "--device", "cpu"]) == 2
        assert more[0] in capsys.readouterr().err.partition("leave out ")[2]
        assert not (run / "p").exists()
    assert main([*arguments, "--out", str(run / "p"), "--device", "cpu"]) == 0
    assert (run / "p" / "results.json").is_file()
