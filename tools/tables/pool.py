"""Jobs on the free devices, one process each, with progress over all of them and the time left."""

from __future__ import annotations

import multiprocessing
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from tools.tables.budget import Speeds, spoken
from tools.tables.job import BUSY, LOG, Job, run

PRELOADED = ["genloc.training.command", "genloc.models.baselines", "diffusers", "peft"]
EPOCH = re.compile(r"^epoch (\d+)/(\d+):", re.MULTILINE)
PAUSE = 0.3  # seconds between two looks at the processes
PATIENCE = 5.0  # seconds before a folder is tried again that another process works in


@dataclass
class _Running:
    job: Job
    slot: str
    process: Any
    began: float = field(default_factory=time.monotonic)


class Pool:
    """Runs jobs.

    Args:
        slots: one name for each process at once, of `devices.slots`.
        threads: of torch in each.
        speeds: for the time left.
    """

    def __init__(self, slots: Sequence[str], threads: int, speeds: Speeds) -> None:
        self.slots = list(slots)
        self.threads = threads
        self.speeds = speeds
        # Processes are forked from one that has imported everything: a cell starts at once.
        how = "forkserver" if sys.platform == "linux" else "spawn"
        self._context: Any = multiprocessing.get_context(how)
        if how == "forkserver":
            self._context.set_forkserver_preload(PRELOADED)

    def run(self, jobs: Sequence[Job], title: str) -> dict[Job, str]:
        """Do all jobs that are not done. Returns those that failed, with what their log says last.

        Raises:
            KeyboardInterrupt: on Ctrl-C and SIGTERM, after every process has saved and stopped.
        """
        waiting = sorted(
            (job for job in jobs if not job.done()), key=self.speeds.seconds, reverse=True
        )
        total = sum(map(self.speeds.seconds, waiting))
        free, failed = list(self.slots), {}
        running: list[_Running] = []
        later: dict[Job, float] = {}
        count = len(jobs) - len(waiting)
        if not waiting:
            return {}
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )  # fmt: skip
        earlier = signal.signal(signal.SIGTERM, _stop)
        began = time.monotonic()
        try:
            with Progress(*columns) as progress:
                bar = progress.add_task(title, total=len(jobs), completed=count, left="")
                lines: dict[Job, Any] = {}
                while waiting or running or later:
                    now = time.monotonic()
                    for job in [job for job, when in later.items() if when <= now]:
                        del later[job]
                        waiting.append(job)
                    while free and waiting:
                        job = waiting.pop(0)
                        running.append(self._start(job, free.pop()))
                        lines[job] = progress.add_task(
                            f"  {job.training.about['row']}, {job.training.about['trained on']}, seed "
                            f"{job.training.about['seed']}", total=1, left="",
                        )  # fmt: skip
                    for one in [r for r in running if not r.process.is_alive()]:
                        running.remove(one)
                        free.append(one.slot)
                        progress.remove_task(lines.pop(one.job))
                        one.process.join()
                        if one.process.exitcode == BUSY:
                            later[one.job] = now + PATIENCE
                            continue
                        if not one.job.done():
                            failed[one.job] = last_words(one.job, one.process.exitcode)
                            progress.console.print(f"failed: {failed[one.job]}", markup=False)
                        count += 1
                    left = sum(map(self.speeds.seconds, (*waiting, *later)))
                    for one in running:
                        epoch, of = progress_of(one.job)
                        progress.update(lines[one.job], completed=epoch, total=of)
                        left += self.speeds.seconds(one.job) * (1 - epoch / max(1, of))
                    # What this call has taken against what was expected of it corrects the rest.
                    done = total - left
                    if done > 0.02 * total:
                        left *= (now - began) * len(self.slots) / done
                    text = f"about {spoken(left / len(self.slots))} left"
                    if not progress.console.is_terminal and count > progress.tasks[0].completed:
                        progress.console.print(f"{title}: {count} of {len(jobs)} done, {text}")
                    progress.update(bar, completed=count, left=text)
                    time.sleep(PAUSE)
        except BaseException:
            self._end(running)
            raise
        finally:
            signal.signal(signal.SIGTERM, earlier)
        return failed

    def _start(self, job: Job, slot: str) -> _Running:
        process = self._context.Process(target=run, args=(job, slot, self.threads))
        process.start()
        return _Running(job, slot, process)

    def _end(self, running: Sequence[_Running]) -> None:
        """Ask every process to save and stop, and wait until it has."""
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.join()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def progress_of(job: Job) -> tuple[int, int]:
    """Epochs done and in all, by the job's log."""
    log = job.folder / LOG
    if job.fitted() is not None:
        return 1, 1
    if not log.is_file():
        return 0, 1
    found = EPOCH.findall(_tail(log))
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)


def last_words(job: Job, status: int | None) -> str:
    """The last line of a job's log that says something, and where the rest is."""
    log = job.folder / LOG
    lines = [line for line in _tail(log).splitlines() if line.strip()] if log.is_file() else []
    return f"{job.training.name} (exit status {status}): {lines[-1] if lines else 'nothing said'} [{log}]"


def _tail(path: Any, size: int = 8000) -> str:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - size))
        return file.read().decode("utf-8", "replace")
