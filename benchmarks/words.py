"""Asked by words: keypoints that were never trained, and another data set's, by their names.

    genloc zoo data/zoo_20 --per-species 20
    python -m benchmarks.words --zoo data/zoo_20

Trains on the zoo without four of AP-10K's keypoints, each of whose words occurs in others (LocLLM holds
four of COCO's out in the same way), and asks for them by name. Baselines in the same run: (a) the
trained keypoint that the text encoder thinks nearest, the mirror partner, and the best of all trained
keypoints chosen on the test pictures; (b) the same model asked with the words dealt out anew. Besides:
trained names against learned conditions, which name is at a labelled place, and Animal Pose's withers,
throat and ears on the same pictures. Finished cells are kept under `--runs` and skipped by the next
call; several calls with different `--methods` may run side by side, and a last one with all of them
writes the table to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.asked import ELSEWHERE, Asker, nearest_by_words, only_seen
from benchmarks.cells import Benchmark, Contender, Recipe
from benchmarks.crops import ZOO_AUGMENTATION, Crops, zoo_set
from benchmarks.elsewhere import never_read
from benchmarks.learner import Learner, model_of
from benchmarks.prior_worth import quick_zoo
from benchmarks.report import prior_facts, protocol, tuning, write
from genloc.conditions.descriptions import load_descriptions, plain
from genloc.conditions.learned import LearnedCondition
from genloc.conditions.text import TextCondition
from genloc.data.zoo.animalpose import label_zoo
from genloc.losses import HEL
from genloc.metrics.mean_pose import mean_pose
from genloc.models import Prior
from genloc.models.lora import Preset
from genloc.skeleton import ANIMALPOSE, load_skeleton

SKELETON = load_skeleton("ap10k")
HELD = ("right_elbow", "left_front_paw", "left_knee", "right_back_paw")


@dataclass(frozen=True)
class Method:
    """What conditions are made from, and whether the four are trained after all."""

    title: str
    arguments: dict[str, Any] | None = None  # of TextCondition; None is LearnedCondition
    all_names: bool = False
    renamed: bool = False


METHODS = {
    "words": Method("by words, without the four", {}),
    "words-all": Method("by words, the four trained, too: what there is to reach", {}, True),
    "learned": Method("learned conditions, without the four"),
    "renamed": Method("by words, but each keypoint has another's name", {}, renamed=True),
    "words-full": Method("by whole descriptions, without the four", {"say": "full"}),
    "words-lora": Method("by words, LoRA on the text encoder", {"encoder_rank": 8}),
    "words-every": Method("by words, every keypoint asked in each crop", {"subset": None}),
    "words-plain": Method("by words, without paraphrases", {"paraphrase": False}),
}
DEFAULT = ("words", "words-all", "learned", "renamed")


def renamed(seed: int = 0) -> dict[str, Any]:
    """AP-10K's descriptions dealt out anew: among the held-out keypoints, and among the others."""
    said = plain(load_descriptions(None, SKELETON))
    rng = np.random.default_rng([seed, 6])
    dealt: dict[str, Any] = {}
    for group in (HELD, tuple(name for name in SKELETON.keypoints if name not in HELD)):
        order = np.arange(len(group))
        while (order == np.arange(len(group))).any():
            order = rng.permutation(len(group))
        dealt |= {name: said[group[i]] for name, i in zip(group, order, strict=True)}
    return dealt


