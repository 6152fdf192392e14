"""Contenders trained on the same crops, each at its own best rate: cells that are skipped when done, and
that go on from their last evaluation when they were stopped.

A *cell* is one training: (contender, rate, steps, seed). Rate and number of steps are searched with the first
seed (`benchmarks.search`); the best by AP on val is then trained with the other seeds. Within a cell the best
weights by AP on val are kept, and those are tested. The loop is the package's own training step without
Lightning, whose cost per step would show at models this small.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.crops import Crops, order, short_hash
from benchmarks.learner import Learner, batch_loss, evaluate
from benchmarks.search import Place, best_place, ends_at, next_places
from genloc.inference import Decoding
from genloc.training.optimiser import Schedule, adam, parameter_groups, schedule
from genloc.training.parts import check_parts
from genloc.training.resume import trainable_state


@dataclass(frozen=True)
class Contender:
    """What is compared.

    Args:
        name: in tables and file names.
        make: seed -> `Learner` on the CPU.
        train: what it is trained on.
        rates: those searched; for LoRA or, without LoRA, for all weights but the conditions.
        facts: all that its results depend on besides `Recipe`, rate, steps and seed, in plain values.
        lr_condition: instead of the recipe's. lora_ratio: of the rates of LoRA's factors (LoRA+).
    """

    name: str
    make: Callable[[int], Learner]
    train: Crops
    rates: tuple[float, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    lr_condition: float | None = None
    lora_ratio: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """What all contenders share. `steps`: numbers of optimiser steps searched, each a whole schedule.

    precision: of a step's forward pass; weights and tests are float32 in either.
    clip: largest norm of a step's gradient, as in the configurations; 0 leaves it alone.
    """

    batch: int = 16
    steps: tuple[int, ...] = (1500,)
    every: int = 250
    seeds: tuple[int, ...] = (0, 1, 2)
    schedule: Schedule = "cosine"
    warmup: int = 50
    lr_condition: float = 1e-2
    decoding: Decoding = "centroid"
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    clip: float = 1.0


class Benchmark:
    """Runs the cells of a plan and keeps each result in a file.

    Args:
        contenders: what is compared.
        recipe: how.
        val, test: plain crops (one view).
        folder: of the cells' files.
        score: (learner, crops, recipe) -> scores, 0 to 1, among them "AP", by which is chosen; None for
            `evaluate`.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        recipe: Recipe,
        val: Crops,
        test: Crops,
        folder: Path,
        score: Callable[[Learner, Crops, Recipe], dict[str, float]] | None = None,
    ) -> None:
        self.contenders = contenders
        self.recipe = recipe
        self.val, self.test = val, test
        self.folder = folder
        self.score = score or _evaluate
        self._seconds: dict[str, float] = {}  # per step, of each contender

    def run(self) -> dict[str, list[dict[str, Any]]]:
        """All cells of the plan that have no file yet; contender -> its cells at its best rate, by seed."""
        chosen: dict[str, list[dict[str, Any]]] = {}
        first, *others = self.recipe.seeds
        for contender in self.contenders:
            while ahead := next_places(*self._grid(contender), self._kept(contender)):
                self.cell(contender, *ahead[0], first)
            tried = self._kept(contender)
            rate, steps = best = best_place(tried)
            again = [self.cell(contender, rate, steps, seed) for seed in others]
            chosen[contender.name] = [tried[best], *again]
        return chosen

    def tried(self, contender: Contender) -> list[dict[str, Any]]:
        """The first seed's cells that there are, by steps, then by rate."""
        return list(self._kept(contender).values())

    def ends(self, contender: Contender) -> list[str]:
        """At which ends of the grid its best cell lies."""
        return ends_at(*self._grid(contender), self._kept(contender))

    def _grid(self, contender: Contender) -> tuple[list[float], list[int]]:
        return sorted(set(contender.rates)), sorted(set(self.recipe.steps))

    def _kept(self, contender: Contender) -> dict[Place, dict[str, Any]]:
        """The first seed's cells on disk."""
        rates, lengths = self._grid(contender)
        seed = self.recipe.seeds[0]
        paths = {(r, s): self._path(contender, r, s, seed) for s in lengths for r in rates}
        return {at: json.loads(path.read_text()) for at, path in paths.items() if path.is_file()}

    def cell(self, contender: Contender, rate: float, steps: int, seed: int) -> dict[str, Any]:
        """The result of one training, from its file where there is one."""
        path = self._path(contender, rate, steps, seed)

        def train() -> dict[str, Any]:
            facts = {"contender": contender.name, "rate": rate, "steps": steps, "seed": seed}
            return facts | self._train(contender, rate, steps, seed, path.with_suffix(".pt"))

        result = kept(path, train)
        self._seconds[contender.name] = result["seconds_per_step"]
        path.with_suffix(".pt").unlink(missing_ok=True)
        return result

    def _path(self, contender: Contender, rate: float, steps: int, seed: int) -> Path:
        facts = {
            **contender.facts,
            "lora_ratio": contender.lora_ratio,
            "crops": [contender.train.key, self.val.key, self.test.key],
            "recipe": {
                name: getattr(self.recipe, name)
                for name in (
                    "batch", "every", "schedule", "warmup", "lr_condition", "decoding", "device",
                    "precision", "clip",
                )
            },
        }  # fmt: skip
        name = f"{contender.name}-lr{rate:g}-{steps}steps-seed{seed}-{short_hash(facts)}.json"
        return self.folder / name.replace(" ", "_")

    def _train(
        self, contender: Contender, rate: float, steps: int, seed: int, state: Path
    ) -> dict[str, Any]:
        """One training, from the last evaluation in `state` where it was stopped."""
        recipe = self.recipe
        torch.manual_seed(seed)
        learner = contender.make(seed)
        check_parts(learner.model, learner.condition, learner.loss)
        parts = nn.ModuleDict({"model": learner.model})
        if learner.condition is not None:
            parts["condition"] = learner.condition
        parts.to(recipe.device).train()
        fixed = contender.lr_condition
        groups = parameter_groups(
            learner.model,
            learner.condition,
            lr=rate,
            lr_lora=rate,
            lr_condition=recipe.lr_condition if fixed is None else fixed,
            lora_ratio=contender.lora_ratio,
        )
        weights = [p for group in groups for p in group["params"]]
        optimiser = adam(groups, 0.0)
        rates = schedule(optimiser, recipe.schedule, warmup=recipe.warmup, steps=steps)
        curve: list[dict[str, float]] = []
        best: dict[str, Any] = {"AP": -1.0}
        kept: dict[str, Tensor] = {}
        running, spent, diverged = 0.0, 0.0, False
        draws = order(len(contender.train), contender.train.views, recipe.batch, seed)
        first = 1
        if state.is_file():
            saved = torch.load(state, map_location=recipe.device, weights_only=True)
            parts.load_state_dict(saved["weights"], strict=False)
            optimiser.load_state_dict(saved["optimiser"])
            if rates is not None:
                rates.load_state_dict(saved["rates"])
            torch.set_rng_state(saved["random"].cpu())
            curve, best, kept = saved["curve"], saved["best"], saved["kept"]
            running, spent, first = saved["running"], saved["spent"], saved["step"] + 1
            draws = itertools.islice(draws, first - 1, None)
        for step in range(first, steps + 1):
            start = time.perf_counter()
            batch = contender.train.batch(
                *next(draws), recipe.device, latent=learner.reads == "latent"
            )
            mixed = recipe.precision == "bf16"
            with torch.autocast(recipe.device, torch.bfloat16, enabled=mixed):
                loss = batch_loss(learner, batch, contender.train.size, seed=seed, step=step)
            if not math.isfinite(value := loss.item()):
                diverged = True
                break
            optimiser.zero_grad()
            loss.backward()
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
            optimiser.step()
            if rates is not None:
                rates.step()
            running = value if step == 1 else 0.98 * running + 0.02 * value
            spent += time.perf_counter() - start
            self._seconds[contender.name] = spent / step
            if step % recipe.every == 0 or step == steps:
                scores = self.score(learner, self.val, recipe)
                curve.append({"step": step, "loss": running, "AP": scores["AP"]})
                if scores["AP"] > best["AP"]:
                    best = {**scores, "step": step}
                    kept = {name: v.clone() for name, v in trainable_state(parts).items()}
                left = self._seconds_left((contender.name, rate, steps, seed), steps - step)
                print(
                    f"{contender.name} lr {rate:g} seed {seed}: step {step}/{steps} loss {running:.3f} "
                    f"val AP {100 * scores['AP']:.1f} | {1000 * spent / step:.0f} ms a step, "
                    f"at least {left / 60:.0f} min left in all",
                    flush=True,
                )
                _save(
                    state,
                    {
                        "weights": trainable_state(parts), "optimiser": optimiser.state_dict(),
                        "rates": None if rates is None else rates.state_dict(),
                        "random": torch.get_rng_state(), "curve": curve, "best": best, "kept": kept,
                        "running": running, "spent": spent, "step": step,
                    },
                )  # fmt: skip
        parts.load_state_dict(kept, strict=False)
        nothing = dict.fromkeys(("AP", "AP50", "AP75", "AR", "AP pooled", "PCK@0.1"), 0.0)
        return {
            "val": best if kept else nothing | {"step": 0},
            "test": self.score(learner, self.test, recipe) if kept else nothing,
            "diverged": diverged,
            "crops_seen": steps * recipe.batch,
            "seconds_per_step": self._seconds.get(contender.name, 0.0),
            "learning": sum(p.numel() for p in weights),
            "curve": curve,
            "facts": contender.facts,
        }

    def _seconds_left(self, now: tuple[str, float, int, int], rest: int) -> float:
        """Seconds until the plan is done, by the measured time of a step of each contender.

        At least: counted are the next places and the other seeds at the best so far, and a search may lead on.
        Cells on disk cost nothing, whoever made them.

        Args:
            now: name, rate, steps and seed of the cell in training.
            rest: steps that it still has to go.
        """
        total = rest * self._seconds[now[0]]
        first, *others = self.recipe.seeds
        plan: list[tuple[Contender, Place, int]] = []
        for contender in self.contenders:
            grid, tried = self._grid(contender), self._kept(contender)
            for cell in tried.values():
                self._seconds.setdefault(contender.name, cell["seconds_per_step"])
            ahead = next_places(*grid, tried)
            if not tried:  # whatever is found there, its neighbours will be tried
                tried = {ahead[0]: {"val": {"AP": 0.0}}}
                ahead += next_places(*grid, tried)
            plan += [(contender, place, first) for place in ahead]
            plan += [(contender, best_place(tried), seed) for seed in others]
        mean = sum(self._seconds.values()) / len(self._seconds)
        for contender, (rate, steps), seed in plan:
            done = self._path(contender, rate, steps, seed).is_file()
            if not done and (contender.name, rate, steps, seed) != now:
                total += steps * self._seconds.get(contender.name, mean)
        return total


def _save(path: Path, state: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".pt.part")
    torch.save(state, part)
    part.replace(path)


def _evaluate(learner: Learner, crops: Crops, recipe: Recipe) -> dict[str, float]:
    return evaluate(learner, crops, recipe.device, recipe.decoding)


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell's result: from its file where there is one, else made and written there."""
    if path.is_file():
        return json.loads(path.read_text())
    result = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)
    return result
