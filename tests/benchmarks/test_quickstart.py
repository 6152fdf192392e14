"""The quickstart as shipped: what it finds, what it writes and how much memory it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import quickstart
from genloc.data.zoo import write_zoo

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="memory is read from /proc"
)
REDUCED = (
    *("--trainer.max_epochs", "1", "--data.crop_size", "64"),
    *("--data.num_workers", "0", "--trainer.enable_progress_bar", "false"),
)


HOLD = "import time; x = bytearray(b'1') * (300 * 2**20); print('held', flush=True); time.sleep(60)"
START = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


def test_memory_of_all_processes_is_counted() -> None:
    """300 MiB are held by a process that the one asked about has started."""
    command = [sys.executable, "-c", START]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        both, used = quickstart.descendants(process.pid), quickstart.memory_of(process.pid)
        for one in both:
            os.kill(one, signal.SIGKILL)
    assert len(both) == 2
    assert 300 * 2**20 < used < 400 * 2**20


def test_it_is_measured_from_end_to_end(tmp_path: Path) -> None:
    folder = quickstart.lay_out(tmp_path)
    write_zoo(folder / quickstart.RUN / "zoo", per_species=10, size=64, species=(1, 8), workers=1)
    outcome = quickstart.run(folder, REDUCED)
    seconds = outcome.seconds
    assert seconds["training"] > 0 and seconds["evaluation"] > 0 and seconds["zoo"] == 0
    assert seconds["all"] == pytest.approx(sum(seconds.values()) - seconds["all"])
    assert 2**28 < outcome.peak < 2**33
    text = "\n".join(quickstart.lines_of(outcome, REDUCED))
    for line in ("| mean pose |", "MiB", "prior has seen: drawn animals", "--trainer.max_epochs 1"):
        assert line in text, line
    assert str(tmp_path) not in text


def test_what_it_has_not_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"did not write metrics\.json, adapter/genloc\.yaml"):
        quickstart.run(quickstart.lay_out(tmp_path), ["--help"])


def test_its_results_are_written_with_the_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {"AP": 0.361, "AP50": 0.727, "AP75": 0.3, "PCK@0.1": 0.689}
    metrics = {**numbers, "mean_pose": dict.fromkeys(numbers, 0.1), "protocol": ["a line"]}
    asked: list[list[str]] = []

    def played(folder: Path, arguments: list[str]) -> quickstart.Outcome:
        asked.append(arguments)
        assert (folder / "tools" / "quickstart").is_file()
        return quickstart.Outcome(metrics | {"instances": 4}, {"all": 61.0}, 3 * 2**30, "")

    monkeypatch.setattr(quickstart, "run", played)
    quickstart.main(["--out", str(tmp_path), "--trainer.max_epochs", "2"])
    assert asked == [["--trainer.max_epochs", "2"]]
    (written,) = tmp_path.glob("quickstart_*_20??-??-??.md")
    text = written.read_text()
    for line in ("| GenLoc from the tiny prior | 36.1 |", "all 61 s", "3072 MiB", "- a line"):
        assert line in text, line
    assert json.loads(written.with_suffix(".json").read_text())["peak_bytes"] == 3 * 2**30


@pytest.mark.slow
def test_the_quickstart_leaves_the_mean_pose_far_behind_within_4_gib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    outcome = quickstart.run(quickstart.lay_out(tmp_path))
    found, pose = outcome.metrics, outcome.metrics["mean_pose"]
    with capsys.disabled():
        said = ", ".join(f"{name} {value:.0f} s" for name, value in outcome.seconds.items())
        print(
            f"\nquickstart: {time.monotonic() - began:.0f} s ({said}), {outcome.peak / 2**20:.0f} MiB, "
            f"AP {100 * found['AP']:.1f} (mean pose {100 * pose['AP']:.1f}), "
            f"PCK@0.1 {100 * found['PCK@0.1']:.1f} ({100 * pose['PCK@0.1']:.1f})"
        )
    # A net that has collapsed to the mean pose has its row's numbers.
    assert found["AP"] >= pose["AP"] + 0.25
    assert found["PCK@0.1"] >= pose["PCK@0.1"] + 0.35
    assert outcome.peak <= 4 * 2**30
    assert "mean pose" in outcome.output
    for name in (
        *quickstart.WRITTEN,
        "adapter/pytorch_lora_weights.safetensors",
        "results-test.json",
    ):
        assert (tmp_path / quickstart.RUN / name).stat().st_size > 0, name