def learner(a: argparse.Namespace, method: Method, seed: int) -> Learner:
    """An untrained model of a method, context null."""
    model = model_of(a)
    channels, text = model.prior.condition_channels, model.prior.text
    generator = torch.Generator().manual_seed(seed)
    if method.arguments is None:
        learned = LearnedCondition("text").build(SKELETON, channels, text)
        return Learner(model, HEL(), learned, sigma=a.sigma * a.finer)
    condition = TextCondition(
        **method.arguments,
        descriptions=renamed() if method.renamed else None,
        held_out=() if method.all_names else HELD,
        pool=a.pool,
    )
    condition.build(SKELETON, channels, text, generator)
    return Learner(model, HEL(), condition, sigma=a.sigma * a.finer)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--zoo", type=Path, default=Path("data/zoo"), help="folder of `genloc zoo`")
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add("--methods", nargs="+", choices=list(METHODS), default=list(DEFAULT))
    add(
        "--rates",
        type=float,
        nargs="+",
        default=[2e-4, 3e-4, 5e-4, 8e-4],
        help="of LoRA; searched from the middle on by AP on val",
    )
    add("--shots", type=int, default=0, help="training pictures of each species; 0 for all")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="rates are chosen with the first")
    add("--steps", type=int, default=1000)
    add("--every", type=int, default=500, help="steps between evaluations on val")
    add("--batch", type=int, default=8)
    add("--views", type=int, default=8, help="augmented crops of each instance, drawn once")
    add("--crop-size", type=int, default=128)
    add("--warmup", type=int, default=50)
    add("--lr-words", type=float, default=1e-3, help="of the words' head")
    add("--lr-condition", type=float, default=1e-2, help="of learned conditions")
    add("--lora", choices=get_args(Preset), default="all")
    add("--rank", type=int, default=64)
    add("--lora-ratio", type=float, default=10, help="of the rates of LoRA's factors (LoRA+)")
    add("--layers", default="finest-first", help="whose maps are merged")
    add("--finer", type=int, default=2, help="times that maps are finer than their layer")
    add("--timestep", type=int, default=201, help="at which the latent is read")
    add("--sigma", type=float, default=0.5, help="of the targets, in cells of 8 pixels")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the forward pass")
    add("--pool", choices=["end", "mean"], default="end", help="of the text encoder")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--runs", type=Path, default=Path("runs/words"), help="crops and finished cells")
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="a few steps on a zoo of four species, to see it run")
    a = parser.parse_args(argv)
    if a.quick:
        a.zoo, a.out = quick_zoo(a.runs), a.runs / "quick"
        a.seeds, a.rates, a.steps, a.every = a.seeds[:2], a.rates[:1], 2, 1
        a.batch, a.views, a.crop_size = 4, 2, 64
    return a


COLUMNS = {
    "AP trained names": "AP",
    "AP held out": "AP held out",
    "PCK held out": "PCK held out",
    "(a) nearest": "PCK nearest",
    "(a) mirror": "PCK mirror",
    "(a) best copy": "PCK best seen",
    "(b) shuffled": "PCK shuffled",
    "identified": "identified",
    "by place alone": "identified by place",
    "by chance": "identified by chance",
    "identified held out": "identified held out",
    "held out by place alone": "identified held out by place",
}


def spread(cells: Sequence[dict[str, Any]], score: str) -> tuple[float, float, float]:
    """(mean, least, most) over seeds, times 100."""
    values = [100 * cell["test"][score] for cell in cells]
    return statistics.mean(values), min(values), max(values)


def said(cells: Sequence[dict[str, Any]], score: str) -> str:
    if not all(score in cell["test"] for cell in cells):
        return "-"
    middle, least, most = spread(cells, score)
    return f"{middle:.1f}" + (f" ({least:.1f} to {most:.1f})" if len(cells) > 1 else "")


def table(rows: Mapping[str, Sequence[dict[str, Any]]], columns: Mapping[str, str]) -> list[str]:
    """Markdown: mean (least to most) over seeds."""
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, cells in rows.items():
        shown = (said(cells, score) for score in columns.values())
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return lines


