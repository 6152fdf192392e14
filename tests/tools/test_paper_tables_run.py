"""Tables are made from end to end in their quick form, and a killed one loses nothing that was done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.make_prior import write_folder
from tools.paper_tables import main
from tools.tables.definitions import METHODS, TABLES
from tools.tables.job import FIT, Job
from tools.tables.session import Session

REPOSITORY = Path(__file__).resolve().parents[2]
ZOO_TABLES = [name for name, table in TABLES.items() if "zoo" in table.columns]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of this file: tables share trainings, as they do for a person."""
    folder = tmp_path_factory.mktemp("tables")
    write_folder(folder / "prior")
    return folder


def quick(folder: Path, table: str, *more: str) -> list[str]:
    return [
        *("--table", table, "--on", "zoo", "--quick", "--processes", "2"),
        *("--runs", str(folder / "runs"), "--prior", str(folder / "prior")),
        *more,
    ]


def make(folder: Path, table: str, *more: str) -> dict:
    """A quick table's json."""
    assert main(quick(folder, table, *more)) == 0
    written = folder / "runs" / "quick" / "results" / f"table_{table}_zoo"
    assert written.with_suffix(".png").stat().st_size > 5000
    assert "QUICK FORM" in written.with_suffix(".md").read_text()
    content = json.loads(written.with_suffix(".json").read_text())
    assert content["missing"] == 0
    assert content["rows"][-1] == "mean pose"
    return content


def test_a_table_of_a_rival_is_made_and_made_again_without_training(folder: Path) -> None:
    rows = ("--rows", "ViT", "SimplePose")
    content = make(folder, "2", *rows)
    assert content["rows"] == ["SimplePose", "ViT", "mean pose"]
    cells = folder / "runs" / "quick"
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("zoo-*/**/*.json")}
    assert len([path for path in kept if path.name == FIT]) == 2
    make(folder, "2", *rows)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # What it has measured is what the next dry run says.
    assert main(quick(folder, "2", *rows, "--dry-run")) == 0


def test_finished_cells_go_along_with_the_results(folder: Path, tmp_path: Path) -> None:
    rows = ("--rows", "ViT", "SimplePose")
    made = make(folder, "2", *rows)
    elsewhere = tmp_path / "runs" / "quick"
    results = folder / "runs" / "quick" / "results"
    shutil.copytree(results, elsewhere / "results")
    shutil.copytree(results.parent / "zoo", elsewhere / "zoo")
    again = make(tmp_path, "2", *rows, "--prior", str(folder / "prior"))
    assert again == made
    assert not list(elsewhere.glob("**/*.ckpt"))  # nothing was trained
    # A test that was not done needs the weights, which did not come along: that cell is trained again.
    (metrics,) = elsewhere.glob("zoo-vit-*/tests/*/metrics.json")
    metrics.unlink()
    (elsewhere / "results" / "table_2_zoo.json").unlink()
    scores = make(tmp_path, "2", *rows, "--prior", str(folder / "prior"))["values"]
    assert scores == made["values"]
    assert [path.parents[1].name.split("-")[1] for path in elsewhere.glob("**/best.ckpt")] == [
        "vit"
    ]


def test_a_table_that_is_stopped_writes_what_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ("--rows", "ViT", "SimplePose")
    made = make(folder, "2", *rows)
    written = folder / "runs" / "quick" / "results" / "table_2_zoo.json"
    written.unlink()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.tables.session.Pool.run", stop)
    real = Session._run_jobs
    calls: list[str] = []

    def first_alone(self: Session, jobs: Sequence[Job], title: str) -> list[str]:
        calls.append(title)
        return [] if title == "rates" else real(self, jobs, title)

    monkeypatch.setattr(Session, "_run_jobs", first_alone)
    assert main(quick(folder, "2", *rows)) == 130
    assert calls == ["rates", "table 2"]
    assert json.loads(written.read_text())["values"] == made["values"]


def test_a_file_that_is_no_result_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wrong = tmp_path / "runs" / "quick" / "results" / "table_2_zoo.json"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("[1, 2")
    assert main(quick(tmp_path, "2", "--prior", str(folder / "prior"), "--dry-run")) == 2
    assert "table_2_zoo.json is no result of a table" in capsys.readouterr().err


# Every method and every part of it once; the other rows have these on other data, or other numbers in the same
# places. All rows of all tables are made by the slow test below, with `tools/test --all`.
FEW_ROWS = {
    "1": tuple(row.label for row in TABLES["1"].rows),
    "2": tuple(row.label for row in TABLES["2"].rows),
    "4": ("GenLoc",),
    "5": ("GenLoc", "SimplePose"),
    "6": ("GenLoc", "SimplePose"),
    "words": ("GenLoc, by words", "GenLoc, by words, text encoder learning"),
    "choices": ("as configured", "layers: mean", "decoding: argmax"),
}


@pytest.mark.parametrize("table", FEW_ROWS)
def test_some_rows_of_each_table_are_made(folder: Path, table: str) -> None:
    content = make(folder, table, "--rows", *FEW_ROWS[table])
    assert content["rows"] == [*FEW_ROWS[table], "mean pose"]
    (started,) = [fact for fact in content["facts"] if fact.startswith("started: ")]
    assert ("SimplePose" in started) == ("SimplePose" in FEW_ROWS[table])


