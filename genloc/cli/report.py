"""`genloc report`: what a run's results say, on one HTML page"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def run(arguments: Sequence[str]) -> None:
    """what a run's results say, on one HTML page"""
    parser = argparse.ArgumentParser(prog="genloc report", description=__doc__)
    parser.add_argument(
        "run", type=Path, help="folder that genloc test has written to, runs/<name>"
    )
    parser.add_argument(
        "--set", choices=("test", "val"), help="which scored set; default: test, else val"
    )
    parser.add_argument("--out", type=Path, help="the page; default: RUN/report.html")
    given = parser.parse_args(arguments)

    try:
        from genloc.report.page import write_report
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("matplotlib", "jinja2"):
            raise
        raise ValueError(
            f'charts need {error.name}, which is not installed: pip install "genloc[report]"'
        ) from error

    print(write_report(given.run, given.out, given.set))
