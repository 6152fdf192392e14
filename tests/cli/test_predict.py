from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genloc.adapter import save_adapter
from genloc.cli import main
from genloc.conditions import TextCondition
from genloc.media import Video
from genloc.models import GenLoc, Prior
from genloc.skeleton import AP10K
from tests.make_adapter import write_adapter
from tests.make_coco import write_coco
from tests.make_prior import write_folder
from tests.media.clips import write_clip

pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_coco(folder, images=4, instances=2)
    return folder


def test_a_folder_becomes_json_csv_and_pictures(
    adapter: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["predict", str(pictures / "images"), "--adapter", str(adapter), "--out", str(out)]
    assert main([*command, "--heatmaps", "--overlays", "png"]) == 0
    printed = capsys.readouterr().out
    for name in ("results.json", "keypoints.csv", "overlays"):
        assert str(out / name) in printed
    assert len(json.loads((out / "results.json").read_text())) == 4
    table = pandas.read_csv(out / "keypoints.csv", header=[0, 1, 2], index_col=0)
    assert list(table.index) == ["0001.png", "0002.png", "0003.png", "0004.png"]
    assert len(list((out / "overlays").iterdir())) == 4

    before = (out / "results.json").read_bytes()
    assert main([*command, "--heatmaps", "--overlays", "png"]) == 0  # nothing left to do
    assert (out / "results.json").read_bytes() == before
    assert main([*command, "--flip-test"]) == 2
    assert (
        "flip_test was False, is True. Give another --out, or --restart" in capsys.readouterr().err
    )
    assert main([*command, "--flip-test", "--restart", "--overlays", "none"]) == 0
    assert (out / "results.json").read_bytes() != before
    assert not (out / "overlays").exists()


def test_a_flip_test_without_known_pairs_is_off_with_a_word(pictures: Path, tmp_path: Path) -> None:
    names = tuple(f"k{i}" for i in range(17))
    mouse = replace(AP10K, name="mouse", keypoints=names, flip_pairs=())
    adapter = write_adapter(tmp_path, skeleton=mouse)
    command = ["predict", str(pictures / "images"), "--adapter", str(adapter), "--overlays", "none"]
    assert main([*command, "--out", str(tmp_path / "plain")]) == 0
    with pytest.warns(UserWarning, match="flip_test: off, as no flip pairs of 'mouse' are known"):
        assert main([*command, "--out", str(tmp_path / "flip"), "--flip-test"]) == 0
    plain, flip = ((tmp_path / out / "results.json").read_bytes() for out in ("plain", "flip"))
    assert plain == flip


def test_a_video_with_tracking_becomes_a_video(adapter: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "mouse.mp4", 12)
    out = tmp_path / "out"
    command = ["predict", str(clip), "--adapter", str(adapter), "--out", str(out), "--track"]
    assert main(command) == 0
    assert len(list(Video(out / "mouse_labelled.mp4").frames())) == 12
    table = pandas.read_csv(out / "keypoints.csv", header=[0, 1, 2], index_col=0)
    assert list(table.index) == list(range(12))
    assert np.isfinite(table.to_numpy()).all()


def test_an_input_of_which_nothing_can_be_read(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    command = ["predict", str(tmp_path / "a.png"), "--adapter", str(adapter), "--out"]
    assert main([*command, str(tmp_path / "out")]) == 2
    assert "none of its 1 frames can be read" in capsys.readouterr().err


def test_results_go_to_a_folder_named_after_the_input(
    adapter: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    glob = str(pictures / "images" / "*1.png")
    assert main(["predict", glob, "--adapter", str(adapter), "--overlays", "none"]) == 0
    assert (tmp_path / "predictions" / "images" / "results.json").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--adapter", "none"], "no adapter: there is no folder"),
        (["--adapter", "{adapter}", "--boxes", "none.csv"], "boxes: no file"),
        (["--adapter", "{adapter}", "--boxes", "none.json"], "none.json"),
        (["--adapter", "{adapter}", "--batch-size", "0"], "batch_size is 0"),
        (
            ["--adapter", "{adapter}", "--detector", "/none/there"],
            "detector: '/none/there' cannot be",
        ),
        (["--adapter", "{adapter}", "--prior", "/none"], "no weights for the prior source='/none'"),
        (
            ["--adapter", "{adapter}", "--ask", "a nose"],
            "LearnedCondition, made for its own keypoints",
        ),
        (["--adapter", "{adapter}", "--tokenizer", "words"], "give --prior as well"),
        (["--adapter", "{adapter}", "--device", "foo"], "device='foo': expected auto, cpu, cuda"),
        pytest.param(
            ["--adapter", "{adapter}", "--device", "cuda"],
            "sees no CUDA device here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_a_mistake_is_one_line(
    adapter: Path,
    pictures: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["predict", str(pictures / "images"), "--out", str(tmp_path / "out")]
    assert main(command + [word.replace("{adapter}", str(adapter)) for word in more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("genloc predict: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_asked_by_words(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = write_folder(tmp_path / "prior")
    model = GenLoc(Prior(str(prior)), context="null").load()
    condition = TextCondition().build(AP10K, 24, model.prior.text)
    recipe = {"crop_size": 64, "padding": 1.25, "decoding": "centroid"}
    adapter = save_adapter(
        tmp_path / "a", model=model, condition=condition, skeleton=AP10K, recipe=recipe, metrics={}
    )
    out = tmp_path / "out"
    command = ["predict", str(pictures / "images"), "--adapter", str(adapter), "--out", str(out)]
    command += ["--overlays", "none", "--ask", "the left front paw"]
    assert main([*command, "--ask", "the tail"]) == 0
    table = pandas.read_csv(out / "keypoints.csv", header=[0, 1, 2], index_col=0)
    assert set(table.columns.get_level_values(1)) == {"the left front paw", "the tail"}
    assert main(command) == 2, "other phrases are other results"
    with pytest.warns(UserWarning, match="never read: pwa;"):
        main([*command, "--ask", "the left front pwa"])
    assert "Give another --out, or --restart" in capsys.readouterr().err
    tokenizer = str((prior / "tokenizer").rename(tmp_path / "words"))
    assert main([*command, "--restart"]) == 2
    assert "or --tokenizer" in capsys.readouterr().err
    more = ["--prior", str(prior), "--tokenizer", tokenizer]
    assert main([*command, "--restart", *more]) == 0
    assert main([*command, *more[:-1], str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert f"tokenizer: no folder {tmp_path / 'none'}" in error and "Traceback" not in error


def test_without_an_adapter_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["predict", "pictures"])
    assert end.value.code == 2
    assert "--adapter" in capsys.readouterr().err


def test_sigterm_stops_with_a_word_and_the_same_command_goes_on(
    adapter: Path, tmp_path: Path, repository: Path
) -> None:
    clip = write_clip(tmp_path / "mouse.mp4", 150)
    out = tmp_path / "out"
    command = ["predict", str(clip), "--adapter", str(adapter), "--out", str(out), "--track"]
    child = subprocess.Popen(
        [sys.executable, "-m", "genloc", *command],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    )
    journal, deadline = out / "predictions.jsonl", time.monotonic() + 240
    while time.monotonic() < deadline and child.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 143
    assert "of 150 frames are in" in said
    kept = journal.read_bytes()
    assert 3 < kept.count(b"\n") < 151
    assert not (out / "results.json").exists()
    assert not list((out / "mouse_labelled.mp4.parts").glob("*.part"))
    assert main([*command, "--overlays", "none"]) == 0
    assert journal.read_bytes().startswith(kept)
    assert len(json.loads((out / "results.json").read_text())) == 150
