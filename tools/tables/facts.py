"""What stands below a table: its call, the protocol of its tests, what each row is, and what ran where.

What all cells share is a line. What differs is said with the rows it holds for: nothing that two numbers of a
table do not share is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genloc import __version__
from tools.tables.cell import Cell
from tools.tables.definitions import SETS
from tools.tables.plan import Planner
from tools.tables.recipe import look_up, what_it_has_seen
from tools.tables.rows import acting_rates, rows, shown

ASIDE = ("weights", "prior", "prior has seen", "maps", "only", "split of the training set")
"""Lines of a test's protocol that belong to a single cell, or that are said of the row or of the training set."""
OF_RATE = {"model.lr": "weights", "model.lr_lora": "LoRA", "model.lr_condition": "conditions"}
FAMILIES = ("6", "words")
"""Tables whose test families are not those trained on."""


class Tested(NamedTuple):
    """A finished test: where it stands in the table, the lines of its protocol, and how many were tested."""

    row: str
    column: str
    protocol: Sequence[str]
    instances: int


def facts_below(
    planner: Planner,
    configs: Mapping[str, tuple[Cell, Mapping[str, Any]]],
    records: Sequence[Mapping[str, Any]],
    tested: Sequence[Tested],
    tried: Mapping[str, Mapping[float, float]],
) -> list[str]:
    """The lines below a table.

    Args:
        planner: of the table. configs: of `configurations`, of the rows that have a finished cell.
        records: of the finished cells, as `results.py` keeps them. tested: their tests.
        tried: method, or row that chose for itself -> rate -> AP on val, of the rates that were chosen among.
    """
    seeds = ", ".join(map(str, planner.seeds))
    several = "one seed" if len(planner.seeds) == 1 else "mean (least to most) over the seeds"
    facts = [f"made by `{call(planner)}`", f"numbers x 100; seed {seeds}: {several}"]
    if planner.options.quick:
        facts.insert(
            0,
            "QUICK FORM: two steps on a few small pictures, to see every cell run. It shows nothing.",
        )
    facts += protocol(tested, records)
    facts += rows(configs)
    facts += _lengths(planner, records)
    facts += _rates(configs)
    for tuned, each_rate in tried.items():
        text = ", ".join(f"{rate:g}: {ap:.1f}" for rate, ap in each_rate.items())
        facts.append(
            f"rate of {tuned} chosen by AP on val with the first seed and {_tuned_on(planner)}: {text}"
            + _taken_over(tuned, planner)
        )
    facts += _priors(planner, [cell for cell, _ in configs.values()])
    for hardware, threads in dict.fromkeys((r["hardware"], r["threads"]) for r in records):
        days = sorted(
            r["date"] for r in records if (r["hardware"], r["threads"]) == (hardware, threads)
        )
        when = " to ".join(dict.fromkeys((days[0], days[-1])))
        facts.append(
            f"{when}, {hardware}, {threads} threads for each training, genloc {__version__}"
        )
    return facts


def _tuned_on(planner: Planner) -> str:
    """Whose labels chose the rates."""
    shots = planner.set.tune_on.label if planner.set.tune_on is not None else ""
    families = ", of all families, tested ones, too" if planner.table_name in FAMILIES else ""
    return f"{shots} of every species{families}"


def _taken_over(tuned: str, planner: Planner) -> str:
    """Which rows take a method's rate without a choice of their own."""
    order = [row.label for row in planner.rows]
    others = [row.label for row in planner.rows if row.tuned_as == tuned != row.label]
    return f"; taken as it is by {_all_but(others, order)}" if others else ""


def call(planner: Planner) -> str:
    """The command that makes the table. Data is named where it lies by default: files stand with their checksums."""
    options, words = planner.options, ["python", "tools/paper_tables.py"]
    words += ["--table", planner.table_name, "--on", planner.set_name]
    words += ["--quick"] if options.quick else ["--root", SETS[planner.set_name].root]
    if planner.splits.given is not None:
        words += ["--splits", shown(planner.splits.given)]
    if options.rows is not None:
        words += ["--rows", *options.rows]
    if options.prior is not None:
        words += ["--prior", shown(options.prior)]
    if options.weights:
        given = {m: shown(w) if Path(w).is_dir() else w for m, w in options.weights.items()}
        words += ["--weights", *(f"{method}={source}" for method, source in given.items())]
    if options.unseen is not None and not options.quick and any(r.needs for r in planner.rows):
        words += ["--unseen-prior", shown(options.unseen)]
    for overlay in options.overlays:
        words += ["--config", shown(overlay)]
    if options.steps is not None:
        words += ["--steps", str(options.steps)]
    if options.seeds is not None:
        words += ["--seeds", *map(str, options.seeds)]
    return shlex.join(words)


