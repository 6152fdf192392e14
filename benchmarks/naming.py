"""Identify, then detect: does naming an example help where left and right look alike?

    genloc zoo data/zoo_20 --per-species 20
    python -m benchmarks.naming --zoo data/zoo_20

Trains one model on the zoo without two families that is asked in three ways at once: by words, by one
labelled picture of the same species, and by that picture with its name added. Tested on pictures of the
families it knows and of the two it does not, 1-shot:

  example         the visual condition alone
  named           named by similarity of conditions, then located with both (`Naming`)
  named by place  named by `GenLoc.identify` at the support's points, then located with both
  words           the names alone, without an example

Besides PCK: how often a keypoint that has a mirror partner is found nearer to that partner, and how often
a labelled place is given its own name. Finished cells are kept under `--runs` and skipped by the next call.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.cells import Recipe, kept
from benchmarks.crops import ZOO_AUGMENTATION, Crops, order, short_hash, zoo_set
from benchmarks.prior_worth import quick_zoo
from benchmarks.report import prior_facts, protocol, write
from benchmarks.words import table
from genloc.codecs.heatmap import decode, to_cells, to_pixels
from genloc.conditions.naming import Naming
from genloc.conditions.text import TextCondition
from genloc.conditions.visual import VisualCondition
from genloc.data.coco import CocoKeypoints
from genloc.losses import HEL
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.features import feature_widths, features
from genloc.models.lora import Preset
from genloc.skeleton import load_skeleton
from genloc.training.optimiser import adam, parameter_groups, schedule

SKELETON = load_skeleton("ap10k")
K = SKELETON.num_keypoints
PAIRED = [k for k in range(K) if SKELETON.flip_index[k] != k]
UNSEEN = ("Canidae", "Felidae")
WAYS = ("example", "named", "named by place", "words")


def of_families(source: CocoKeypoints, families: Sequence[str], inside: bool) -> CocoKeypoints:
    """The instances of some families, or of all the others."""
    content = json.loads(source.annotations.read_text(encoding="utf-8"))
    family = {c["id"]: c["supercategory"] for c in content["categories"]}
    kept = [
        i.annotation_id for i in source.instances if (family[i.category_id] in families) == inside
    ]
    if not kept:
        raise ValueError(f"--unseen {' '.join(families)}: {source.annotations} has no such animals")
    return CocoKeypoints(
        source.annotations, source.images, skeleton=source.skeleton, annotation_ids=kept
    )


def partners(crops: Crops, rng: np.random.Generator) -> np.ndarray:
    """For each instance another one of its species, or itself where it is the only one: int [N]."""
    rows: dict[int, list[int]] = defaultdict(list)
    for i, instance in enumerate(crops.source.instances):
        rows[instance.category_id].append(i)
    chosen = []
    for i, instance in enumerate(crops.source.instances):
        others = [j for j in rows[instance.category_id] if j != i] or [i]
        chosen.append(int(rng.choice(others)))
    return np.array(chosen)


class Asked(nn.Module):
    """The conditions of all ways of asking. `learns` holds what is trained besides the model."""

    def __init__(self, model: GenLoc, seed: int, gate: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        channels = model.prior.condition_channels
        self.visual = VisualCondition(hidden=256).build(
            SKELETON, channels, None, generator, widths=feature_widths(model)
        )
        self.words = TextCondition(subset=None).build(
            SKELETON, channels, model.prior.text, generator
        )
        self.naming = Naming(gate)

    def examples(self, model: GenLoc, support: dict[str, Tensor], size: int) -> Tensor:
        """[B, K, C] of one support picture for each query."""
        parts = ((support["points"] + 0.5) / size)[:, None]
        seen = features(model, None, latent=support["latent"])
        return self.visual(seen, parts, support["visible"][:, None])


def loss_of(
    model: GenLoc, asked: Asked, batch: dict, support: dict, size: int, sigma: float
) -> Tensor:
    """HEL of examples, words and named examples in one pass, and InfoNCE of examples and names."""
    example = asked.examples(model, support, size)
    names = asked.words()
    named, _ = asked.naming(example, names)
    index = torch.arange(K, device=example.device).expand(len(example), -1)
    contrast = asked.naming.contrast(example, names, index, support["visible"])
    every = torch.cat([example, names.expand(len(example), -1, -1), named], dim=1)
    w = model.map_size(torch.empty(0, 3, size, size))[1]
    cells = to_cells(batch["points"], size / w).repeat(1, 3, 1)
    value = model.log_expectation(None, every, cells, sigma, latent=batch["latent"])
    both = batch["visible"] & support["visible"]
    shown = torch.stack([both, batch["visible"], both], 1)
    parts = [HEL()(v, m) for v, m in zip(value.chunk(3, 1), shown.unbind(1), strict=True)]
    return torch.stack(parts).sum() + 0.1 * contrast


@torch.no_grad()
def scores(model: GenLoc, asked: Asked, crops: Crops, device: str) -> dict[str, float]:
    """PCK@0.1 and @0.2 of each way, the share found at the mirror partner, and of names that are right."""
    rng = np.random.default_rng(7)
    with_whom = partners(crops, rng)
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    counted = []
    right = {"query": [0, 0], "support": [0, 0]}
    for start in range(0, len(crops), 32):
        items = np.arange(start, min(start + 32, len(crops)))
        query = crops.batch(items, np.zeros_like(items), device, latent=True)
        support = crops.batch(with_whom[items], np.zeros_like(items), device, latent=True)
        names = asked.words()
        example = asked.examples(model, support, crops.size)
        w = model.map_size(torch.empty(0, 3, crops.size, crops.size))[1]
        given: dict[str, Tensor] = {}
        for what, batch in (("query", query), ("support", support)):
            points = to_cells(batch["points"], crops.size / w)
            given[what] = model.identify(None, points, names, latent=batch["latent"])
            own = given[what].argmax(-1) == torch.arange(K, device=device)
            right[what][0] += int((own & batch["visible"]).sum())
            right[what][1] += int(batch["visible"].sum())
        named, _ = asked.naming(example, names)
        by_place, _ = asked.naming(example, names, given["support"])
        every = torch.cat([example, named, by_place, names.expand(len(items), -1, -1)], 1)
        maps = model(None, every, latent=query["latent"])
        cells, _ = decode(maps)
        crop_xy = to_pixels(cells, crops.size / w).double()
        affine = query["to_image"].double()
        xy = crop_xy @ affine[:, :, :2].mT + affine[:, None, :, 2]
        for way, part in zip(WAYS, xy.chunk(4, 1), strict=True):
            found[way].append(part.cpu().numpy())
        counted.append((query["visible"] & support["visible"]).cpu().numpy())
    truth = np.array([instance.keypoints for instance in crops.source.instances])
    side = np.array([max(instance.box[2:]) for instance in crops.source.instances])[:, None]
    shown = np.concatenate(counted)
    pairs = np.zeros(K, bool)
    pairs[PAIRED] = True
    flipped = truth[:, list(SKELETON.flip_index)]
    mirrored = shown & pairs & (flipped[..., 2] > 0)
    result = {f"names of the {what}": a / max(b, 1) for what, (a, b) in right.items()}
    for way, parts in found.items():
        xy = np.concatenate(parts)
        error = np.linalg.norm(xy - truth[..., :2], axis=-1)
        other = np.linalg.norm(xy - flipped[..., :2], axis=-1)
        for a in (0.1, 0.2):
            result[f"{way} PCK@{a}"] = float((error <= a * side)[shown].mean())
        result[f"{way} paired PCK@0.1"] = float((error <= 0.1 * side)[shown & pairs].mean())
        result[f"{way} at the partner"] = float((other < error)[mirrored].mean())
    return result


def train(a: argparse.Namespace, crops: Crops, rate: float, seed: int) -> tuple[GenLoc, Asked]:
    """One training."""
    torch.manual_seed(seed)
    model = GenLoc(
        Prior(a.prior, dtype="fp32"),
        context="null",
        layers=a.layers,
        finer=a.finer,
        timestep=a.timestep,
        lora=LoRA(a.lora, a.rank, a.rank),
    ).load()
    asked = Asked(model, seed, a.gate)
    model.to(a.device)
    asked.to(a.device).train()
    groups = parameter_groups(
        model, asked, lr=rate, lr_lora=rate, lr_condition=a.lr_condition, lora_ratio=a.lora_ratio
    )
    learning = [p for group in groups for p in group["params"]]
    optimiser = adam(groups, 0.0)
    rates = schedule(optimiser, "cosine", warmup=min(50, a.steps // 4), steps=a.steps)
    draws = order(len(crops), crops.views, a.batch, seed)
    rng = np.random.default_rng([seed, 8])
    running, spent = 0.0, 0.0
    for step in range(1, a.steps + 1):
        start = time.perf_counter()
        items, views = next(draws)
        if (step - 1) * a.batch % max(len(crops), 1) < a.batch:  # new partners about once an epoch
            with_whom = partners(crops, rng)
        batch = crops.batch(items, views, a.device, latent=True)
        turns = rng.integers(crops.views, size=len(items))
        support = crops.batch(with_whom[items], turns, a.device, latent=True)
        with torch.autocast(a.device, torch.bfloat16, enabled=a.precision == "bf16"):
            loss = loss_of(model, asked, batch, support, crops.size, a.sigma * a.finer)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        rates.step()  # type: ignore[union-attr]
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        spent += time.perf_counter() - start
        if step % max(1, a.steps // 20) == 0:
            print(
                f"lr {rate:g} seed {seed}: step {step}/{a.steps} loss {running:.3f} | "
                f"{1000 * spent / step:.0f} ms a step, "
                f"{(a.steps - step) * spent / step / 60:.0f} min left of this training",
                flush=True,
            )
    return model, asked.eval()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--zoo", type=Path, default=Path("data/zoo"), help="folder of `genloc zoo`")
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add("--unseen", nargs="+", default=list(UNSEEN), help="families that are not trained on")
    add("--rate", type=float, default=3e-4, help="of LoRA")
    add("--lora-ratio", type=float, default=10, help="of the rates of LoRA's factors (LoRA+)")
    add("--lr-condition", type=float, default=1e-3)
    add("--gate", type=float, default=1.0, help="weight of the name at the start; it learns")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--steps", type=int, default=1000)
    add("--batch", type=int, default=8)
    add("--views", type=int, default=8, help="augmented crops of each instance, drawn once")
    add("--crop-size", type=int, default=128)
    add("--lora", choices=get_args(Preset), default="all")
    add("--rank", type=int, default=64)
    add("--layers", default="finest-first", help="whose maps are merged")
    add("--finer", type=int, default=2, help="times that maps are finer than their layer")
    add("--timestep", type=int, default=201, help="at which the latent is read")
    add("--sigma", type=float, default=1.0, help="of the targets, in cells of 8 pixels")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the forward pass")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--runs", type=Path, default=Path("runs/naming"), help="crops and finished cells")
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="two steps on a zoo of four species, to see it run")
    a = parser.parse_args(argv)
    if a.quick:
        a.zoo, a.out = quick_zoo(a.runs), a.runs / "quick"
        a.seeds, a.steps, a.batch, a.views, a.crop_size = a.seeds[:1], 2, 4, 2, 64
    return a


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    folder = a.runs / "crops"
    source, held = zoo_set(a.zoo, "train"), zoo_set(a.zoo, "test")
    # Mirrored crops are drawn; a support and its query may each be one, as in life.
    crops = {
        "train": Crops(
            of_families(source, a.unseen, False), folder, size=a.crop_size, views=a.views,
            augmentation=ZOO_AUGMENTATION,
        ),
        "families it knows": Crops(of_families(held, a.unseen, False), folder, size=a.crop_size),
        "families it does not": Crops(of_families(held, a.unseen, True), folder, size=a.crop_size),
    }  # fmt: skip
    prior = Prior(a.prior, dtype="fp32").load().to(a.device)
    for one in crops.values():
        one.encode(prior)
    fingerprint = prior.digest()
    del prior
    named = (
        "rate", "lora_ratio", "lr_condition", "gate", "steps", "batch", "lora", "rank",
        "layers", "finer", "timestep", "sigma", "precision", "device",
    )  # fmt: skip
    facts = {name: getattr(a, name) for name in named} | {
        "prior": fingerprint, "crops": [one.key for one in crops.values()],
    }  # fmt: skip
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in crops if name != "train"}
    for seed in a.seeds:
        file = a.runs / "cells" / f"seed{seed}-{short_hash(facts)}.json"

        def make(seed: int = seed) -> dict[str, Any]:
            model, asked = train(a, crops["train"], a.rate, seed)
            found = {name: scores(model, asked, crops[name], a.device) for name in cells}
            return found | {"gate": {"gate": float(asked.naming.gate.detach())}}

        result = kept(file, make)
        for name in cells:
            cells[name].append({"test": result[name]})
    test = crops["families it knows"]
    how = protocol(
        test,
        Recipe(device=a.device),
        {
            "trained on": f"{len(crops['train'])} instances without {', '.join(a.unseen)}; {a.steps} steps of "
            f"{a.batch}, {a.views} augmented crops of {a.crop_size} pixels each",
            "tested on": f"{len(test)} instances of families it knows, "
            f"{len(crops['families it does not'])} of {', '.join(a.unseen)}; one other picture of the species "
            "as example, keypoints labelled in both",
            "at the partner": "of keypoints whose mirror partner is labelled: found nearer to the partner",
            "seeds": f"{', '.join(map(str, a.seeds))}; mean (least to most)",
            **prior_facts(a.prior, fingerprint),
            "model": f"LoRA {a.lora}, rank {a.rank}, B at {a.lora_ratio:g} times the rate of A ({a.rate:g}); "
            f"{a.layers}, finer: {a.finer}, at t={a.timestep}; context null; trained in {a.precision}",
        },
    )
    lines = ["# An example, named first", ""]
    for score in ("PCK@0.1", "PCK@0.2", "paired PCK@0.1", "at the partner"):
        columns = {way: f"{way} {score}" for way in WAYS}
        lines += [f"{score}:", "", *table(dict(cells), columns), ""]
    columns = {f"of the {what}": f"names of the {what}" for what in ("query", "support")}
    lines += ["Labelled places given their own of 17 names:", "", *table(dict(cells), columns), ""]
    lines += [f"- {line}" for line in how.lines()]
    write(a.out, "naming", a.device, lines, {"results": cells, "protocol": how.lines()})


if __name__ == "__main__":
    main()
