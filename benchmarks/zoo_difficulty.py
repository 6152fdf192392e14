"""Is the zoo hard enough to need a prior? SimplePose from scratch on 5 pictures per species and on all.

    genloc zoo data/zoo
    python -m benchmarks.zoo_difficulty --zoo data/zoo

Each is trained as long as serves it best on val, of the numbers of steps tried. On AP-10K HRNet reaches
36.0 from 5 pictures of each species and 73 from all: the zoo is as it should be where the first is at most
half of the second, and the second at least 60.
Finished cells are kept under `--runs` and skipped by the next call.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.cells import Benchmark, Contender, Recipe
from benchmarks.crops import ZOO_AUGMENTATION, Crops, zoo_set
from benchmarks.prior_worth import quick_zoo, small_simple_pose
from benchmarks.report import mean_pose_scores, protocol, spread, table, tuning, write

FEW, ALL = "few", "all"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--zoo", type=Path, default=Path("data/zoo"), help="folder of `genloc zoo`")
    add("--sets", nargs="+", choices=[FEW, ALL], default=[FEW, ALL])
    add("--shots", type=int, default=5, help="pictures of each species in the small set")
    add("--rates", type=float, nargs="+", default=[1e-3, 3e-3])
    add("--seeds", type=int, nargs="+", default=[0], help="the rate is chosen with the first")
    add("--steps", type=int, nargs="+", default=[6000], help="numbers of optimiser steps to try")
    add("--few-steps", type=int, nargs="+", default=[1500, 3000], help="the same for the small set")
    add("--every", type=int, default=500, help="steps between evaluations on val")
    add("--batch", type=int, default=32)
    add("--views", type=int, default=6, help="augmented crops of each instance of all, drawn once")
    add(
        "--few-views", type=int, default=64, help="the same of the small set, which is seen oftener"
    )
    add("--crop-size", type=int, default=128)
    add("--width", type=int, default=32, help="channels of the ResNet-18's first stage")
    add("--decoding", choices=["centroid", "quarter", "argmax"], default="centroid")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the forward pass")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--runs", type=Path, default=Path("runs/zoo_difficulty"), help="crops and finished cells")
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="a few steps on a zoo of four species, to see it run")
    a = parser.parse_args(argv)
    if a.quick:
        a.zoo, a.out, a.rates = quick_zoo(a.runs), a.runs / "quick", a.rates[:1]
        a.steps, a.few_steps, a.every = [4], [2, 4], 2
        a.batch, a.crop_size, a.width = 4, 64, 8
        a.views, a.few_views = 2, 3
    return a


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    kept = a.runs / "crops"
    trains = {
        name: Crops(
            zoo_set(a.zoo, "train", a.shots if name == FEW else None),
            kept,
            size=a.crop_size,
            views=a.few_views if name == FEW else a.views,
            augmentation=ZOO_AUGMENTATION,
        )
        for name in a.sets
    }
    val, test = (Crops(zoo_set(a.zoo, s), kept, size=a.crop_size) for s in ("val", "test"))
    recipe = Recipe(
        batch=a.batch, steps=tuple(a.steps), every=a.every, seeds=tuple(a.seeds), device=a.device,
        warmup=min(50, min(a.steps + a.few_steps) // 4), decoding=a.decoding, precision=a.precision,
    )  # fmt: skip
    benchmarks = {}
    for name, train in trains.items():
        contender = Contender(
            name, lambda _: small_simple_pose(a.width), train, tuple(a.rates), {"width": a.width}
        )
        own = replace(recipe, steps=tuple(a.few_steps if name == FEW else a.steps))
        benchmarks[name] = Benchmark([contender], own, val, test, a.runs / "cells")
    results = {name: benchmark.run()[name] for name, benchmark in benchmarks.items()}
    said = protocol(
        test,
        recipe,
        {
            "model": f"SimplePose, ResNet-18 of {a.width} to {8 * a.width} channels from scratch, MSE",
            **{
                f"trained on ({name})": f"{len({i.image_id for i in t.source.instances})} pictures, "
                f"{len(t)} instances, {t.views} augmented crops of {a.crop_size} pixels each"
                for name, t in trains.items()
            },
            "precision": f"{a.precision} in training, fp32 in tests",
            "crops seen": "; ".join(
                f"{name} {' or '.join(str(s * a.batch) for s in b.recipe.steps)}"
                for name, b in benchmarks.items()
            )
            + f", {a.batch} a step",
            "seeds": f"{', '.join(map(str, a.seeds))}; AP: mean (least to most)",
            "chosen by AP on val": "rate and number of steps with the first seed, weights along the way",
        },
    )
    mean = mean_pose_scores(trains[a.sets[-1]], test)
    lines = ["# Is the zoo hard enough to need a prior?", "", *table(results, mean), ""]
    content: dict = {"results": results, "mean_pose": mean, "protocol": said.lines()}
    if len(results) == 2:
        few, whole = spread(results[FEW])[0], spread(results[ALL])[0]
        content["ratio"] = few / whole if whole else None
        good = "yes" if few <= whole / 2 and whole >= 60 else "no"
        lines += [
            f"{a.shots} pictures of each species reach {few:.1f} AP, all of them {whole:.1f}: "
            f"{few / whole if whole else float('nan'):.2f} of it (at most 0.5 and at least 60 AP: {good}).",
            "",
        ]
    lines += [*(f"- {line}" for line in said.lines()), "", "AP on val of the first seed:", ""]
    lines += [f"- {line}" for benchmark in benchmarks.values() for line in tuning(benchmark)]
    write(a.out, "zoo_difficulty", a.device, lines, content)


if __name__ == "__main__":
    main()
