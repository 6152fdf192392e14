"""The quickstart from end to end: AP, seconds and memory.

    python -m benchmarks.quickstart [further arguments of tools/quickstart]

Runs `bash tools/quickstart` as shipped, in an empty folder laid out as a clone and with the environment at hand
(installing is not measured), and reads the memory of all its processes while it runs. The table goes to
`benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ops.measure import hardware, memory_in_use
from benchmarks.report import write

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
COLUMNS = ("AP", "AP50", "AP75", "PCK@0.1")
RUN = Path("runs", "quickstart")
WRITTEN = ("metrics.json", "adapter/genloc.yaml", "overlays.png")


@dataclass(frozen=True)
class Outcome:
    """metrics: of the test set, with the mean pose's and the protocol. seconds: of each part, and of "all".
    peak: most bytes in memory. output: what was printed."""

    metrics: dict[str, Any]
    seconds: dict[str, float]
    peak: int
    output: str


def lay_out(folder: Path) -> Path:
    """Make a folder look like a clone with its environment."""
    for name in ("genloc", "configs", "tools", "pyproject.toml", "README.md", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def descendants(process: int) -> list[int]:
    """A process and all that it has started, as ids; Linux."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory_of(process: int) -> int:
    """Bytes of a process and all that it has started, what they share counted once where the system says; Linux."""
    total = 0
    for one in descendants(process):
        with contextlib.suppress(OSError, StopIteration):
            try:
                lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
                total += next(int(x.split()[1]) * 1024 for x in lines if x.startswith("Pss:"))
            except PermissionError:
                total += memory_in_use(process=one)
    return total


def run(folder: Path, arguments: Sequence[str] = ()) -> Outcome:
    """Run it in a folder of `lay_out`.

    Raises:
        RuntimeError: it failed, or did not write what it should; with the end of what it said.
    """
    environment = {
        k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "GENLOC_VENV")
    }
    environment |= {"GENLOC_INSTALL": "no", "PYTHONPATH": str(ROOT)}
    peak, log, began = 0, folder / "output.txt", time.time()
    with log.open("w") as output:
        command = ["bash", "tools/quickstart", *arguments]
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as process:
            while process.poll() is None:
                peak = max(peak, memory_of(process.pid))
                time.sleep(0.2)
    ended, said = time.time(), log.read_text(encoding="utf-8", errors="replace")
    lacking = [name for name in WRITTEN if not (folder / RUN / name).is_file()]
    if process.returncode or lacking:
        what = f"did not write {', '.join(lacking)}" if lacking else "failed"
        raise RuntimeError(f"tools/quickstart {what} (exit {process.returncode}): {said[-3000:]}")
    drawn = max(began, (folder / RUN / "zoo/annotations/ap10k-test-split1.json").stat().st_mtime)
    trained = (folder / RUN / "adapter/genloc.yaml").stat().st_mtime
    seconds = {
        "zoo": drawn - began,
        "training": trained - drawn,
        "evaluation": ended - trained,
        "all": ended - began,
    }
    metrics = json.loads((folder / RUN / "metrics.json").read_text(encoding="utf-8"))["test"]
    return Outcome(metrics, seconds, peak, said)


def lines_of(outcome: Outcome, arguments: Sequence[str]) -> list[str]:
    """The table in Markdown, with how it was made."""
    rows = {
        "GenLoc from the tiny prior": outcome.metrics,
        "mean pose": outcome.metrics["mean_pose"],
    }
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in outcome.seconds.items())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        "# The quickstart, from end to end",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        "| --- |" + " ---: |" * len(COLUMNS),
        *(
            f"| {name} | {' | '.join(f'{100 * scores[c]:.1f}' for c in COLUMNS)} |"
            for name, scores in rows.items()
        ),
        "",
        f"- `{' '.join(['bash tools/quickstart', *arguments])}`, without making the environment: {spent}",
        f"- most memory of all its processes together, read five times a second: {outcome.peak / 2**20:.0f} MiB",
        f"- {hardware('cpu')}, {cores} cores; {outcome.metrics['instances']} test animals, one seed",
        *(f"- {line}" for line in outcome.metrics["protocol"]),
    ]


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    a, arguments = parser.parse_known_args(given)
    with tempfile.TemporaryDirectory() as name:
        outcome = run(lay_out(Path(name)), arguments)
    content = {
        "arguments": arguments,
        "seconds": outcome.seconds,
        "peak_bytes": outcome.peak,
        "test": outcome.metrics,
    }
    write(a.out, "quickstart", "cpu", lines_of(outcome, arguments), content)


if __name__ == "__main__":
    main()