# ---------------------------------------------------------------------- tests


def protocol(tested: Sequence[Tested], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines that all tests share, then those of single rows, then each column with its own."""
    values: dict[str, dict[tuple[str, str], set[str]]] = {}
    for test in tested:
        for line in test.protocol:
            name = line.partition(": ")[0]
            if name == "crops":  # how many stands with the column
                line = re.sub(r"^crops: \d+ of", "crops:", line)
            if name not in ASIDE:
                places = values.setdefault(name, {})
                places.setdefault((test.row, test.column), set()).add(line)
    order = list(dict.fromkeys(test.row for test in tested))
    columns = list(dict.fromkeys(test.column for test in tested))
    common, single = [], []
    own: dict[str, list[str]] = {column: [] for column in columns}
    everywhere = {(test.row, test.column) for test in tested}
    for places in values.values():
        lines = sorted(set[str]().union(*places.values()))
        alike = places.keys() == everywhere
        of_columns = {c: {line for p in places if p[1] == c for line in places[p]} for c in columns}
        if len(lines) == 1 and alike:
            common += lines
        elif alike and all(len(found) == 1 for found in of_columns.values()):
            for column, found in of_columns.items():
                own[column] += found
        else:
            for line in lines:
                having = {row for (row, _), found in places.items() if line in found}
                single.append(f"{line} ({_all_but([r for r in order if r in having], order)})")
    lines_of_columns = []
    for column in columns:
        instances = next(test.instances for test in tested if test.column == column)
        trained = dict.fromkeys(r["trained on"] for r in records if r["column"] == column)
        lines_of_columns.append(
            f"{column}: {instances} animals or people tested" + "".join(f"; {s}" for s in own[column])
            + f"; trained on {', '.join(trained)}"
        )  # fmt: skip
    return [*common, *single, *lines_of_columns]


def _all_but(having: Sequence[str], everyone: Sequence[str]) -> str:
    others = [row for row in everyone if row not in having]
    if len(others) < len(having) and len(having) > 2:
        return "all rows" if not others else f"all rows but {'; '.join(others)}"
    return "; ".join(having)


# ---------------------------------------------------------------------- trainings


def _rates(configs: Mapping[str, tuple[Cell, Mapping[str, Any]]]) -> list[str]:
    said: dict[str, list[str]] = {}
    for row, (cell, config) in configs.items():
        rates = acting_rates(cell.training.about["method"], config)
        ratio = look_up(config, "model.lora_ratio") or 1
        more = {"model.lr_lora": f" (factor B: {ratio:g} times that)" if ratio != 1 else ""}
        parts = [f"{OF_RATE[key]} {rate:g}{more.get(key, '')}" for key, rate in rates.items()]
        said.setdefault(", ".join(parts), []).append(row)
    lines = [
        f"learning rate: {text}"
        + (f" ({_all_but(having, list(configs))})" if len(said) > 1 else "")
        for text, having in said.items()
    ]
    return (
        [*lines, "rates not said to be chosen are the configuration's, not tuned here"]
        if lines
        else []
    )


def _lengths(planner: Planner, records: Sequence[Mapping[str, Any]]) -> list[str]:
    lengths = sorted({(r["steps"], r["crops seen"]) for r in records})
    lines = []
    if lengths:
        low, high = lengths[0], lengths[-1]
        text = f"{low[0]:,} steps, {low[1]:,} crops seen"
        if low != high:
            text += f" to {high[0]:,} steps, {high[1]:,} crops seen"
        lines.append(
            f"length of each training: {text}; the best of its evaluations on val is tested"
        )
    if (precision := planner.set.facts.get("trainer.precision")) is not None:
        lines.append(f"precision: {precision}, in training and in tests")
    return lines


def _priors(planner: Planner, cells: Iterable[Cell]) -> list[str]:
    """What each prior has seen, where a `training.json` beside it says so."""
    lines = []
    priors = dict.fromkeys(cell.training.about.get("prior") for cell in cells)
    for prior in filter(None, priors):
        source = prior.rpartition("@")[0]
        named = name_of(prior)
        if source != "tiny" and not (Path(source) / "training.json").is_file():
            lines.append(f"prior: {named}")
            continue
        seen = what_it_has_seen(source)
        lines.append(f"the prior {named} has seen {seen}")
        if planner.table_name in FAMILIES and "families left out: none" in seen:
            lines.append(
                f"so {named} has seen drawn pictures of every family that is tested, as Stable Diffusion has "
                "seen photographs of them; the keypoint labels of a training are of its own family alone"
            )
    return lines


def name_of(prior: str) -> str:
    """`source@digest` without the folders of this machine."""
    source, _, digest = prior.rpartition("@")
    return f"{shown(source)}@{digest}"
