#!/usr/bin/env python
"""The paper's tables, each cell a training of its own.

    python tools/paper_tables.py --table 1 --on zoo --dry-run     what it would run, and about how long
    python tools/paper_tables.py --table 1 --on zoo               runs it; again after a stop, it goes on
    python tools/paper_tables.py --table 5 --on ap10k --root data/ap10k --splits data/splits

Finished cells are skipped, interrupted ones go on from their last checkpoint. Results are written to
`<out>/table_<table>_<set>.{json,md,png}`, when stopped as well: mean and spread over the seeds, the protocol, and
on real data the paper's own numbers beside. Cells that such a json holds are not run again, wherever it was
made. The zoo is drawn into its root where it is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.tables.definitions import SETS, TABLES


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--table", required=True, nargs="+", choices=[*TABLES, "all"], help="which, or several")
    add("--on", required=True, choices=list(SETS), help="the data")
    add("--rows", nargs="+", metavar="LABEL", help="only these rows of the table")
    add("--root", type=Path, help="folder of the data; default: the configuration's")
    add(
        "--splits",
        type=Path,
        help="folder of `genloc split` files, by the names it gives several; default: configs/splits, or made",
    )
    add(
        "--prior",
        help="instead of the configuration's: `tiny`, a diffusers folder, a hub id, a file",
    )
    add("--unseen-prior", help="a prior trained without the test families of Table 6 (zoo alone)")
    add(
        "--weights",
        nargs="+",
        default=[],
        metavar="METHOD=WEIGHTS",
        help="trained weights that a rival starts from, such as SimplePose=microsoft/resnet-50 or a folder; "
        "default: random ones",
    )
    add(
        "--config",
        type=Path,
        action="append",
        default=[],
        help="further overlay over the configuration of every row, such as configs/prior/small_gpu.yaml",
    )
    add("--steps", type=int, help="optimiser steps of each training; default: the table's")
    add("--seeds", type=int, nargs="+", help="default: the table's")
    add("--processes", type=int, help="at once on the CPU; default: one for each core")
    add(
        "--devices",
        nargs="+",
        help="CUDA devices, as nvidia-smi counts them; default: all that are free; `cpu` for none",
    )
    add("--runs", type=Path, default=Path("runs/tables"), help="cells are kept here (%(default)s)")
    add("--out", type=Path, default=Path("results"), help="for the results (%(default)s)")
    add("--dry-run", action="store_true", help="say what would run, and about how long")
    add("--quick", action="store_true", help="two steps on a few small pictures, to see it run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables. Returns the exit status: 0, 1 where a cell failed, 2 for a mistake, 130 when stopped."""
    given = parse(arguments)
    # Before torch is imported here, and inherited by every process.
    threads = given.processes and max(1, (os.cpu_count() or 1) // given.processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads or 1))
    from tools.tables.session import Session

    try:
        session = Session(given)
        status = 0
        for name in TABLES if "all" in given.table else given.table:
            if "all" in given.table and given.on not in TABLES[name].columns:
                continue
            status |= session.table(name)
        return status
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if os.environ.get("GENLOC_TRACEBACK"):
            raise
        print(f"paper_tables: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
