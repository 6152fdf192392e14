"""One cell in a process of its own: `genloc fit`, then each `genloc test`; what is done already is skipped.

Everything a process leaves is a file that appears whole: `fit.json` says that the training is over, a
`metrics.json` below `tests/` that a test is. So a process may be killed at any moment, and the next one goes on
from the last checkpoint. The folder is locked for as long as a process works in it.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tools.tables import devices
from tools.tables.cell import Test, Training
from tools.tables.recipe import write_overlay

BUSY = 75  # exit status: another process works in this folder (EX_TEMPFAIL)
FIT, METRICS, LOG, LOCK = "fit.json", "metrics.json", "log.txt", "lock"
KEPT = "kept"
"""In `fit.json`: it was laid back from a result (`kept.py`), and no weights here are those it speaks of."""


@dataclass(frozen=True)
class Job:
    """A training with all of its tests, and where it is kept: `<runs>/<name of the training>/`."""

    training: Training
    tests: tuple[Test, ...]
    runs: Path

    def __hash__(self) -> int:
        return hash(self.training.name)

    @property
    def folder(self) -> Path:
        return self.runs / self.training.name

    def metrics(self, test: Test) -> Path:
        """Where a test's numbers are."""
        return self.folder / "tests" / test.name / METRICS

    def fitted(self) -> dict[str, Any] | None:
        """What `fit` left, None where it is not over."""
        path = self.folder / FIT
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def weights(self) -> Path:
        """The best checkpoint, or the last where none was chosen."""
        best = self.folder / "checkpoints" / "best.ckpt"
        return best if best.is_file() else best.with_name("last.ckpt")

    def trained(self) -> bool:
        """Whether no training is left to do: it is over, and its weights are there if a test needs them."""
        fit = self.fitted()
        if fit is None or not self.left():
            return fit is not None
        return not fit.get(KEPT) and self.weights().is_file()

    def left(self) -> list[Test]:
        """Tests that are not done."""
        return [test for test in self.tests if not self.metrics(test).is_file()]

    def done(self) -> bool:
        return self.fitted() is not None and not self.left()

    def fit_arguments(self) -> list[str]:
        """Of `genloc fit`, but for going on or starting again."""
        configs = (*self.training.files, str(self.folder / "cell.yaml"))
        named = [word for file in configs for word in ("--config", str(file))]
        return [*named, "--runs", str(self.runs), "--name", self.training.name]

    def test_arguments(self, test: Test) -> list[str]:
        """Of `genloc test`."""
        folder = self.folder / "tests" / test.name
        configs = (*self.training.files, self.folder / "cell.yaml", folder / "test.yaml")
        named = [word for file in configs for word in ("--config", str(file))]
        where = ["--runs", str(folder.parent), "--name", test.name]
        return [*named, *where, "--ckpt_path", str(self.weights())]


def run(job: Job, device: str, threads: int) -> None:
    """Do what is left of a job. The body of a process: it ends with an exit status.

    Args:
        job: what to do.
        device: of `devices.slots`.
        threads: of torch on the CPU.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    lock = (job.folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(BUSY)
    with (job.folder / LOG).open("a", encoding="utf-8") as log:
        _talk_to(log)
        _use(device, threads)
        _fit(job, device)
        for test in job.left():
            _test(job, test)


def _talk_to(log: TextIO) -> None:
    """Everything this process and its children say goes into the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115


def _use(device: str, threads: int) -> None:
    devices.use(device)
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _command(arguments: Sequence[str]) -> None:
    """A command of genloc in this process; ends it where the command fails."""
    from genloc.cli import main

    print(f"$ genloc {' '.join(arguments)}", flush=True)
    status = main(arguments)
    if status:
        sys.exit(status)


def _fit(job: Job, device: str) -> None:
    if job.trained():
        return
    if (job.fitted() or {}).get(KEPT):
        # What is trained now is another net than those numbers are of.
        (job.folder / FIT).unlink()
        shutil.rmtree(job.folder / "tests", ignore_errors=True)
    write_overlay(job.folder / "cell.yaml", job.training.facts)
    last = job.folder / "checkpoints" / "last.ckpt"
    goes_on = last.is_file()
    began = time.monotonic()
    _command(
        ["fit", *job.fit_arguments(), *(["--ckpt_path", "last"] if goes_on else ["--overwrite"])]
    )
    seconds = time.monotonic() - began
    best = last.with_name("best.ckpt")
    from genloc.training.resume import read_checkpoint

    val = read_checkpoint(best)["metrics"] if best.is_file() else {}
    import torch

    write_json(
        job.folder / FIT,
        {
            **job.training.about,
            "val": {k: v for k, v in val.items() if v == v},
            "seconds": None if goes_on else round(seconds, 1),
            "threads": torch.get_num_threads(),
            "hardware": hardware(device),
            "date": datetime.date.today().isoformat(),
            "speed_as": job.training.speed_as,
            "crops": job.training.crops,
            "val_crops": job.training.val_crops,
            "command": ["genloc", "fit", *job.fit_arguments()],
        },
    )
    if best.is_file():
        last.unlink(
            missing_ok=True
        )  # it holds the optimiser's state as well, which nothing needs any more


def _test(job: Job, test: Test) -> None:
    folder = job.folder / "tests" / test.name
    folder.mkdir(parents=True, exist_ok=True)
    write_overlay(folder / "test.yaml", test.facts)
    _command(["test", *job.test_arguments(test)])


def hardware(device: str) -> str:
    """What a cell runs on, in words.

    Args:
        device: "cpu", or anything else for the CUDA device that torch sees.
    """
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores"


def write_json(path: Path, content: Any) -> None:
    """The file appears whole or not at all."""
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same; whoever else writes it at that moment has a part of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(part, 0o644)  # as a file that is simply opened
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)
