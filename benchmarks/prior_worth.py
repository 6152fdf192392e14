"""What the tiny prior is worth: GenLoc on it against rivals without it, from few labelled pictures.

    genloc zoo data/zoo --per-species 20
    python -m benchmarks.prior_worth --zoo data/zoo

Five training pictures of each species, three seeds, every contender at its own best rate and its own best
number of steps: both are searched in a grid with the first seed until the best lies inside what was tried, or
at the grid's end, which the table then says (`benchmarks.search`). Other grids: `--steps 1200 2400`, `--rates
genloc=2e-4,3e-4 scratch-all=5e-4,1e-3`. All else is as in `configs/zoo.yaml`. Finished cells are kept under
`--runs` and skipped by the next call, a stopped one goes on; several calls with different `--methods` may run
side by side, and a last one with all of them writes the table to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from benchmarks.cells import Benchmark, Contender, Recipe
from benchmarks.crops import ZOO_AUGMENTATION, Crops, weights_hash, zoo_set
from benchmarks.learner import Learner
from benchmarks.report import mean_pose_scores, prior_facts, protocol, spread, table, tuning, write
from genloc.conditions.learned import LearnedCondition
from genloc.data.zoo import write_zoo
from genloc.losses import HEL, HeatmapMSE
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.baselines import ConvHead, SimplePose
from genloc.models.lora import Preset
from genloc.models.walk import LAYERS
from genloc.skeleton import load_skeleton

SKELETON = load_skeleton("ap10k")


@dataclass(frozen=True)
class Options:
    """What makes the contenders."""

    prior: str
    lora: str
    rank: int
    context: str
    init: str
    layers: str
    finer: int
    timestep: int
    sigma: float


def _genloc(options: Options, unet_seed: int | None, whole: bool) -> Learner:
    lora = None if whole else LoRA(options.lora, options.rank, options.rank)  # type: ignore[arg-type]
    model = GenLoc(
        Prior(options.prior, dtype="fp32", unet_seed=unet_seed),
        context=options.context,  # type: ignore[arg-type]
        lora=lora,
        layers=options.layers,
        finer=options.finer,
        timestep=options.timestep,
        train_unet=whole,
    ).load()
    prior = model.prior
    # Without a prior there is no text encoder to start from either.
    init = options.init if unet_seed is None else "normal"
    condition = LearnedCondition(init)  # type: ignore[arg-type]
    condition.build(SKELETON, prior.condition_channels, prior.text)
    return Learner(model, HEL(), condition, sigma=options.sigma * options.finer)


def _conv_head(options: Options, output: str, upsample: int) -> Learner:
    model = ConvHead(
        Prior(options.prior, dtype="fp32"),
        output=output,  # type: ignore[arg-type]
        upsample=upsample,
        timestep=options.timestep,
    )
    model.load().build(SKELETON.num_keypoints)
    sigma = options.sigma * upsample
    return Learner(model, HEL() if output == "softmax" else HeatmapMSE(), sigma=sigma)


def small_simple_pose(width: int = 32) -> Learner:
    """A ResNet-18 from scratch whose first stage has `width` channels (64 is the published one)."""
    model = SimplePose(
        depths=(2, 2, 2, 2),
        widths=(width, 2 * width, 4 * width, 8 * width),
        layer="basic",
        stem=width,
        channels=2 * width,
    )
    model.load().build(SKELETON.num_keypoints)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Learner(model, HeatmapMSE(), reads="image")


@dataclass(frozen=True)
class Method:
    """A contender: how it is called, the grid of its rates, and how one is made for a seed."""

    title: str
    rates: tuple[float, ...]
    make: Callable[[Options, int], Learner]
    uses: tuple[str, ...] = ()  # names of `Options` that change it
    reads: Literal["prior", "encoder", "nothing"] = "prior"  # the weights its results depend on


# Searched from the middle on.
LORA, WHOLE = (2e-4, 3e-4, 5e-4, 8e-4, 1.2e-3), (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
CONV = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
LORA_ALONE = (1e-4, 3e-4, 8e-4, 2e-3, 5e-3)  # on a random U-Net
READ = ("context", "layers", "finer", "timestep", "sigma")
SCOPE = (*READ, "lora", "rank", "init")
METHODS: dict[str, Method] = {
    "genloc": Method(
        "GenLoc on the tiny prior, LoRA", LORA, lambda o, s: _genloc(o, None, False), SCOPE
    ),
    "scratch-lora": Method(
        "(a) random U-Net, LoRA only",
        LORA_ALONE,
        lambda o, s: _genloc(o, s, False),
        SCOPE[:-1],
        "encoder",
    ),
    "scratch-all": Method(
        "(b) random U-Net, all weights",
        WHOLE,
        lambda o, s: _genloc(o, s, True),
        READ,
        "encoder",
    ),
    "conv-head": Method(
        "(c) convolutions on the frozen prior's features, softmax and HEL",
        CONV,
        lambda o, s: _conv_head(o, "softmax", 1),
        ("timestep", "sigma"),
    ),
    "conv-head-mse": Method(
        "(c') the same on twice the cells, MSE",
        CONV,
        lambda o, s: _conv_head(o, "linear", 2),
        ("timestep", "sigma"),
    ),
    "genloc-all": Method(
        "GenLoc on the tiny prior, all weights",
        WHOLE,
        lambda o, s: _genloc(o, None, True),
        (*READ, "init"),
    ),
    "simple-pose": Method(
        "SimplePose (half-width ResNet-18) from scratch",
        WHOLE,
        lambda o, s: small_simple_pose(),
        reads="nothing",
    ),
}
DEFAULT = ("genloc", "scratch-lora", "scratch-all", "conv-head")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--zoo", type=Path, default=Path("data/zoo"), help="folder of `genloc zoo`")
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add("--methods", nargs="+", choices=list(METHODS), default=list(DEFAULT))
    add("--rates", nargs="+", default=[], metavar="METHOD=RATE,RATE", help="instead of the usual")
    add("--shots", type=int, default=5, help="training pictures of each species")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="rates are chosen with the first")
    add(
        "--steps",
        type=int,
        nargs="+",
        default=[1200, 2400, 4800],
        help="grid of numbers of optimiser steps",
    )
    add("--every", type=int, default=600, help="steps between evaluations on val")
    add("--batch", type=int, default=8)
    add("--views", type=int, default=64, help="augmented crops of each instance, drawn once")
    add("--crop-size", type=int, default=128)
    add("--schedule", choices=["constant", "cosine"], default="cosine")
    add("--warmup", type=int, default=50)
    add("--lr-condition", type=float, default=1e-2)
    add("--lora", choices=get_args(Preset), default="all")
    add("--rank", type=int, default=64)
    add("--lora-ratio", type=float, default=10.0, help="of the rates of LoRA's B and A (LoRA+)")
    add("--context", choices=["conditions", "null"], default="null")
    add("--layers", choices=LAYERS, default="finest-first")
    add("--finer", type=int, default=2, help="times that maps are finer than their layer")
    add("--timestep", type=int, default=201, help="at which the U-Net reads the clean latent")
    add("--sigma", type=float, default=0.5, help="of the targets, in cells of 8 pixels")
    add("--init", choices=["normal", "text"], default="text", help="the conditions' start")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the forward pass")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--runs", type=Path, default=Path("runs/prior_worth"), help="crops and finished cells")
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="a few steps on a zoo of four species, to see it run")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        quick(arguments)
    return arguments


def quick(a: argparse.Namespace) -> None:
    """Shrink everything but the seeds; its zoo and tables stay under `--runs`."""
    a.zoo, a.out = quick_zoo(a.runs), a.runs / "quick"
    a.seeds, a.steps, a.every, a.batch, a.views, a.crop_size = a.seeds[:2], [2], 1, 4, 2, 64
    a.rank = 4


def quick_zoo(runs: Path) -> Path:
    """A zoo of four species and ten pictures each."""
    zoo = runs / "quick" / "zoo"
    if not (zoo / "annotations" / "ap10k-test-split1.json").is_file():
        write_zoo(zoo, per_species=10, size=96, species=(1, 8, 21, 25), workers=1)
    return zoo


def contenders(a: argparse.Namespace, train: Crops, prior: Prior) -> list[Contender]:
    """The chosen methods with their rates."""
    options = Options(
        a.prior, a.lora, a.rank, a.context, a.init, a.layers, a.finer, a.timestep, a.sigma
    )
    # Rivals with a U-Net of their own are not trained again for every new prior of the same encoder.
    weights = {"prior": prior.digest(), "encoder": weights_hash(prior.vae)}
    given = dict(text.split("=", 1) for text in a.rates)
    if unknown := sorted(given.keys() - METHODS.keys()):
        raise ValueError(f"--rates: no method {unknown}; known: {list(METHODS)}")
    found = []
    for name in a.methods:
        method = METHODS[name]
        rates = tuple(float(r) for r in given[name].split(",")) if name in given else method.rates
        facts = {use: getattr(options, use) for use in method.uses} | {"method": method.title}
        if method.reads != "nothing":
            facts[method.reads] = weights[method.reads]

        def make(seed: int, method: Method = method) -> Learner:
            return method.make(options, seed)

        ratio = a.lora_ratio if "lora" in method.uses else 1.0
        found.append(
            Contender(name, make, train, rates[:2] if a.quick else rates, facts, lora_ratio=ratio)
        )
    return found


def verdict(results: dict[str, list[dict]]) -> list[str]:
    """GenLoc against each rival: difference of means, and whether the ranges over seeds overlap."""
    if "genloc" not in results:
        return []
    middle, *ours = spread(results["genloc"])
    lines = []
    for name, cells in results.items():
        if name == "genloc":
            continue
        other, *theirs = spread(cells)
        apart = ours[0] > theirs[1] or theirs[0] > ours[1]
        said = f"the ranges over seeds {'do not ' if apart else ''}overlap"
        if len(cells) < 2:
            said = "one seed"
        lines.append(f"genloc over {name}: {middle - other:+.1f} AP; {said}")
    return lines


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    source, kept = zoo_set(a.zoo, "train", a.shots), a.runs / "crops"
    train = Crops(source, kept, size=a.crop_size, views=a.views, augmentation=ZOO_AUGMENTATION)
    val, test = (Crops(zoo_set(a.zoo, s), kept, size=a.crop_size) for s in ("val", "test"))
    prior = Prior(a.prior, dtype="fp32").load().to(a.device)
    for crops in (train, val, test):
        crops.encode(prior)
    recipe = Recipe(
        batch=a.batch, steps=tuple(a.steps), every=a.every, seeds=tuple(a.seeds), schedule=a.schedule,
        warmup=min(a.warmup, min(a.steps) // 4), lr_condition=a.lr_condition, device=a.device,
        precision=a.precision,
    )  # fmt: skip
    print(f"{source.summary()}\nval {len(val)}, test {len(test)} instances", flush=True)
    benchmark = Benchmark(contenders(a, train, prior), recipe, val, test, a.runs / "cells")
    results = benchmark.run()
    mean = mean_pose_scores(train, test)
    said = protocol(
        test,
        recipe,
        {
            "trained on": f"{a.shots} pictures of each species, {len(train)} instances, {a.views} "
            f"augmented crops of {a.crop_size} pixels each; {source.checksum} of {source.annotations}",
            "crops seen": f"{' or '.join(str(s * a.batch) for s in sorted(set(a.steps)))}, {a.batch} a step, "
            "whichever is best for a contender",
            "schedule": f"{a.schedule}, {recipe.warmup} steps of warm-up, conditions at {a.lr_condition:g}",
            "seeds": f"{', '.join(map(str, a.seeds))}; AP: mean (least to most)",
            "chosen by AP on val": "rate and number of steps with the first seed, weights along the way",
            "precision": f"{a.precision} in training, fp32 in tests",
            **prior_facts(a.prior, prior.digest()),
            "LoRA": f"{a.lora}, rank {a.rank}, B at {a.lora_ratio:g} times the rate of A",
            "model": f"context: {a.context}; layers: {a.layers}; finer: {a.finer}; timestep: {a.timestep}; "
            f"sigma: {a.sigma:g} cells of 8 pixels; conditions start: {a.init}",
        },
    )
    lines = [
        "# What the tiny prior is worth",
        "",
        *table(results, mean),
        "",
        *(f"- {name}: {METHODS[name].title}" for name in results),
        "",
        *(f"- {line}" for line in verdict(results)),
        "",
        *(f"- {line}" for line in said.lines()),
        "",
        "AP on val of the first seed, rate x steps:",
        "",
        *(f"- {line}" for line in tuning(benchmark)),
    ]
    content = {"results": results, "mean_pose": mean, "protocol": said.lines()}
    content["verdict"] = verdict(results)
    write(a.out, "prior_worth", a.device, lines, content)


if __name__ == "__main__":
    main()
