"""How long a cell takes: as measured where one like it has run, else by the speeds in the definitions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tools.tables.definitions import METHODS
from tools.tables.job import FIT, KEPT, Job

START = 8.0  # seconds of a command before its first crop
FORWARD = 3.0  # crops evaluated in the time of one that is trained on
SIDE = 128  # pixels of the crops that the definitions' speeds are of


class Speeds:
    """Crops trained on in a second, by what `Training.speed_as` says.

    Args:
        runs: folder of the cells that have run.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.measured: dict[str, float] = {}
        self.read()

    def read(self) -> None:
        """Look again at what has been measured."""
        found: dict[str, list[tuple[float, float]]] = {}
        for path in sorted(self.runs.glob(f"*/{FIT}")):
            fit = json.loads(path.read_text(encoding="utf-8"))
            # Not of a training that was interrupted, or that ran elsewhere.
            if fit.get("seconds") and not fit.get(KEPT):
                crops = fit["crops"] + fit["val_crops"] / FORWARD
                found.setdefault(fit["speed_as"], []).append((crops, fit["seconds"]))
        self.measured = {
            name: sum(c for c, _ in pairs) / sum(s for _, s in pairs)
            for name, pairs in found.items()
        }

    def known(self, job: Job) -> bool:
        """Whether such a training has been measured."""
        return job.training.speed_as in self.measured

    def speed(self, job: Job) -> float:
        """Crops trained on in a second, by one process."""
        if self.known(job):
            return self.measured[job.training.speed_as]
        side = int(job.training.speed_as.split()[-2])
        return METHODS[job.training.about["method"]].speed * (SIDE / side) ** 2

    def seconds(self, job: Job) -> float:
        """Of what is left of a job; a training that was interrupted counts whole."""
        speed = self.speed(job)
        total = 0.0
        if not job.trained():
            total += (job.training.crops + job.training.val_crops / FORWARD) / speed
            total += 0 if self.known(job) else START
        return total + sum(START / 2 + test.crops / (FORWARD * speed) for test in job.left())


def spoken(seconds: float) -> str:
    """3 s, 12 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def whole(jobs: Iterable[Job], speeds: Speeds, slots: int) -> float:
    """Seconds until all jobs are done on so many devices."""
    each = [speeds.seconds(job) for job in jobs if not job.done()]
    return max(sum(each) / slots, max(each, default=0.0))
