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
  mean place      of each keypoint in the training animals' boxes, without looking

Besides PCK: how often a keypoint that has a mirror partner is found nearer to that partner, and how often
a labelled place is given its own name by `GenLoc.identify` with the words, by the nearest mean place of the
training animals, and by chance. Finished cells are kept under `--runs` and skipped by the next call.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from benchmarks.asked import nearest_place
from benchmarks.cells import Recipe, kept
from benchmarks.crops import ZOO_AUGMENTATION, Crops, short_hash, zoo_set
from benchmarks.named_examples import (
    SKELETON,
    Asked,
    K,
    of_families,
    partners,
    train,
    with_partners,
)
from benchmarks.prior_worth import quick_zoo
from benchmarks.report import prior_facts, protocol, spread, write
from benchmarks.words import table
from genloc.codecs.heatmap import decode, to_cells, to_pixels
from genloc.metrics.mean_pose import mean_pose, place
from genloc.models import GenLoc, Prior
from genloc.models.lora import Preset

PAIRED = [k for k in range(K) if SKELETON.flip_index[k] != k]
UNSEEN = ("Canidae", "Felidae")
WAYS = ("example", "named", "named by place", "words", "mean place")


@torch.no_grad()
def scores(
    model: GenLoc, asked: Asked, crops: Crops, device: str, pose: np.ndarray
) -> dict[str, float]:
    """PCK@0.1 and @0.2 of each way, the share found at the mirror partner, and of names that are right.

    Args:
        model: answers as `GenLoc` does. asked: what for.
        crops: of a set of `with_partners`, encoded.
        pose: [K, 2] in box units, what is found by who never looks.

    Returns:
        0 to 1: for each of `WAYS` "PCK@0.1", "PCK@0.2", "paired PCK@0.1" and "at the partner"; "names of the query"
        and "names of the support", of both also "... by place", and "names by chance".
    """
    rng = np.random.default_rng(7)
    with_whom = partners(crops.source, rng)
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
        identified, _ = asked.naming(example, names, given["support"])
        every = torch.cat([example, named, identified, names.expand(len(items), -1, -1)], 1)
        maps = model(None, every, latent=query["latent"])
        cells, _ = decode(maps)
        crop_xy = to_pixels(cells, crops.size / w).double()
        affine = query["to_image"].double()
        xy = crop_xy @ affine[:, :, :2].mT + affine[:, None, :, 2]
        for way, part in zip(WAYS[:4], xy.chunk(4, 1), strict=True):
            found[way].append(part.cpu().numpy())
        counted.append((query["visible"] & support["visible"]).cpu().numpy())
    boxes = np.array([instance.box for instance in crops.source.instances])
    found["mean place"] = [place(pose, boxes, SKELETON).xy]
    truth = np.array([instance.keypoints for instance in crops.source.instances])
    side = boxes[:, 2:].max(axis=1, keepdims=True)
    shown = np.concatenate(counted)
    pairs = np.zeros(K, bool)
    pairs[PAIRED] = True
    flipped = truth[:, list(SKELETON.flip_index)]
    mirrored = shown & pairs & (flipped[..., 2] > 0)
    result = {f"names of the {what}": a / max(b, 1) for what, (a, b) in right.items()}
    # Who never looks names a place by the nearest mean place.
    visible = crops.labels["visible"][:, 0].numpy()
    by_place = nearest_place(pose, crops.source.instances, range(K)) == np.arange(K)
    for what, rows in (("query", np.arange(len(crops))), ("support", with_whom)):
        result[f"names of the {what} by place"] = float(by_place[rows][visible[rows]].mean())
    result["names by chance"] = 1 / K
    for way, parts in found.items():
        xy = np.concatenate(parts)
        error = np.linalg.norm(xy - truth[..., :2], axis=-1)
        other = np.linalg.norm(xy - flipped[..., :2], axis=-1)
        for a in (0.1, 0.2):
            result[f"{way} PCK@{a}"] = float((error <= a * side)[shown].mean())
        result[f"{way} paired PCK@0.1"] = float((error <= 0.1 * side)[shown & pairs].mean())
        result[f"{way} at the partner"] = float((other < error)[mirrored].mean())
    return result


def verdict(results: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Naming against the example alone, where left and right look alike."""
    lines = []
    for families, cells in results.items():
        for way, score in itertools.product(WAYS[1:3], ("paired PCK@0.1", "at the partner")):
            (middle, *ours), (other, *theirs) = (
                spread(cells, f"{one} {score}") for one in (way, "example")
            )
            apart = ours[0] > theirs[1] or theirs[0] > ours[1]
            said = f"the ranges over seeds {'do not ' if apart else ''}overlap"
            lines.append(
                f"{way} over example, {families}: {middle - other:+.1f} {score}; "
                + (said if len(cells) > 1 else "one seed")
            )
    return lines


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--zoo", type=Path, default=Path("data/zoo"), help="folder of `genloc zoo`")
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add("--unseen", nargs="+", default=list(UNSEEN), help="families that are not trained on")
    # Not chosen here: configs/zoo.yaml's, chosen on the zoo's val after about as many steps.
    add("--rate", type=float, default=5e-4, help="of LoRA")
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
    add("--sigma", type=float, default=0.5, help="of the targets, in cells of 8 pixels")
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
    train_set, held = zoo_set(a.zoo, "train"), zoo_set(a.zoo, "test")
    parts = {
        "train": of_families(train_set, a.unseen, False),
        "families it knows": of_families(held, a.unseen, False),
        "families it does not": of_families(held, a.unseen, True),
    }
    source = {name: with_partners(part) for name, part in parts.items()}
    alone = sum(len(part) - len(source[name]) for name, part in parts.items())
    # Mirrored crops are drawn; a support and its query may each be one, as in life.
    augmented = {"views": a.views, "augmentation": ZOO_AUGMENTATION}
    crops = {
        name: Crops(part, folder, size=a.crop_size, **(augmented if name == "train" else {}))
        for name, part in source.items()
    }
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
        "examples": "of other pictures", "rivals of names": "mean place, chance",
    }  # fmt: skip
    pose = mean_pose(source["train"].instances)
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in crops if name != "train"}
    for seed in a.seeds:
        file = a.runs / "cells" / f"seed{seed}-{short_hash(facts)}.json"

        def make(seed: int = seed) -> dict[str, Any]:
            model, asked = train(a, crops["train"], a.rate, seed)
            found = {name: scores(model, asked, crops[name], a.device, pose) for name in cells}
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
            f"{len(crops['families it does not'])} of {', '.join(a.unseen)}; an animal of the species in "
            f"another picture as example ({alone} of all animals have none and are left out), keypoints labelled "
            "in both",
            "at the partner": "of keypoints whose mirror partner is labelled: found nearer to the partner",
            "named by place alone": "the nearest of the mean places of the training animals, without looking",
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
    columns = {
        f"of the {what}{how}{more}": f"names of the {what}{how}"
        for what in ("query", "support")
        for how, more in (("", ""), (" by place", " alone"))
    }
    columns["by chance"] = "names by chance"
    lines += ["Labelled places given their own of 17 names:", "", *table(dict(cells), columns), ""]
    said = verdict(cells)
    lines += [f"- {line}" for line in (*said, *how.lines())]
    content = {"results": cells, "verdict": said, "protocol": how.lines()}
    write(a.out, "naming", a.device, lines, content)


if __name__ == "__main__":
    main()
