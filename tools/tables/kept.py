"""Finished cells travel with the results, so that a table goes on where its runs are gone.

`table_*.json` holds, beside the numbers shown, what each finished training and test left. Laid back where
`Job` looks, they count as done; a training whose key has changed since, by another recipe, prior or data,
is simply not asked for any more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tools.tables.job import FIT, KEPT, METRICS, Job, write_json

SHOWN = ("mean_pose", "protocol", "instances")
"""Of a test's `metrics.json`, beside its numbers: what a table shows."""


def read_test(path: Path, root: Path) -> dict[str, Any]:
    """What a test left in its `metrics.json`; in its protocol, files below `root` are named from there.

    Where the data lies on this machine says nothing to who reads a table elsewhere.
    """
    found = json.loads(path.read_text(encoding="utf-8"))["test"]
    above = f"{root.absolute().parent}/"
    found["protocol"] = [line.replace(above, "") for line in found["protocol"]]
    return found


def finished(jobs: Iterable[Job], root: Path) -> dict[str, dict[str, Any]]:
    """Name of the training -> what `fit` left, and what each finished test did, by the test's name.

    Args:
        root: folder of the data.
    """
    found: dict[str, dict[str, Any]] = {}
    for job in jobs:
        if (fit := job.fitted()) is None:
            continue
        tests: dict[str, Any] = {}
        for test in job.tests:
            if (path := job.metrics(test)).is_file():
                scores = read_test(path, root)
                tests[test.name] = {
                    key: value
                    for key, value in scores.items()
                    if key in SHOWN or isinstance(value, float)
                }
        for own in ("command", KEPT):  # of files on this machine
            fit.pop(own, None)
        found[job.training.name] = {"fit": fit, "tests": tests}
    return found


def with_others(
    path: Path, trainings: Mapping[str, Any], asked: Collection[tuple[str, int]]
) -> dict[str, Any]:
    """`trainings`, and what a result holds already of rows and seeds that were not asked for this time.

    Args:
        path: the result. asked: (row, seed).
    """
    if not path.is_file():
        return dict(trainings)
    old = json.loads(path.read_text(encoding="utf-8")).get("trainings", {})
    others = {
        n: t for n, t in old.items() if (t["fit"].get("row"), t["fit"].get("seed")) not in asked
    }
    return others | dict(trainings)


def lay_back(out: Path, set_name: str, runs: Path) -> None:
    """Put the finished cells of `<out>/table_*_<set_name>.json` below `runs`, where nothing is yet.

    Raises:
        ValueError: a file that no table was written to.
    """
    for path in sorted(out.glob(f"table_*_{set_name}.json")):
        try:
            trainings = json.loads(path.read_text(encoding="utf-8")).get("trainings", {})
            for name, left in trainings.items():
                if (runs / name / "checkpoints").is_dir():
                    continue  # begun here: what was trained elsewhere says nothing of these weights
                files = {runs / name / FIT: {**left["fit"], KEPT: True}}
                for test, scores in left["tests"].items():
                    files[runs / name / "tests" / test / METRICS] = {"test": scores}
                for file, content in files.items():
                    if not file.exists():
                        write_json(file, content)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no result of a table ({type(error).__name__}: {error}); move it away, or name "
                "another folder with --out"
            ) from error
