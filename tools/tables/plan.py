"""From the definitions to trainings and tests: what is run for a table, and under which key it is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.tables.cell import Cell, Options, Test, Training
from tools.tables.data import Splits, facts_of, labels_in, whole
from tools.tables.definitions import (
    GENLOC,
    METHODS,
    PRIOR,
    SETS,
    TABLES,
    Column,
    Method,
    Row,
    Table,
)
from tools.tables.recipe import (
    digest,
    fingerprint,
    learned,
    look_up,
    nested,
    resolve,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SOURCE = f"{PRIOR}.source"
EVALUATIONS = 2  # on val, while a training runs


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
        known = [row.label for row in self.table.rows]
        if unknown := sorted(set(asked or ()) - set(known)):
            raise ValueError(f"--rows: table {self.table_name} has no {unknown}; it has {known}")
        return tuple(row for row in self.table.rows if asked is None or row.label in asked)

    @cached_property
    def left_out(self) -> list[str]:
        """Rows that need a prior which is not there."""
        return [row.label for row in self.asked if row.needs and not self.options.unseen]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows that can be made."""
        return tuple(row for row in self.asked if row.label not in self.left_out)

    # ------------------------------------------------------------------ rates

    def tuned(self) -> list[str]:
        """Methods whose rate is chosen among several."""
        if self.set.tune_on is None or self.options.quick:
            return []
        names = dict.fromkeys(row.method for row in self.rows)
        return [name for name in names if len(METHODS[name].rates) > 1]

    def tuning(self) -> dict[str, dict[float, Training]]:
        """Method -> rate -> the training that says how good it is."""
        column = self.set.tune_on
        found: dict[str, dict[float, Training]] = {}
        for name in self.tuned():
            assert column is not None
            steps = self.options.steps or self.set.tune_steps
            seed = self.seeds[0]
            found[name] = {
                rate: self.training(Row(name, name), column, seed, rate, steps)
                for rate in METHODS[name].rates
            }
        return found

    # ------------------------------------------------------------------ cells

    def cells(self, rates: Mapping[str, float]) -> list[Cell]:
        """All cells of the table, given the rate of each tuned method (others keep the configuration's)."""
        found = []
        for row in self.rows:
            for column in self.columns:
                for seed in self.seeds:
                    training = self.training(row, column, seed, rates.get(row.method), self.steps)
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
        config = resolve(files, facts)
        own: dict[str, Any] = {}  # of this cell alone, not of the row
        prior: dict[str, Any] = {}
        if (source := look_up(config, SOURCE)) is not None:
            prior["prior"] = fingerprint(source)
        if look_up(config, f"{PRIOR}.unet_seed") is not None:
            own[f"{PRIOR}.unet_seed"] = seed
        if rate is not None:
            own[method.rate] = rate
        data, key_of_data, labels = self._data(column, seed, config)
        batch = look_up(config, "data.effective_batch")
        per_epoch = math.ceil(labels["train"] / batch)
        every = max(1, round(steps / per_epoch / EVALUATIONS))
        if self.options.quick and not self.options.steps:
            epochs, every = 1, 1
        else:
            epochs = every * max(1, round(steps / per_epoch / every))
        length = {"trainer.max_epochs": epochs, "trainer.check_val_every_n_epoch": every}
        key = digest(
            {
                "recipe": learned(config),
                "facts": own,
                "length": length,
                "seed": seed,
                "data": key_of_data,
                **prior,
                **self._unusual(config),
            }
        )
        where = column.split.format(seed=seed) if "shot" in column.split else "all"
        if where.startswith("zero"):
            where = "_".join(where.split("_")[:3])  # what it is tested on is not in the training
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
                "trained on": f"{labels['train']} animals"
                + (f" ({where})" if where != "all" else ""),
                "steps": epochs * per_epoch,
                "epochs": epochs,
                "crops seen": crops,
                "rate": look_up(config, method.rate) if rate is None else rate,
                "seed": seed,
                **({"prior": f"{source}@{prior['prior']}"} if prior else {}),
            },
        )

    def test(self, row: Row, column: Column, seed: int) -> Test:
        """How a cell's training is tested."""
        facts = {**(self.set.tests[column.test] if column.test else {}), **row.test_facts}
        files = self._files(METHODS[row.method], row)
        config = resolve(files, self._row_facts(row, files))
        if column.test:
            own = nested(facts).get("data", {}).get("test", {})
            file = own.get("annotations", look_up(config, "data.test.annotations"))
            content: Any = whole(self.options.root / file)
            if only := self._only(config, "test"):
                content = [content, only]
            crops = labels_in(self.options.root / file)
        else:
            _, split = self.splits.find(column.split.format(seed=seed))
            facts |= {"data.split": str(self.splits.find(column.split.format(seed=seed))[0])}
            facts |= {f"data.{name}.annotations": self.set.files[1] for name in ("val", "test")}
            content = facts_of(split, "test")
            crops = split.part("test").counts["annotations"]
        named = {k: v for k, v in facts.items() if not k.startswith("data.")}
        return Test(f"{_slug(column.label)}-{digest([content, named])}", facts, crops)

    # ------------------------------------------------------------------ parts of them

    def _files(self, method: Method, row: Row) -> tuple[str, ...]:
        below = method.overlays
        if self.set_name != "zoo" and method.real is not None and not self.options.quick:
            below = method.real
        names = (self.set.config, *self.table.overlays, *below, *row.overlays)
        return (*(str(CONFIGS / name) for name in names), *map(str, self.options.overlays))

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
        side = facts.get("data.crop_size", look_up(plain, "data.crop_size"))
        for key, value in row.facts.items():
            if isinstance(value, tuple) and value[0] == "of side":
                facts[key] = round(side * value[1] / 32) * 32
            elif isinstance(value, tuple) and value[0] == "of 64":
                cells = side // 8 * (look_up(plain, f"{GENLOC}.finer") or 1)
                # 2 of 64 is what null means.
                facts[key] = None if value[1] == 2.0 else value[1] * cells / 64
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

    def _unusual(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """For the key: what overlays may say of data and chance, where they do."""
        found: dict[str, Any] = {}
        for part in ("train", "val"):
            if only := self._only(config, part):
                found[f"{part} only"] = only
        for seed in ("data.seed", "model.seed"):
            if (own := look_up(config, seed)) != look_up(config, "seed_everything"):
                found[seed] = own
        batch = look_up(config, "data.batch_size")
        others = not str(look_up(config, "model.model.class_path")).startswith(
            "genloc.models.genloc"
        )
        if others and batch != look_up(config, "data.effective_batch"):
            found["batch"] = batch  # batch normalisation sees it
        return found

    def _only(self, config: Mapping[str, Any], part: str) -> dict[str, Any]:
        """Which records of a set are taken, and whose boxes: files by what is in them."""
        spec = look_up(config, f"data.{part}") or {}
        found: dict[str, Any] = {}
        for name in ("image_ids", "annotation_ids", "exclude", "detections"):
            if (value := spec.get(name)) is not None:
                path = self.options.root / value if isinstance(value, str) else None
                found[name] = whole(path) if path is not None and path.is_file() else value
        return found

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
                files["val"] = self.set.files[1]
                facts |= {f"data.{name}.annotations": files["val"] for name in ("val", "test")}
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
