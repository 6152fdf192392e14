"""Asking by an example on categories never trained on: the zoo's body plans, CapeFormer's protocol.

    genloc zoo data/categories --bodies all
    python -m benchmarks.example --categories data/categories --split 1 2 3 4 5

Trains `VisualCondition` with LoRA on the 20 training categories of each split and asks for the keypoints
of the 5 unseen ones by 1 and by 5 labelled pictures, beside the place that the supports alone suggest
and the untrained correlation of features; and which of the supports' keypoints is at a place, beside the
nearest of the supports' places, in unseen categories and in those trained on. LoRA's rate, and layers and
temperature of the correlation, are chosen on further pictures of the training categories, rates with the
first seed. Of several splits the mean comes first, as published numbers are means over five. Finished
cells are kept under `--runs` and skipped by the next call; the tables are written to `--out`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.cells import kept
from benchmarks.crops import ZOO_AUGMENTATION, ZOO_PADDING, Crops, short_hash
from benchmarks.episodes import names, pairs_of, scores, sets, train
from benchmarks.learner import model_of
from benchmarks.report import write
from benchmarks.search import rates_tried
from genloc.card import prior_has_seen
from genloc.data.categories import CategorySets
from genloc.data.zoo.mp100 import write_categories
from genloc.metrics.episodes import episode_scores
from genloc.models import Prior
from genloc.models.lora import Preset
from genloc.training.protocol import (
    ByCorrelation,
    place_of_category,
    place_of_supports,
    score,
)
from genloc.training.resume import trainable_state

# As of the zoo's animals, but never mirrored: what would change places is not known of all categories.
AUGMENTATION = replace(ZOO_AUGMENTATION, flip=0)
SHOWN = ("PCK@0.1", "PCK@0.2", "mPCK")
NAMED = {"GenLoc.identify": "identify", "nearest of the supports' mean places": "nearest place",
         "chance, 1 of those that the supports label": "chance"}  # fmt: skip
OURS = "VisualCondition"
Cell = dict[str, Any]


@dataclass
class Split:
    """What was found on one split: rows are cells by seed, the training runs' last.

    watched: the set by which was chosen. chosen: what, in words.
    """

    sets: dict[str, CategorySets]
    watched: str
    chosen: str
    rows: dict[str, list[Cell]]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--categories",
        type=Path,
        default=Path("data/categories"),
        help="folder of `genloc zoo --bodies all`",
    )
    add(
        "--split",
        nargs="+",
        default=["1"],
        help="1 to 5, or body plans that are left out of training (bird, ...)",
    )
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add(
        "--rates",
        type=float,
        nargs="+",
        default=[2e-4, 3e-4, 5e-4, 8e-4],
        help="of LoRA; searched from the middle on by val, first seed",
    )
    add("--lora-ratio", type=float, default=10, help="of the rates of LoRA's factors (LoRA+)")
    add("--lr-condition", type=float, default=1e-3, help="of the condition's network")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--steps", type=int, default=1000)
    add("--batch", type=int, default=8, help="queries of a step")
    add("--train-shots", type=int, default=1)
    add("--shots", type=int, nargs="+", default=[1, 5], help="asked with so many")
    add("--views", type=int, default=16, help="augmented crops of each instance, drawn once")
    add("--crop-size", type=int, default=128)
    # The renderer's boxes are tight and never wrong; published pictures have 1.25.
    add("--padding", type=float, default=ZOO_PADDING, help="of the boxes")
    add("--lora", choices=get_args(Preset), default="all")
    add("--rank", type=int, default=64)
    add("--layers", default="finest-first", help="whose maps are merged")
    add("--finer", type=int, default=2, help="times that maps are finer than their layer")
    add("--timestep", type=int, default=201, help="at which the latent is read")
    add("--sigma", type=float, default=0.5, help="of the targets, in cells of 8 pixels")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the forward pass")
    add("--sigma-pool", type=float, default=1.0, help="of the pooling of supports, in cells")
    add(
        "--temperatures",
        nargs="+",
        default=["none", "0.1", "0.05", "0.02"],
        help="of the untrained baseline; chosen by val",
    )
    add(
        "--untrained-layers",
        nargs="+",
        default=["finest-first", "finest", "mean"],
        help="that it compares, likewise",
    )
    add("--per-category", type=int, default=200, help="episodes of each category")
    add("--queries", type=int, default=15)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--runs", type=Path, default=Path("runs/example"), help="crops and finished cells")
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="two steps on ten pictures of each, to see it run")
    a = parser.parse_args(argv)
    if len({split.isdigit() for split in a.split}) > 1 or len(set(a.split)) < len(a.split):
        parser.error(f"--split {' '.join(a.split)}: give numbers or body plans, each once")
    if a.quick:
        a.categories, a.out = a.runs / "quick" / "categories", a.runs / "quick"
        if not (a.categories / "annotations" / "mp100_split1_train.json").is_file():
            write_categories(a.categories, per_category=10, size=64, workers=1)
        a.seeds, a.rates, a.steps, a.batch, a.views = a.seeds[:2], a.rates[:1], 2, 4, 2
        a.crop_size, a.per_category, a.queries, a.shots = 64, 1, 2, [1, 2]
        a.untrained_layers, a.temperatures = a.untrained_layers[:2], a.temperatures[:2]
    return a


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    report(a, {split: found_on(a, split) for split in a.split})


def found_on(a: argparse.Namespace, split: str) -> Split:
    """All cells of a split; those with a file are read."""
    source = sets(a, split)
    crops = {
        part: Crops(
            one, a.runs / "crops", size=a.crop_size, padding=a.padding,
            views=a.views if part == "train" else 1,
            augmentation=AUGMENTATION if part == "train" else None,
        )
        for part, one in source.items()
    }  # fmt: skip
    prior = Prior(a.prior, dtype="fp32").load().to(a.device)
    for one in crops.values():
        one.encode(prior)
    watched = "val" if "val" in crops else "train"
    shared = (
        "crop_size", "layers", "finer", "timestep", "sigma_pool", "per_category", "queries", "shots",
    )  # fmt: skip
    common = {
        "crops": [one.key for one in crops.values()],
        "boxes": "cut to the picture and a pixel smaller",
        "prior": prior.digest(),
        "split": split,
        **{name: getattr(a, name) for name in shared},
    }
    del prior
    cells = a.runs / "cells"

    def trained(rate: float, seed: int) -> Cell:
        def make() -> Cell:
            asker, facts = train(a, crops["train"], rate, seed)
            part = a.runs / "weights" / f"{split}-lr{rate:g}-seed{seed}.pt"
            part.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {"model": trainable_state(asker.model), "condition": asker.condition.state_dict()},
                part,
            )
            found = {f"test {s}": scores(a, asker, crops["test"], s) for s in a.shots}
            named = {f"names {s}": names(a, asker, crops["test"], s) for s in a.shots}
            named[f"names {watched}"] = names(a, asker, crops[watched], 1)
            own = {watched: scores(a, asker, crops[watched], 1), "rate": rate, "seed": seed}
            return facts | found | named | own

        named = (
            "lora", "rank", "lora_ratio", "steps", "batch", "train_shots", "lr_condition", "views",
            "sigma", "precision",
        )  # fmt: skip
        facts = common | {k: getattr(a, k) for k in named} | {"rate": rate, "seed": seed}
        facts["named"] = "also in seen categories"
        return kept(cells / f"trained-lr{rate:g}-seed{seed}-{short_hash(facts)}.json", make)

    def untrained(layers: str, temperature: str, part: str, shots: int) -> dict[str, float]:
        def make() -> dict[str, float]:
            value = None if temperature == "none" else float(temperature)
            read = argparse.Namespace(**vars(a) | {"layers": layers})
            model = model_of(read, lora=False).to(a.device)
            return scores(a, ByCorrelation(model, a.sigma_pool, value), crops[part], shots)

        asked = {"layers": layers, "temperature": temperature, "part": part, "by": shots}
        name = "-".join(("untrained", *map(str, asked.values()), short_hash(common | asked)))
        return kept(cells / f"{name}.json", make)

    def placed(of: Callable, part: str, shots: int) -> dict[str, float]:
        one = source[part]
        pairs = pairs_of(a, one, shots)
        return episode_scores(score(one, pairs, of(one, pairs)))

    def watched_score(cell: Cell) -> float:
        return cell[watched]["PCK@0.2"]

    rows: dict[str, list[Cell]] = {
        name: [{f"test {s}": placed(of, "test", s) for s in a.shots} | {watched: placed(of, watched, 1)}]
        for name, of in (("place of the supports", place_of_supports),
                         ("mean place of the whole category", place_of_category))
    }  # fmt: skip
    for name, (cell,) in rows.items():
        shown = (f"{part} {100 * found['PCK@0.2']:.1f}" for part, found in cell.items())
        print(f"split {split}, {name}, PCK@0.2: {', '.join(shown)}", flush=True)
    choices = list(itertools.product(a.untrained_layers, a.temperatures))
    on_watched = {choice: untrained(*choice, watched, 1) for choice in choices}
    layers, temperature = best = max(choices, key=lambda one: on_watched[one]["PCK@0.2"])
    on_test: Cell = {f"test {s}": untrained(*best, "test", s) for s in a.shots}
    rows["untrained correlation"] = [on_test | {watched: on_watched[best]}]
    first, *others = a.seeds
    tried = rates_tried(a.rates, lambda rate: watched_score(trained(rate, first)))
    rate = max(tried, key=tried.__getitem__)
    rows[OURS] = [trained(rate, seed) for seed in (first, *others)]
    by_rate = ", ".join(f"{one:g}: {100 * value:.1f}" for one, value in tried.items())
    chosen = (
        f"rate {rate:g} (PCK@0.2 by rate, seed {first}: {by_rate}), of the correlation layers "
        f"{layers}, temperature {temperature}"
    )
    return Split(source, watched, chosen, rows)


def mean_cell(cells: Sequence[Cell]) -> Cell:
    """The mean over seeds of every score."""
    return {
        part: {name: statistics.mean(cell[part][name] for cell in cells) for name in found}
        for part, found in cells[0].items()
        if isinstance(found, dict)
    }


def line(name: str, cells: Sequence[Cell], columns: Sequence[tuple[str, str]]) -> str:
    """A row: mean (least to most) over the cells."""
    texts = []
    for part, column in columns:
        values = [100 * cell[part][column] for cell in cells]
        more = f" ({min(values):.1f} to {max(values):.1f})" if len(set(values)) > 1 else ""
        texts.append(f"{statistics.mean(values):.1f}{more}")
    return "| " + " | ".join([name, *texts]) + " |"


def tables(a: argparse.Namespace, rows: Mapping[str, Sequence[Cell]], watched: str) -> list[str]:
    """Where a keypoint is, and which keypoint is at a place."""
    columns = [(f"test {s}", name) for s in a.shots for name in SHOWN] + [(watched, "PCK@0.2")]
    head = [f"{s}-shot {name}" for s in a.shots for name in SHOWN] + [f"{watched} PCK@0.2"]
    lines = ["| | " + " | ".join(head) + " |", "|" + " --- |" + " ---: |" * len(head)]
    lines += [line(name, cells, columns) for name, cells in rows.items()]
    lines += [
        "",
        "Places of a query given their own name, of the keypoints that the supports label:",
        "",
    ]
    parts = {f"names {s}": f"{s}-shot" for s in a.shots}
    parts[f"names {watched}"] = f"{watched}, 1-shot"
    lines += ["| | " + " | ".join(parts.values()) + " |"]
    lines += ["|" + " --- |" + " ---: |" * len(parts)]
    return lines + [
        line(name, rows[OURS], [(part, how) for part in parts]) for name, how in NAMED.items()
    ]


def report(a: argparse.Namespace, splits: Mapping[str, Split]) -> None:
    """Tables and numbers, with how they were made."""
    first = next(iter(splits.values()))
    text = ["# Asking by an example", ""]
    content: dict[str, Any] = {"splits": {split: found.rows for split, found in splits.items()}}
    if len(splits) > 1:
        means = {
            name: [mean_cell(found.rows[name]) for found in splits.values()] for name in first.rows
        }
        content["mean"] = {name: mean_cell(cells) for name, cells in means.items()}
        text += [f"## Mean over {len(splits)} splits (least to most of them)", ""]
        text += [*tables(a, means, first.watched), ""]
    said = []
    for split, found in splits.items():
        test, train_set = found.sets["test"], found.sets["train"]
        text += [f"## Split {split}", "", *tables(a, found.rows, found.watched), ""]
        said.append(
            f"split {split}: trained on {len(train_set.by_category)} categories, {len(train_set)} instances; "
            f"asked for {', '.join(test.species(c) for c in test.by_category)}, never trained on; chosen "
            f"by {found.watched}: {found.chosen}; {test.checksum} of {test.annotations}"
        )
    said += [
        f"{a.per_category} episodes x {a.queries} queries of each category, drawn from seed 1; keypoints "
        "labelled in query and every support; PCK of a pair, then mean over pairs",
        f"{first.watched}: 1 shot, "
        + ("further" if first.watched == "val" else "the")
        + " pictures of the training categories",
        f"crops of {a.crop_size} around boxes cut to the picture and a pixel smaller, padding {a.padding:g}, decoding: "
        f"centroid; {a.steps} steps of {a.batch} queries with {a.train_shots} support(s); LoRA {a.lora}, rank "
        f"{a.rank} (B at {a.lora_ratio:g} times the rate), {a.layers}, finer: {a.finer}, at t={a.timestep}, "
        f"trained in {a.precision}, the condition's network at {a.lr_condition:g}; seeds "
        f"{', '.join(map(str, a.seeds))}: mean (least to most)",
        f"prior: {a.prior}@{Prior(a.prior, dtype='fp32').load().digest()}",
    ]
    if seen := prior_has_seen(a.prior):
        said.append(f"prior has seen: {seen}; all are quadrupeds")
    text += [f"- {one}" for one in said]
    write(a.out, f"example_{'_'.join(a.split)}", a.device, text, content | {"protocol": said})


if __name__ == "__main__":
    main()
