"""What `benchmarks/naming.py` trains: one model asked by words, by an example and by a named example."""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.crops import Crops, order
from benchmarks.learner import model_of
from genloc.codecs.heatmap import to_cells
from genloc.conditions.naming import Naming
from genloc.conditions.text import TextCondition
from genloc.conditions.visual import VisualCondition
from genloc.data.coco import CocoKeypoints
from genloc.losses import HEL
from genloc.models import GenLoc
from genloc.models.features import feature_widths, features
from genloc.skeleton import load_skeleton
from genloc.training.optimiser import adam, parameter_groups, schedule

SKELETON = load_skeleton("ap10k")
K = SKELETON.num_keypoints


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


def with_partners(source: CocoKeypoints) -> CocoKeypoints:
    """The instances whose species is in another picture, too: the others have no example."""
    pictures: dict[int, set[int]] = defaultdict(set)
    for instance in source.instances:
        pictures[instance.category_id].add(instance.image_id)
    kept = [i.annotation_id for i in source.instances if len(pictures[i.category_id]) > 1]
    if not kept:
        raise ValueError(f"{source.annotations}: no species is in two pictures; draw a larger zoo")
    return CocoKeypoints(
        source.annotations, source.images, skeleton=source.skeleton, annotation_ids=kept
    )


def partners(source: CocoKeypoints, rng: np.random.Generator) -> np.ndarray:
    """For each instance of `with_partners` one of its species in another picture: int [N]."""
    rows: dict[int, list[int]] = defaultdict(list)
    for i, instance in enumerate(source.instances):
        rows[instance.category_id].append(i)
    chosen = []
    for instance in source.instances:
        others = [
            j
            for j in rows[instance.category_id]
            if source.instances[j].image_id != instance.image_id
        ]
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


def train(a: argparse.Namespace, crops: Crops, rate: float, seed: int) -> tuple[GenLoc, Asked]:
    """One training."""
    torch.manual_seed(seed)
    model = model_of(a)
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
            with_whom = partners(crops.source, rng)
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
