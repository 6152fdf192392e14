"""What `benchmarks/example.py` trains and scores: episodes from crops that are kept on disk."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.crops import Crops, order
from benchmarks.learner import model_of
from genloc.codecs.heatmap import to_cells
from genloc.conditions.visual import VisualCondition
from genloc.data.categories import CategorySets, slots
from genloc.data.episodes import Episodes, protocol_pairs
from genloc.inference import picture_parts
from genloc.losses import HEL
from genloc.metrics.episodes import episode_scores
from genloc.models.features import feature_widths, features
from genloc.models.identify import log_density
from genloc.training.optimiser import adam, parameter_groups, schedule
from genloc.training.protocol import (
    Asker,
    ByCondition,
    answer,
    place_of_supports,
    questions,
    score,
)

CLIP = 1.0  # largest norm of a step's gradient
SLOTS = 17  # the most keypoints of a category of the zoo


def sets(a: argparse.Namespace, split: str) -> dict[str, CategorySets]:
    """train, val (further pictures of the training categories; none for a body plan) and test."""
    if split.isdigit():
        files = {
            part: f"annotations/mp100_split{split}_{part}.json" for part in ("train", "val", "test")
        }
    else:
        files = {
            part: f"cross_category_annotations/fewshot_{part}_{split}.json"
            for part in ("train", "test")
        }
    found = {}
    for part, name in files.items():
        if not (a.categories / name).is_file():
            raise FileNotFoundError(
                f"no {a.categories / name}; draw it with `genloc zoo {a.categories} --bodies all`"
            )
        images = a.categories / "images"
        found[part] = CategorySets(a.categories / name, images, skeleton=slots(f"slots:{SLOTS}"))
    return found


def all_of(crops: Crops, device: str) -> Iterable[dict[str, Tensor]]:
    """The plain crops of a set in their order."""
    for start in range(0, len(crops), 32):
        items = np.arange(start, min(start + 32, len(crops)))
        yield crops.batch(items, np.zeros_like(items), device, latent=True)


def scores(a: argparse.Namespace, asker: Asker, crops: Crops, shots: int) -> dict[str, float]:
    """CapeFormer's protocol on a set."""
    source = crops.source
    assert isinstance(source, CategorySets)
    pairs = pairs_of(a, source, shots)
    found = answer(asker, partial(all_of, crops, a.device), pairs, crop_size=a.crop_size)
    return episode_scores(score(source, pairs, found))


@torch.no_grad()
def names(
    a: argparse.Namespace, asker: ByCondition, crops: Crops, shots: int
) -> dict[str, float | int]:
    """Which keypoint of its supports is at each labelled place of a query: the share named right.

    Candidates are the n keypoints that every support labels, and places those of them that the query
    labels. Named by `GenLoc.identify` with the conditions that the supports give; by the nearest of the
    supports' mean places, carried into the query's box; and by chance, 1 / n.
    """
    source, model = crops.source, asker.model
    assert isinstance(source, CategorySets)
    pairs = pairs_of(a, source, shots)
    visible = crops.labels["visible"][:, 0]
    labels = torch.tensor(np.stack([instance.keypoints for instance in source.instances]))
    placed = torch.from_numpy(place_of_supports(source, pairs))
    cell = a.crop_size / model.map_size(torch.empty(0, 3, a.crop_size, a.crop_size))[1]
    own = torch.arange(visible.shape[1])
    right = {"identify": 0, "nearest place": 0}
    count, chance = 0, 0.0
    crops_of = partial(all_of, crops, a.device)
    for rows, one, kept in questions(asker, crops_of, pairs, crop_size=a.crop_size):
        condition = asker.condition.from_pooled(kept)  # [n, K, C]
        # The candidates differ from pair to pair: what `identify` normalises, for all pairs at once.
        found = log_density(
            model, None, to_cells(one["points"], cell), condition.flatten(0, 1)[None],
            latent=one["latent"],
        )[0].cpu()  # fmt: skip
        found = found.unflatten(1, kept.shape[:2]).transpose(0, 1)  # [n, K places, K candidates]
        query = pairs[rows[0]][1]
        apart = torch.cdist(labels[query, :, :2].double()[None], placed[rows])
        candidates = visible[torch.tensor([pairs[p][0] for p in rows])].all(1)
        asked = candidates & visible[query]
        for how, value in (("identify", found), ("nearest place", -apart)):
            best = value.masked_fill(~candidates[:, None], -torch.inf).argmax(-1)
            right[how] += int(((best == own) & asked).sum())
        count += int(asked.sum())
        chance += float((asked.sum(1) / candidates.sum(1).clamp(min=1)).sum())
    shares = {how: n / max(count, 1) for how, n in right.items()}
    return {**shares, "chance": chance / max(count, 1), "places": count}