def test_every_method_is_among_them() -> None:
    made = {
        row.method
        for name, rows in FEW_ROWS.items()
        for row in TABLES[name].rows
        if row.label in rows
    }
    assert made == METHODS.keys()
    overlays = {o for table in TABLES.values() for row in table.rows for o in row.overlays}
    assert overlays == {
        o
        for name, rows in FEW_ROWS.items()
        for row in TABLES[name].rows
        if row.label in rows
        for o in row.overlays
    }


def test_people_in_photographs(real_data: Path, folder: Path) -> None:
    """Table 3, on what there is of COCO."""
    arguments = [*quick(folder, "3", "--root", str(real_data / "coco_mini")), "--rows", "ViT"]
    arguments[arguments.index("zoo")] = "coco"
    assert main(arguments) == 0
    content = json.loads((folder / "runs/quick/results/table_3_coco.json").read_text())
    assert content["rows"][:2] == ["ViT", "mean pose"] and content["missing"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("table", ZOO_TABLES)
def test_every_row_of_a_table_trains_and_is_tested(folder: Path, table: str) -> None:
    content = make(folder, table)
    assert content["rows"][:-1] == [row.label for row in TABLES[table].rows]
    for row in content["rows"]:
        assert len(content["values"][row]) == len(content["columns"])


def test_a_failed_cell_is_named_and_the_others_are_made(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text("data: {test: {images: nowhere}}\n")
    rows = ("--rows", "ViT", "--seeds", "5", "--config", str(overlay))
    assert main(quick(folder, "2", *rows)) == 1
    said = capsys.readouterr().out
    assert "nowhere" in said and "log.txt" in said
    assert "Not complete: 1 cells" in said
    # The training was not at fault: it is kept, and mended tests use it.
    overlay.write_text("{}\n")
    before = {p: p.stat().st_mtime_ns for p in (folder / "runs" / "quick").glob(f"zoo-*/{FIT}")}
    assert main(quick(folder, "2", *rows)) == 0
    after = {p: p.stat().st_mtime_ns for p in (folder / "runs" / "quick").glob(f"zoo-*/{FIT}")}
    assert after == before


@pytest.mark.slow
def test_a_killed_table_goes_on_exactly_and_keeps_what_was_done(
    folder: Path, tmp_path: Path
) -> None:
    overlay = tmp_path / "often.yaml"
    overlay.write_text("checkpoints: {every_n_steps: 1}\n")
    rows = ("--rows", "ViT", "--seeds", "1", "2", "--steps", "60", "--config", str(overlay))
    runs = tmp_path / "runs"

    def command(runs: Path) -> list[str]:
        words = quick(folder, "2", *rows)
        words[words.index("--runs") + 1] = str(runs)
        words[words.index("--processes") + 1] = "1"
        return [sys.executable, str(REPOSITORY / "tools" / "paper_tables.py"), *words]

    def start(runs: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(runs), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, cwd=tmp_path,
        )  # fmt: skip

    cells = runs / "quick"
    first = start(runs)
    try:
        # One cell is over and the other is in the middle: its second checkpoint is there.
        until(first, lambda: len(list(cells.glob("zoo-*/tests/*/metrics.json"))) == 1)
        done = {p: p.stat().st_mtime_ns for p in cells.glob("zoo-*/**/*.json")}
        until(first, lambda: len(list(cells.glob("zoo-*/checkpoints/last.ckpt"))) == 1)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    (open_cell,) = [c for c in cells.glob("zoo-*") if not (c / FIT).is_file()]
    assert (open_cell / "checkpoints" / "last.ckpt").is_file()
    time.sleep(0.5)  # until the kernel has let go of the lock

    again = subprocess.run(command(runs), capture_output=True, text=True, cwd=tmp_path, timeout=900)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in done} == done
    resumed = json.loads((open_cell / FIT).read_text())
    assert resumed["seconds"] is None  # an interrupted training measures no speed
    assert "--ckpt_path last" in (open_cell / "log.txt").read_text()

    # Exactly as if it had never been stopped.
    whole = subprocess.run(
        command(tmp_path / "whole"), capture_output=True, text=True, cwd=tmp_path, timeout=900
    )
    assert whole.returncode == 0, whole.stdout[-3000:] + whole.stderr[-3000:]
    for path in sorted(cells.glob("zoo-*/tests/*/results-test.json")):
        twin = tmp_path / "whole" / "quick" / path.relative_to(cells)
        assert json.loads(path.read_text()) == json.loads(twin.read_text())


def until(process: subprocess.Popen[str], true: object, seconds: float = 900) -> None:
    """Wait for something that a process does."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        if process.poll() is not None:
            assert process.stdout is not None
            pytest.fail(f"it ended before it could be killed: {process.stdout.read()[-3000:]}")
        if time.monotonic() > end:
            pytest.fail("it took too long")
        time.sleep(0.02)


@pytest.mark.slow
def test_two_calls_share_the_work_and_do_not_disturb_each_other(
    folder: Path, tmp_path: Path
) -> None:
    from tools.tables.job import BUSY

    words = quick(folder, "2", "--rows", "ViT", "--seeds", "7")
    words[words.index("--runs") + 1] = str(tmp_path)
    tool = [sys.executable, str(REPOSITORY / "tools" / "paper_tables.py"), *words]
    (tmp_path / "quick").mkdir()
    both = [
        subprocess.Popen(tool, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=900)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    (log,) = tmp_path.glob("quick/zoo-*/log.txt")
    assert log.read_text().count("$ genloc fit") == 1, f"{BUSY}: the second one waits"
