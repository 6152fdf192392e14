"""One call of the tool: rates first, then the cells, then what is written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table as RichTable

from tools.tables import budget, devices
from tools.tables.budget import Speeds, spoken
from tools.tables.cell import Cell, Options, Training
from tools.tables.data import Splits, draw_zoo, is_drawn
from tools.tables.definitions import METHODS, SETS
from tools.tables.job import Job
from tools.tables.kept import lay_back
from tools.tables.plan import CONFIGS, Planner
from tools.tables.pool import Pool
from tools.tables.results import Result, collect

UNSEEN = Path("runs/tiny_prior_without/prior")
HOW_UNSEEN = (
    "python tools/train_tiny_prior.py --without Canidae Equidae Felidae Cricetidae "
    f"--work {UNSEEN.parent} --out {UNSEEN}"
)


class Session:
    """Makes tables as the arguments of `tools/paper_tables.py` say.

    Raises:
        FileNotFoundError: the data is not there.
        ValueError: an argument that cannot be.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.runs: Path = given.runs / "quick" if given.quick else given.runs
        self.out: Path = self.runs / "results" if given.quick else given.out
        self.console = Console() if Console().is_terminal else Console(width=130)
        stand_in = given.quick and given.on != "coco"  # the zoo is laid out as AP-10K is
        root = given.root or (self.runs / "zoo" if stand_in else Path(SETS[given.on].root))
        self.slots = devices.slots(given.devices, given.processes, _cores())
        self.threads = max(1, _cores() // len(self.slots))
        lay_back(self.out, given.on, self.runs)  # first: a result that is none is said at once
        if given.steps is not None and given.steps < 1:
            raise ValueError(f"--steps: {given.steps}; expected at least 1")
        if given.on == "zoo" or (stand_in and given.root is None):
            wanted = {"4", "all"} & set(given.table)
            if given.dry_run and not is_drawn(root):
                raise FileNotFoundError(
                    f"--dry-run: {root} holds no zoo yet, and its labels say how much there is to do; without "
                    f"--dry-run it is drawn first. Draw it with genloc zoo {root}, in minutes, or name another --root"
                )
            if not given.dry_run:
                draw_zoo(root, styles=bool(wanted), quick=given.quick, workers=_cores())
        elif not root.is_dir():
            raise FileNotFoundError(f"--root: no folder {root.absolute()}")
        unseen = given.unseen_prior or (str(UNSEEN) if (UNSEEN / "unet").is_dir() else None)
        if given.quick and given.on == "zoo":
            unseen = unseen or "tiny"  # the row's form, not its meaning
        self.options = Options(
            root=root,
            prior=given.prior,
            unseen=unseen if given.on == "zoo" else None,
            weights=_weights(given.weights),
            overlays=tuple(given.config),
            steps=given.steps,
            seeds=tuple(given.seeds) if given.seeds else None,
            rows=tuple(given.rows) if given.rows else None,
            quick=given.quick,
        )
        self.splits = Splits(
            given.on,
            root,
            given.splits,
            CONFIGS / "splits" / given.on,
            self.runs / "splits" / given.on,
            keep=not given.dry_run,
        )
        self.speeds = Speeds(self.runs)

    def table(self, name: str) -> int:
        """Make one table. Returns 1 where a cell failed, else 0."""
        planner = Planner(name, self.given.on, self.options, self.splits)
        self.splits.expect(planner.split_names)
        tuning = planner.tuning()
        if self.given.dry_run:
            self._say(planner, tuning)
            return 0
        tuned = {t.name: Job(t, (), self.runs) for rates in tuning.values() for t in rates.values()}

        def result() -> Result:
            rates, tried = choose(tuning, self.runs)
            cells = planner.cells(rates)
            found = collect(planner, cells, jobs_of(cells, self.runs), tuned, tried)
            found.facts += _starts(cell for cell in cells if cell.row in found.values)
            return found

        try:
            failed = self._run_jobs(list(tuned.values()), "rates")
            unknown = tuning.keys() - (rates := choose(tuning, self.runs)[0]).keys()
            late = {row.label for row in planner.rows if row.tuned_as in unknown}
            ready = [cell for cell in planner.cells(rates) if cell.row not in late]
            failed += self._run_jobs(list(jobs_of(ready, self.runs).values()), f"table {name}")
        except KeyboardInterrupt:  # what is done is written all the same
            if (found := result()).trainings:
                found.write(self.out)
            raise
        found = result()
        written = found.write(self.out)
        self.console.print(Markdown(found.markdown()))
        for one in sorted(unknown):
            failed.append(
                f"not trained: {one}, whose rate could not be chosen among {[*tuning[one]]}"
            )
        for line in [*failed, *map(str, written)]:
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)
        self._say_left_out(planner)
        return 1 if failed else 0

    def _run_jobs(self, jobs: Sequence[Job], title: str) -> list[str]:
        failed = Pool(self.slots, self.threads, self.speeds).run(jobs, title)
        self.speeds.read()
        return list(failed.values())

    def _say_left_out(self, planner: Planner) -> None:
        for label in planner.left_out:
            how = f"give --unseen-prior, or train it: {HOW_UNSEEN}"
            self.console.print(f"left out: {label}; {how}", soft_wrap=True)

    def _say(self, planner: Planner, tuning: Mapping[str, Mapping[float, Training]]) -> None:
        """What would run, and about how long."""
        rates, _ = choose(tuning, self.runs)
        guessed = {name: next(iter(found)) for name, found in tuning.items()} | rates
        cells = planner.cells(guessed)
        jobs = jobs_of(cells, self.runs)
        extra = [
            Job(training, (), self.runs)
            for found in tuning.values()
            for training in found.values()
            if training.name not in jobs
        ]
        grid = RichTable(
            "row", "trainings", "done", "steps", "crops a second", "left", title=planner.table.title
        )
        rows: dict[str, dict[str, Job]] = {}
        for cell in cells:
            rows.setdefault(cell.row, {})[cell.training.name] = jobs[cell.training.name]
        if extra:
            rows = {"choosing rates": {job.training.name: job for job in extra}, **rows}
        unknown = False
        for label, found in rows.items():
            own = list(found.values())
            steps = sorted({job.training.about["steps"] for job in own})
            known = all(self.speeds.known(job) for job in own)
            sure = known or planner.set_name == "zoo"
            unknown |= not sure
            grid.add_row(
                label, str(len(own)), str(sum(job.done() for job in own)),
                " to ".join(f"{s:,}" for s in dict.fromkeys((steps[0], steps[-1]))),
                (f"{self.speeds.speed(own[0]):.0f}" + ("" if known else " (guess)")) if sure else "?",
                spoken(sum(map(self.speeds.seconds, own))) if sure else "?",
            )  # fmt: skip
        self.console.print(grid)
        everything = [*jobs.values(), *extra]
        left = [job for job in everything if not job.done()]
        text = f"{len(left)} of {len(everything)} trainings to run, {len(self.slots)} at once"
        if unknown:
            text += (
                "; no such training has been measured on this machine yet, so the time is not known"
            )
        elif left:
            text += f": about {spoken(budget.whole(everything, self.speeds, len(self.slots)))}"
        if tuning.keys() - rates.keys():
            text += "; rates are not chosen yet"
        self.console.print(text, soft_wrap=True)
        self._say_left_out(planner)


