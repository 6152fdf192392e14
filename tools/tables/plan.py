"""From the definitions to trainings and tests: what is run for a table, and under which key it is kept."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.tables.cell import Cell, Options, Test, Training
from tools.tables.data import LISTED, Splits, facts_of, labels_in, whole
from tools.tables.definitions import (
    GENLOC,
    METHODS,
    SETS,
    TABLES,
    Column,
    Method,
    Row,
    Table,
)
from tools.tables.key import SOURCE, UNET_SEED, WEIGHTS, recipe_of, selection, started_from, unusual
from tools.tables.length import rounds
from tools.tables.recipe import (
    digest,
    fingerprint,
    look_up,
    nested,
    resolve,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


QUICK = {"data.crop_size": 64, "data.batch_size": 4, "data.effective_batch": 4, "data.num_workers": 0,
         SOURCE: "tiny", "pictures.count": 2}  # fmt: skip


class Planner:
    """Makes the cells of a table on a set.

    Args:
        table_name, set_name: of `TABLES` and `SETS`.
        options: what was said. splits: of the set.

    Raises:
        ValueError: the table is not made on this set.
    """

    def __init__(self, table_name: str, set_name: str, options: Options, splits: Splits) -> None:
        self.table_name = table_name
        self.table: Table = TABLES[table_name]
        if set_name not in self.table.columns:
            known = ", ".join(f"--on {name}" for name in self.table.columns)
            raise ValueError(
                f"--table {table_name} is not made --on {set_name}; it is made {known}"
            )
        self.set_name = set_name
        self.set = SETS[set_name]
        self.options = options
        self.splits = splits

    @property
    def seeds(self) -> tuple[int, ...]:
        if self.options.seeds:
            return self.options.seeds
        return (0,) if self.options.quick else self.table.seeds[self.set_name]

    @property
    def steps(self) -> int:
        return self.options.steps or (2 if self.options.quick else self.table.steps[self.set_name])

    @property
    def columns(self) -> tuple[Column, ...]:
        columns = self.table.columns[self.set_name]
        return columns[:2] if self.options.quick else columns  # every row, but no more

    @cached_property
    def asked(self) -> tuple[Row, ...]:
        """The table's rows, or those asked for."""
        asked = self.options.rows
        rows = [row for row in self.table.rows if not row.needs or self.set_name == "zoo"]
        known = [row.label for row in rows]
        if unknown := sorted(set(asked or ()) - set(known)):
            raise ValueError(f"--rows: table {self.table_name} has no {unknown}; it has {known}")
        return tuple(row for row in rows if asked is None or row.label in asked)

    @cached_property
    def left_out(self) -> list[str]:
        """Rows that need a prior which is not there."""
        return [row.label for row in self.asked if row.needs and not self.options.unseen]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows that can be made."""
        return tuple(row for row in self.asked if row.label not in self.left_out)

    # ------------------------------------------------------------------ rates

    def tuning(self) -> dict[str, dict[float, Training]]:
        """Methods, and rows that choose for themselves -> rate -> the training that says how good it is."""
        column = self.set.tune_on
        if column is None or self.options.quick:
            return {}
        steps, seed = self.options.steps or self.set.tune_steps, self.seeds[0]
        found: dict[str, dict[float, Training]] = {}
        for row in self.rows:
            tried, name = METHODS[row.method].rates, row.tuned_as
            if len(tried) > 1 and name not in found:
                like = row if row.own_rate else Row(name, name)
                found[name] = {r: self.training(like, column, seed, r, steps) for r in tried}
        return found

    # ------------------------------------------------------------------ cells

    def cells(self, rates: Mapping[str, float]) -> list[Cell]:
        """All cells of the table, given the rates that were chosen (others keep the configuration's)."""
        found = []
        for row in self.rows:
            for column in self.columns:
                for seed in self.seeds:
                    training = self.training(row, column, seed, rates.get(row.tuned_as), self.steps)
                    test = self.test(row, column, seed)
                    found.append(Cell(row.label, column.label, seed, training, test))
        return found

    def training(
        self, row: Row, column: Column, seed: int, rate: float | None, steps: int
    ) -> Training:
        """The training of a cell, whatever it is tested on."""
        method = METHODS[row.method]
        files = self._files(method, row)
        facts = self._row_facts(row, files)
        if rate is not None:
            facts[method.rate] = rate
        config = resolve(files, facts)
        # Before the prior, which takes seconds to read: labels that are not there are said at once.
        data, key_of_data, labels = self._data(column, seed, config)
        own: dict[str, Any] = {}  # of this cell alone, not of the row
        prior: dict[str, Any] = {}
        if (source := look_up(config, SOURCE)) is not None:
            prior["prior"] = fingerprint(source)
        if look_up(config, UNET_SEED) is not None:
            own[UNET_SEED] = seed
        batch = look_up(config, "data.effective_batch")
        per_epoch = math.ceil(labels["train"] / batch)
        quick = self.options.quick and not self.options.steps
        epochs, every = (1, 1) if quick else rounds(steps, per_epoch)
        length = {"trainer.max_epochs": epochs, "trainer.check_val_every_n_epoch": every}
        key = digest(
            {
                "recipe": recipe_of(config),
                **own,
                "length": length,
                "seed": seed,
                "data": key_of_data,
                **prior,
                **unusual(config, self.options.root),
            }
        )
        name = f"{self.set_name}-{_slug(row.method)}-seed{seed}-{key}"
        crops = epochs * labels["train"]
        return Training(
            name=name,
            files=files,
            facts={"seed_everything": seed, **facts, **own, **data, **length, **_one_device()},
            speed_as=f"{row.method} {look_up(config, 'data.crop_size')} {digest(_network(config))}",
            crops=crops,
            val_crops=labels.get("val", 0) * math.ceil(epochs / every),
            about={
                "row": row.label,
                "method": row.method,
                "trained on": f"{labels['train']} animals{self._where(column, seed)}",
                "steps": epochs * per_epoch,
                "epochs": epochs,
                "crops seen": crops,
                "rate": look_up(config, method.rate),
                "seed": seed,
                **({"prior": f"{source}@{prior['prior']}"} if prior else {}),
                "started from": started_from(config),
            },
        )

    def test(self, row: Row, column: Column, seed: int) -> Test:
        """How a cell's training is tested."""
        own = self.set.tests[column.test] if column.test else {}
        facts = {name: self._beside(fact) for name, fact in {**own, **row.test_facts}.items()}
        files = self._files(METHODS[row.method], row)
        config = resolve(files, self._row_facts(row, files))
        if column.test:
            own = nested(facts).get("data", {}).get("test", {})
            file = own.get("annotations", look_up(config, "data.test.annotations"))
            content: Any = whole(self.options.root / file)
            if only := selection(config, "test", self.options.root):
                content = [content, only]
            crops = labels_in(self.options.root / file)
        else:
            path, split = self.splits.find(column.split.format(seed=seed))
            facts |= {"data.split": str(path), **self._watched_and_tested()}
            content = facts_of(split, "test")
            crops = split.part("test").counts["annotations"]
        named = {k: v for k, v in facts.items() if not k.startswith("data.")}
        return Test(f"{_slug(column.label)}-{digest([content, named])}", facts, crops)

    # ------------------------------------------------------------------ parts of them

    def _files(self, method: Method, row: Row) -> tuple[str, ...]:
        below = method.overlays
        if self.set_name != "zoo" and method.real is not None and not self.options.quick:
            below = method.real
        first = (self.set.config, *self.table.overlays.get(self.set_name, ()))
        # Given overlays are below the row's own, which so stays what it is, and what they say of a network goes
        # with that network where the row has another.
        last = (*below, *row.overlays)
        given = map(str, self.options.overlays)
        return (*(str(CONFIGS / n) for n in first), *given, *(str(CONFIGS / n) for n in last))

    def _row_facts(self, row: Row, files: Sequence[str]) -> dict[str, Any]:
        """The row's own facts, with those that depend on the configuration worked out."""
        plain = resolve(files, {})
        facts: dict[str, Any] = {**self.set.facts, **(QUICK if self.options.quick else {})}
        if look_up(plain, SOURCE) is None:
            facts.pop(SOURCE, None)
        elif self.options.prior is not None:
            facts[SOURCE] = self.options.prior
        if row.needs == "unseen":
            facts[SOURCE] = self.options.unseen
        if (weights := self.options.weights.get(row.method)) and not self.options.quick:
            facts[WEIGHTS] = weights
        side = facts.get("data.crop_size", look_up(plain, "data.crop_size"))
        for key, value in row.facts.items():
            if isinstance(value, tuple) and value[0] == "of side":
                facts[key] = round(side * value[1] / 32) * 32
            elif isinstance(value, tuple) and value[0] == "of 64":
                cells = side // 8 * (look_up(plain, f"{GENLOC}.finer") or 1)
                # 2 of 64 is what null means: written as the configuration does, it is the same training.
                as_null = value[1] == 2.0 and look_up(plain, key) is None
                facts[key] = None if as_null else value[1] * cells / 64
            else:
                facts[key] = value
        if "model.sigma" not in row.facts and (sigma := look_up(plain, "model.sigma")) is not None:
            # It is in cells: the same part of the crop on a map of another size.
            finer = look_up(plain, f"{GENLOC}.finer") or 1
            scale = (
                facts.get("data.crop_size", side)
                / side
                * facts.get(f"{GENLOC}.finer", finer)
                / finer
            )
            if scale != 1:
                facts["model.sigma"] = sigma * scale
        return facts

    def _watched_and_tested(self) -> dict[str, str]:
        """The files of a pair of families: its split says which labels of each."""
        return {f"data.{n}.annotations": getattr(self.set.files, n) for n in ("val", "test")}

    def _beside(self, fact: Any) -> Any:
        """Files beside the root, `../...`: beside the name that it goes by here, not what a link leads to."""
        if not (isinstance(fact, str) and fact.startswith("..")):
            return fact
        return os.path.normpath(self.options.root.absolute() / fact)

    def _where(self, column: Column, seed: int) -> str:
        """Which split a cell is trained on, in brackets; nothing for all labels."""
        if not column.split:
            return ""
        path, split = self.splits.find(column.split.format(seed=seed))
        name = path.stem
        if not column.test:
            name = "_".join(name.split("_")[:3])  # what it is tested on is not in the training
        return f" ({name}: {split.title()})" if split.kind == LISTED else f" ({name})"

    @property
    def split_names(self) -> tuple[str, ...]:
        """Of all splits that the table's cells are made with."""
        columns = (column for column in self.columns if column.split)
        return tuple(dict.fromkeys(c.split.format(seed=s) for c in columns for s in self.seeds))

    def _data(
        self, column: Column, seed: int, config: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
        """Facts of the training's data, the same for the key, and how many animals are labelled in each."""
        root = self.options.root
        files = {n: look_up(config, f"data.{n}.annotations") for n in ("train", "val")}
        facts: dict[str, Any] = {"data.root": str(root.absolute())}
        split = None
        if column.split:
            path, split = self.splits.find(column.split.format(seed=seed))
            facts["data.split"] = str(path)
            if not column.test:
                files["val"] = self.set.files.val
                facts |= self._watched_and_tested()
        keys: dict[str, Any] = {}
        labels: dict[str, int] = {}
        for name, file in files.items():
            if split is not None and name in split.parts:
                keys[name] = facts_of(split, name)
                labels[name] = split.part(name).counts["annotations"]
            elif file is not None:
                keys[name] = whole(root / file)
                labels[name] = labels_in(root / file)
        return facts, keys, labels


def _one_device() -> dict[str, Any]:
    return {"trainer.devices": 1, "pictures.every_n_epochs": 0}


def _network(config: Mapping[str, Any]) -> Any:
    """What the time of a step depends on."""
    model = dict(look_up(config, "model.model"))
    return [model, look_up(config, "data.effective_batch"), look_up(config, "data.batch_size")]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
