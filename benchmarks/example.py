"""Asking by an example on categories never trained on: the zoo's body plans, CapeFormer's protocol.

    genloc zoo data/categories --bodies all
    python -m benchmarks.example --categories data/categories

Trains `VisualCondition` with LoRA on the 20 training categories of a split and asks for the keypoints
of the 5 unseen ones by 1 and by 5 labelled pictures, beside the place that the supports alone suggest
and the untrained correlation of features. Finished cells are kept under `--runs` and skipped by the
next call; the table is written to `--out`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.cells import kept
from benchmarks.crops import Crops, short_hash
from benchmarks.episodes import model_of, pairs_of, scores, sets, train
from benchmarks.report import write
from genloc.card import prior_has_seen
from genloc.data.categories import CategorySets
from genloc.data.transforms import Augmentation
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

SHOWN = ("PCK@0.1", "PCK@0.2", "mPCK")


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
        default="1",
        help="1 to 5, or a body plan that is left out of training (bird, ...)",
    )
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add(
        "--rates",
        type=float,
        nargs="+",
        default=[2e-4, 3e-4],
        help="of LoRA; chosen by val, first seed",
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
    add("--lora", choices=get_args(Preset), default="all")
    add("--rank", type=int, default=64)
    add("--layers", default="finest-first", help="whose maps are merged")
    add("--finer", type=int, default=2, help="times that maps are finer than their layer")
    add("--timestep", type=int, default=201, help="at which the latent is read")
    add("--sigma", type=float, default=1.0, help="of the targets, in cells of 8 pixels")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the forward pass")
    add("--sigma-pool", type=float, default=1.0, help="of the pooling of supports, in cells")
    add(
        "--temperatures",
        nargs="+",
        default=["none", "0.05", "0.02"],
        help="of the untrained baseline",
    )
    add("--per-category", type=int, default=200, help="episodes of each category")
    add("--queries", type=int, default=15)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--runs", type=Path, default=Path("runs/example"), help="crops and finished cells")
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="two steps on ten pictures of each, to see it run")
    a = parser.parse_args(argv)
    if a.quick:
        a.categories, a.out = a.runs / "quick" / "categories", a.runs / "quick"
        if not (a.categories / "annotations" / "mp100_split1_train.json").is_file():
            write_categories(a.categories, per_category=10, size=64, workers=1)
        a.seeds, a.rates, a.steps, a.batch, a.views = a.seeds[:2], a.rates[:1], 2, 4, 2
        a.crop_size, a.per_category, a.queries, a.shots = 64, 1, 2, [1, 2]
    return a


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    source = sets(a)
    crops = {
        part: Crops(
            one, a.runs / "crops", size=a.crop_size,
            views=a.views if part == "train" else 1,
            augmentation=Augmentation(flip=0, half_body=0, rotation=20) if part == "train" else None,
        )
        for part, one in source.items()
    }  # fmt: skip
    prior = Prior(a.prior, dtype="fp32").load().to(a.device)
    for one in crops.values():
        one.encode(prior)
    fingerprint = prior.digest()
    del prior
    watched = "val" if "val" in crops else "train"
    common = {
        "crops": [one.key for one in crops.values()],
        "prior": fingerprint,
        **{
            k: getattr(a, k)
            for k in (
                "split",
                "crop_size",
                "layers",
                "finer",
                "timestep",
                "sigma_pool",
                "per_category",
                "queries",
                "shots",
            )
        },
    }
    cells = a.runs / "cells"

    def trained(rate: float, seed: int) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            asker, facts = train(a, crops["train"], rate, seed)
            part = a.runs / "weights" / f"{a.split}-lr{rate:g}-seed{seed}.pt"
            part.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {"model": trainable_state(asker.model), "condition": asker.condition.state_dict()},
                part,
            )
            found = {f"test {s}": scores(a, asker, crops["test"], s) for s in a.shots}
            return (
                facts
                | found
                | {watched: scores(a, asker, crops[watched], 1), "rate": rate, "seed": seed}
            )

        named = (
            "lora", "rank", "lora_ratio", "steps", "batch", "train_shots", "lr_condition", "views",
            "sigma", "precision",
        )  # fmt: skip
        facts = common | {k: getattr(a, k) for k in named} | {"rate": rate, "seed": seed}
        return kept(cells / f"trained-lr{rate:g}-seed{seed}-{short_hash(facts)}.json", make)

    def untrained(temperature: str) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            value = None if temperature == "none" else float(temperature)
            asker = ByCorrelation(model_of(a, lora=False).to(a.device), a.sigma_pool, value)
            found = {f"test {s}": scores(a, asker, crops["test"], s) for s in a.shots}
            return found | {
                watched: scores(a, asker, crops[watched], 1),
                "temperature": temperature,
            }

        key = short_hash(common | {"temperature": temperature})
        return kept(cells / f"untrained-{temperature}-{key}.json", make)

    def placed(of: Callable, part: str, shots: int) -> dict[str, float]:
        one = source[part]
        pairs = pairs_of(a, one, shots)
        return episode_scores(score(one, pairs, of(one, pairs)))

    places = {
        name: {f"test {s}": placed(of, "test", s) for s in a.shots} | {watched: placed(of, watched, 1)}
        for name, of in (("place of the supports", place_of_supports),
                         ("mean place of the whole category", place_of_category))
    }  # fmt: skip
    print(
        json.dumps(
            {n: {k: round(100 * v["PCK@0.2"], 1) for k, v in p.items()} for n, p in places.items()}
        )
    )
    baseline = max(
        (untrained(t) for t in a.temperatures), key=lambda cell: cell[watched]["PCK@0.2"]
    )
    first, *others = a.seeds
    best = max(
        (trained(rate, first) for rate in a.rates), key=lambda cell: cell[watched]["PCK@0.2"]
    )
    runs = [best, *(trained(best["rate"], seed) for seed in others)]
    report(a, source, fingerprint, places, baseline, runs, watched)


def report(
    a: argparse.Namespace, source: dict[str, CategorySets], fingerprint: str, places: dict, baseline: dict,
    runs: list[dict], watched: str,
) -> None:  # fmt: skip
    """Table and numbers, with how they were made."""
    columns = [(f"test {s}", name) for s in a.shots for name in SHOWN] + [(watched, "PCK@0.2")]
    head = [
        "",
        *(
            f"{part.removeprefix('test ')}-shot {name}" if part != watched else f"{watched} {name}"
            for part, name in columns
        ),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" + " ---: |" * len(columns)]
    rows = {
        **{name: [cell] for name, cell in places.items()},
        "untrained correlation": [baseline],
        "VisualCondition": runs,
    }
    for name, cells in rows.items():
        texts = []
        for part, column in columns:
            values = [100 * cell[part][column] for cell in cells]
            more = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
            texts.append(f"{statistics.mean(values):.1f}{more}")
        lines.append("| " + " | ".join([name, *texts]) + " |")
    test, train_set = source["test"], source["train"]
    said = [
        f"trained on {len(train_set.by_category)} categories, {len(train_set)} instances; asked for "
        f"{', '.join(test.species(c) for c in test.by_category)}, never trained on",
        f"{a.per_category} episodes x {a.queries} queries of each category, drawn from seed 1; keypoints "
        "labelled in query and every support; PCK of a pair, then mean over pairs",
        f"{watched}: 1 shot, "
        + ("further" if watched == "val" else "the")
        + " pictures of the training categories",
        f"crops of {a.crop_size}, padding 1.25, decoding: centroid; {a.steps} steps of {a.batch} queries "
        f"with {a.train_shots} support(s); LoRA {a.lora}, rank {a.rank}, at {runs[0]['rate']:g} (B at "
        f"{a.lora_ratio:g} times that), {a.layers}, finer: {a.finer}, at t={a.timestep}, trained in {a.precision}, the "
        f"condition's network at {a.lr_condition:g}; seeds {', '.join(map(str, a.seeds))}: mean (least to most)",
        f"rate and the correlation's temperature ({baseline['temperature']}) chosen by {watched}",
        f"prior: {a.prior}@{fingerprint}; {test.checksum} of {test.annotations}",
    ]
    if seen := prior_has_seen(a.prior):
        said.append(f"prior has seen: {seen}; all are quadrupeds")
    text = ["# Asking by an example", "", *lines, "", *(f"- {line}" for line in said)]
    content = {"places": places, "untrained": baseline, "trained": runs, "protocol": said}
    write(a.out, f"example_{a.split}", a.device, text, content)


if __name__ == "__main__":
    main()