def pairs_of(a: argparse.Namespace, source: CategorySets, shots: int) -> list:
    """The protocol's pairs; of val, which has few pictures of each category, as many queries as fit."""
    fits = min(len(rows) for rows in source.by_category.values()) - shots
    return protocol_pairs(source, Episodes(shots, a.per_category, max(1, min(a.queries, fits))))


def train(
    a: argparse.Namespace, crops: Crops, rate: float, seed: int
) -> tuple[ByCondition, dict[str, Any]]:
    """One training; the result asks by its condition."""
    torch.manual_seed(seed)
    model = model_of(a, lora=True).to(a.device)
    condition = VisualCondition(sigma=a.sigma_pool)
    generator = torch.Generator().manual_seed(seed)
    condition.build(
        crops.source.skeleton,
        model.prior.condition_channels,
        None,
        generator,
        widths=feature_widths(model),
    )
    condition.to(a.device).train()
    groups = parameter_groups(
        model,
        condition,
        lr=rate,
        lr_lora=rate,
        lr_condition=a.lr_condition,
        lora_ratio=a.lora_ratio,
    )
    learning = [p for group in groups for p in group["params"]]
    optimiser, loss_of = adam(groups, 0.0), HEL()
    rates = schedule(optimiser, "cosine", warmup=min(50, a.steps // 4), steps=a.steps)
    w = model.map_size(torch.empty(0, 3, a.crop_size, a.crop_size))[1]
    draws = order(len(crops), crops.views, a.batch, seed)
    rng = np.random.default_rng([seed, 2])
    source = crops.source
    assert isinstance(source, CategorySets)
    own = {
        i: np.array([j for j in rows if j != i])
        for rows in source.by_category.values()
        for i in rows
    }
    running, spent, curve = 0.0, 0.0, []
    for step in range(1, a.steps + 1):
        start = time.perf_counter()
        items, views = next(draws)
        shown = np.stack([rng.choice(own[i], a.train_shots, replace=False) for i in items.tolist()])
        batch = crops.batch(items, views, a.device, latent=True)
        turns = rng.integers(crops.views, size=shown.size)
        support = crops.batch(shown.ravel(), turns, a.device, latent=True)
        points, visible = (
            support[name].unflatten(0, shown.shape) for name in ("points", "visible")
        )
        with torch.autocast(a.device, torch.bfloat16, enabled=a.precision == "bf16"):
            asked = condition(
                features(model, None, latent=support["latent"]),
                picture_parts(points, a.crop_size),
                visible,
            )
            cells = to_cells(batch["points"], a.crop_size / w)
            value = model.log_expectation(
                None, asked, cells, a.sigma * a.finer, latent=batch["latent"]
            )
            loss = loss_of(value, batch["visible"] & visible.any(1))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, CLIP)
        optimiser.step()
        if rates is not None:
            rates.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        spent += time.perf_counter() - start
        if step % max(1, a.steps // 20) == 0:
            curve.append({"step": step, "loss": running})
            left = (a.steps - step) * spent / step
            print(f"lr {rate:g} seed {seed}: step {step}/{a.steps} loss {running:.3f} | "
                  f"{1000 * spent / step:.0f} ms a step, {left / 60:.0f} min left", flush=True)  # fmt: skip
    model.eval()
    condition.eval()
    amount = sum(p.numel() for p in learning)
    return ByCondition(model, condition), {"curve": curve, "learning": amount, "seconds": spent}