def verdict(results: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """What was asked of names that were never trained, and whether it is so."""
    if "words" not in results:
        return []
    cells = results["words"]
    middle, least, _ = spread(cells, "PCK held out")
    lines = []

    def against(what: str, others: Sequence[dict[str, Any]], score: str) -> None:
        other, _, most = spread(others, score)
        apart = "outside the spread of the seeds" if least > most else "within the spread"
        lines.append(
            f"PCK of held-out names over {what}: {middle - other:+.1f}"
            + (f", {apart}" if len(cells) > 1 else ", one seed")
        )

    against("(a) the nearest trained keypoint", cells, "PCK nearest")
    against("(a) the mirror partner", cells, "PCK mirror")
    against("(a) the best trained keypoint, chosen on the test pictures", cells, "PCK best seen")
    against("(b) shuffled words", cells, "PCK shuffled")
    for name in ("renamed", "words-all"):
        if name in results:
            against(f"{name} ({METHODS[name].title})", results[name], "PCK held out")
    if "learned" in results:
        gap = spread(cells, "AP")[0] - spread(results["learned"], "AP")[0]
        lines.append(
            f"AP of trained names over learned conditions: {gap:+.1f} (asked: at least -3)"
        )
    return lines


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    if not (a.zoo / "annotations" / "animalpose-test.json").is_file():
        zoo_set(a.zoo, "test")  # refuses a folder without a zoo
        print("labelling the test pictures with Animal Pose's keypoints ...", flush=True)
        label_zoo(a.zoo, "test")
    kept, source = a.runs / "crops", zoo_set(a.zoo, "train", a.shots or None)
    train = Crops(source, kept, size=a.crop_size, views=a.views, augmentation=ZOO_AUGMENTATION)
    val, test = (Crops(zoo_set(a.zoo, s), kept, size=a.crop_size) for s in ("val", "test"))
    prior = Prior(a.prior, dtype="fp32").load().to(a.device)
    for crops in (train, val, test):
        crops.encode(prior)
    seen = tuple(name for name in SKELETON.keypoints if name not in HELD)
    words = load_descriptions(None, SKELETON) | {
        name: load_descriptions(None, ANIMALPOSE)[name] for name in ELSEWHERE
    }
    names = list(words)
    embedded = prior.text([words[name].names[0] for name in names], a.pool)
    asked, among = [*HELD, *ELSEWHERE], [names.index(name) for name in seen]
    near = nearest_by_words(embedded, [names.index(name) for name in asked], among)
    nearest = {name: names[i] for name, i in zip(asked, near, strict=True)}
    fingerprint = prior.digest()
    said_elsewhere = {name: words[name].full for name in ELSEWHERE}
    unread = {name: prior.text.unread([words[name].full]) for name in [*HELD, *ELSEWHERE]}
    del prior
    recipe = Recipe(
        batch=a.batch, steps=(a.steps,), every=a.every, seeds=tuple(a.seeds),
        warmup=min(a.warmup, a.steps // 4), lr_condition=a.lr_condition, device=a.device,
        precision=a.precision,
    )  # fmt: skip
    few = only_seen(train, seen)
    contenders = []
    for name in a.methods:
        method = METHODS[name]
        facts = {
            "method": str(method), "prior": fingerprint, "held out": HELD, "pool": a.pool,
            "lora": a.lora, "rank": a.rank, "nearest": nearest, "lr words": a.lr_words,
            "layers": a.layers, "finer": a.finer, "timestep": a.timestep, "sigma": a.sigma,
            "identified among": "what was trained or is asked by words", "asked": said_elsewhere,
        }  # fmt: skip

        def make(seed: int, method: Method = method) -> Learner:
            return learner(a, method, seed)

        rate = None if method.arguments is None else a.lr_words
        crops = train if method.all_names else few
        contenders.append(Contender(name, make, crops, tuple(a.rates), facts, rate, a.lora_ratio))
    asker = Asker(SKELETON, HELD, nearest, a.zoo, mean_pose(source.instances))
    print(f"{source.summary()}\nval {len(val)}, test {len(test)} instances", flush=True)
    benchmark = Benchmark(contenders, recipe, val, test, a.runs / "cells", asker)
    results = benchmark.run()
    how = protocol(
        test,
        recipe,
        {
            "trained on": f"{len(train)} instances, {a.views} augmented crops of {a.crop_size} pixels each; "
            f"{source.checksum} of {source.annotations}",
            "never trained": ", ".join(HELD),
            "words that the prior never read": never_read(unread),
            "identified": "labelled places given their own name; candidates: all 17 names by words, of learned "
            "conditions the trained ones; by place alone: the nearest mean place of the training pictures, "
            "also of held-out names; by chance: 1 / candidates",
            "(a) nearest by words": ", ".join(f"{k}: {v}" for k, v in nearest.items()),
            "PCK": "at 0.1 of the box's longer side",
            "seeds": f"{', '.join(map(str, a.seeds))}; mean (least to most)",
            "chosen by AP of trained names on val": "rate with the first seed, weights along the way",
            "schedule": f"{a.steps} steps of {a.batch}, cosine, {recipe.warmup} of warm-up",
            **prior_facts(a.prior, fingerprint),
            "model": f"LoRA {a.lora}, rank {a.rank}, B at {a.lora_ratio:g} times the rate of A; {a.layers}, "
            f"finer: {a.finer}, at t={a.timestep}; context null; trained in {a.precision}; "
            f"words: the text encoder's {a.pool}",
        },
    )
    elsewhere = {
        f"{name} {what}": f"{name} {what}"
        for name in ELSEWHERE
        for what in ("by name", "described", "nearest", "best seen")
    }
    lines = [
        "# Asked by words", "", *table(results, COLUMNS), "",
        *(f"- {name}: {METHODS[name].title}" for name in results), "",
        *(f"- {line}" for line in verdict(results)), "",
        "Each held-out name, PCK:", "",
        *table(results, {name: f"PCK {name}" for name in HELD}), "",
        "Animal Pose's keypoints on the same pictures, PCK:", "", *table(results, elsewhere), "",
        *(f"- {line}" for line in how.lines()), "",
        "AP on val of the first seed, rate x steps:", "",
        *(f"- {line}" for line in tuning(benchmark)),
    ]  # fmt: skip
    content = {"results": results, "protocol": how.lines(), "verdict": verdict(results)}
    write(a.out, "words", a.device, lines, content)


if __name__ == "__main__":
    main()