def choose(
    tuning: Mapping[str, Mapping[float, Training]], runs: Path
) -> tuple[dict[str, float], dict[str, dict[float, float]]]:
    """Of each that is tuned, the rate with the highest AP on val, and AP on val of all, times 100.

    Those whose trainings are not all over are in neither.
    """
    rates: dict[str, float] = {}
    tried: dict[str, dict[float, float]] = {}
    for name, found in tuning.items():
        fits = {rate: Job(training, (), runs).fitted() for rate, training in found.items()}
        if any(fit is None for fit in fits.values()):
            continue
        scores = {rate: 100 * (fit or {})["val"].get("val/AP", 0.0) for rate, fit in fits.items()}
        tried[name] = scores
        rates[name] = max(scores, key=lambda rate: scores[rate])
    return rates, tried


def jobs_of(cells: Sequence[Cell], runs: Path) -> dict[str, Job]:
    """One job for each training with all tests that are asked of it, by the training's name."""
    tests: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        tests.setdefault(cell.training.name, {})[cell.test.name] = cell
    return {
        name: Job(
            next(iter(found.values())).training,
            tuple(cell.test for cell in found.values()),
            runs,
        )
        for name, found in tests.items()
    }


def _starts(cells: Iterable[Cell]) -> list[str]:
    """What the rows of a table started from, in a line."""
    rows: dict[str, list[str]] = {}
    for row, start in dict.fromkeys((c.row, c.training.about["started from"]) for c in cells):
        rows.setdefault(start, []).append(row)
    each = "; ".join(f"{', '.join(names)} from {start}" for start, names in rows.items())
    return [f"started: {each}"] if each else []


def _weights(given: Sequence[str]) -> dict[str, str]:
    """Method -> weights, of `METHOD=WEIGHTS`.

    Raises:
        ValueError: another form, or a method that starts from none.
    """
    takes = [name for name, method in METHODS.items() if method.takes_weights]
    found: dict[str, str] = {}
    for text in given:
        name, _, source = text.partition("=")
        if name not in takes or not source:
            raise ValueError(
                f"--weights: {text!r} is not METHOD=FOLDER or METHOD=HUB_ID with one of the methods {takes}"
            )
        found[name] = source
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
