from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from genloc import __version__
from genloc.cli import COMMANDS, main
from tests.make_coco import write_coco


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in shown
        assert command.__doc__
        assert command.__doc__ in shown
    # the two commands that it ends with go together
    zoo, fit = (line.split() for line in shown.strip().splitlines()[-2:])
    config = yaml.safe_load((Path(__file__).parents[1] / fit[-1]).read_text(encoding="utf-8"))
    assert zoo == ["genloc", "zoo", config["data"]["root"]]
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--help"]] + [[name, "--help"] for name in ("evaluate", "zoo", "import", "check")],
)
def test_help_comes_in_under_a_second_without_torch(repository: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom genloc.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'lightning', 'diffusers', 'cv2', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    times = []
    for _ in range(3):  # the least of three: other work on the machine must not fail this
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True
        )
        times.append(time.monotonic() - began)
        assert done.returncode == 0, done.stderr
        assert "usage" in done.stdout
    assert min(times) < 1


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tarin"]) == 2
    error = capsys.readouterr().err
    assert "'tarin'" in error
    assert "fit, validate, test" in error


def test_our_errors_are_a_line_and_others_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "none.json", "none.json", "--skeleton", "zebra"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("genloc evaluate: ")
    assert "zebra" in error
    assert "Traceback" not in error

    def broken(arguments: object) -> None:
        json.loads("{")  # a ValueError that the package did not raise

    monkeypatch.setitem(COMMANDS, "evaluate", broken)
    with pytest.raises(ValueError, match="Expecting"):
        main(["evaluate"])


def test_what_the_system_refuses_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for arguments in (
        ["check", str(tmp_path)],
        ["split", "few-shot", str(tmp_path), "--shots", "1", "--out", str(tmp_path / "s.json")],
        ["zoo", str(tmp_path / "file"), "--per-species", "3"],
    ):
        assert main(arguments) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert said.startswith(f"genloc {arguments[0]}: ") and str(tmp_path) in said


def test_the_zoo_is_not_drawn_over_other_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_coco(tmp_path / "annotations", name="ap10k-val-split1.json")
    before = labels.read_bytes()
    assert main(["zoo", str(tmp_path), "--per-species", "3"]) == 2
    assert "holds other labels than the zoo's" in capsys.readouterr().err
    assert labels.read_bytes() == before and not (tmp_path / "data").exists()


@pytest.mark.parametrize("bodies", ["quadrupeds", "all"])
def test_pictures_too_small_for_an_animal_are_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bodies: str
) -> None:
    out = tmp_path / "zoo"
    assert main(["zoo", str(out), "--size", "5", "--per-species", "5", "--bodies", bodies]) == 2
    assert "genloc zoo: size is 5; give --size 32 or more" in capsys.readouterr().err
    assert not out.exists()


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLOC_TRACEBACK", "1")
    with pytest.raises((ValueError, FileNotFoundError)):
        main(["evaluate", "none.json", "none.json", "--skeleton", "zebra"])


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "zoo", interrupted)
    assert main(["zoo"]) == 130


def test_evaluate_scores_the_truth_as_perfect_and_writes_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write_coco(tmp_path, images=6)
    results = [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "keypoints": a["keypoints"],
            "score": 1.0,
            "annotation_id": a["id"],
        }
        for a in json.loads(truth.read_text())["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    arguments = ["evaluate", str(tmp_path / "results.json"), str(truth), "--skeleton", "ap10k"]
    assert main([*arguments, "--sigmas", "ap10k-legacy", "--out", str(tmp_path / "t.md")]) == 0
    printed = capsys.readouterr().out
    rows = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]
    (ours,), (pose,) = (
        [row for row in rows if row[0] == name] for name in ("results", "mean pose")
    )
    assert ours[1] == "100.0" and len(ours) == len(pose) == 10
    assert "mean pose: of these annotations" in printed
    written = (tmp_path / "t.md").read_text()
    assert "| results | 100.0 |" in written
    assert "ap10k-legacy" in written


def test_evaluate_says_what_the_reader_left_out_and_made_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(content: dict) -> None:
        rows = content["annotations"]
        rows[0]["bbox"] = [5, 5, 0, 0]
        rows[1]["iscrowd"] = 1
        rows[2]["image_id"] = 77
        del rows[3]["bbox"]

    truth = write_coco(tmp_path, images=6, change=change)
    keys = ("image_id", "category_id", "keypoints")
    rows = json.loads(truth.read_text())["annotations"]
    results = [{**{k: a[k] for k in keys}, "score": 1.0} for a in rows if a["image_id"] != 77]
    (tmp_path / "results.json").write_text(json.dumps(results))
    arguments = ["evaluate", str(tmp_path / "results.json"), str(truth), "--skeleton", "ap10k"]
    assert main([*arguments, "--out", str(tmp_path / "t.md")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for text in (said, (tmp_path / "t.md").read_text()):
        assert "1 (iscrowd)" in text
        assert "1 (image_id is not among images)" in text
        assert "1 annotations have no box: the extent" in text
        assert "1 annotations have a box without area" in text
        assert "| results | 100.0 |" in text or "results 100.0" in text


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        ({"score": "0.9"}, [], "result 2 (image 2): score is '0.9', expected a number"),
        ({"bbox": [1, 2]}, ["--nms", "0.9"], "bbox is [1, 2], expected a list of 4 numbers"),
        ({"image_id": [2]}, [], "result 2: image_id is [2], expected a number"),
        ({}, ["--nms", "-1"], "nms is -1.0, expected an OKS from 0 to 1"),
    ],
)
def test_evaluate_refuses_what_is_no_result_in_a_line(
    tmp_path: Path, change: dict, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write_coco(tmp_path, images=6)
    keys = ("image_id", "category_id", "keypoints")
    rows = json.loads(truth.read_text())["annotations"]
    results = [{**{k: a[k] for k in keys}, "score": 1.0} for a in rows]
    results[1] |= change
    (tmp_path / "results.json").write_text(json.dumps(results))
    arguments = ["evaluate", str(tmp_path / "results.json"), str(truth), "--skeleton", "ap10k"]
    assert main([*arguments, *more]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.slow
def test_zoo_draws_a_set_that_is_the_same_again(tmp_path: Path) -> None:
    for out in ("a", "b"):
        arguments = ["zoo", str(tmp_path / out), "--per-species", "3", "--size", "64"]
        assert main([*arguments, "--workers", "1" if out == "a" else "2"]) == 0
    first = sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(first) == 3 + 1 + 3 * 54  # annotations, the sheet, pictures
    for path in first:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()
