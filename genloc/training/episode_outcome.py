"""What `genloc test` leaves behind for a run that asks by an example: CapeFormer's protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from genloc import __version__
from genloc.card import STEPS, prior_has_seen
from genloc.data.batch import KeypointDataset, collate, to_device
from genloc.data.categories import CategorySets
from genloc.data.episodes import protocol_pairs
from genloc.metrics.episodes import episode_scores
from genloc.metrics.table import table_console
from genloc.models.features import TEMPERATURE
from genloc.models.lora import without_lora
from genloc.training.data import KeypointData
from genloc.training.module import KeypointModule
from genloc.training.outcome import METRICS, renew_card, steps_of, write_json
from genloc.training.protocol import (
    Asker,
    ByCondition,
    ByCorrelation,
    answer,
    place_of_category,
    place_of_supports,
    score,
)

COLUMNS = ("PCK@0.05", "PCK@0.1", "PCK@0.15", "PCK@0.2", "PCK@0.25", "mPCK")


def write_episode_outcome(
    module: KeypointModule,
    data: KeypointData,
    run: Path,
    name: str,
    checkpoint: Path | None,
    device: torch.device,
) -> None:
    """Score the set `name` ("val" or "test") by the protocol, print the table and write the numbers.

    `<run>/metrics.json` keeps one entry for each set and number of shots, such as "test, 5 shots".

    Raises:
        ValueError: a category has too few instances for an episode.
    """
    source, episodes = data.sources[name], data.episodes
    assert isinstance(source, CategorySets) and episodes is not None
    pairs = protocol_pairs(source, episodes)
    shots = f"{episodes.shots} shot{'s' if episodes.shots > 1 else ''}"
    module.to(device).eval()
    crops = KeypointDataset(source, crop_size=data.crop_size, padding=data.padding, seed=data.seed)

    def batches() -> Iterator[dict[str, Tensor]]:
        loader = DataLoader(
            crops, batch_size=data.batch_size, collate_fn=collate, num_workers=data.num_workers
        )
        for batch in loader:
            yield to_device(batch, device)

    def found(asker: Asker, what: str) -> np.ndarray:
        with Progress(transient=True) as bar:
            task = bar.add_task(f"{len(pairs)} pairs, {what}", total=2 * len(crops))
            return answer(
                asker,
                batches,
                pairs,
                crop_size=data.crop_size,
                decoding=module.decoding,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )

    model, condition = module.model, module.condition
    by_pair = score(source, pairs, found(ByCondition(model, condition), run.name))
    category = [source.instances[query].category_id for _, query in pairs]
    own: dict[str, list[int]] = {}
    for p, id_ in enumerate(category):
        own.setdefault(source.species(id_), []).append(p)
    rows = {run.name: episode_scores(by_pair)}
    if not model.train_unet:  # else the net as it was is not there any more
        with without_lora(model.prior.unet):
            untrained = found(ByCorrelation(model, condition.sigma, TEMPERATURE), "untrained")
        rows["untrained correlation"] = episode_scores(score(source, pairs, untrained))
    rows |= {
        "place of the supports": episode_scores(
            score(source, pairs, place_of_supports(source, pairs))
        ),
        "mean place of the category": episode_scores(
            score(source, pairs, place_of_category(source, pairs))
        ),
    }
    steps = steps_of(checkpoint)
    weights = "not trained" if steps is None else f"{checkpoint}, after step {steps}"
    protocol = [
        f"annotations: {source.annotations} (sha256 {source.checksum})",
        f"{shots}; {episodes.per_category} episodes x {episodes.queries} queries of "
        f"each of {len(own)} categories, drawn from seed {episodes.seed}: {len(pairs)} pairs",
        "counted: keypoints labelled in the query and every support; threshold: a x the longer side of "
        "the query's box; PCK of a pair, then mean over pairs",
        "boxes: ground truth, cut to the picture and a pixel smaller",
        f"padding: {data.padding}; crops of {data.crop_size}; decoding: {module.decoding}; flip test: off",
        f"weights: {weights}",
        f"prior: {model.prior.fingerprint()}",
        "untrained correlation: cosines of the frozen net's queries at the supports' points and in the query, "
        f"pooled alike, over {TEMPERATURE}",
        "mean place of the category: over all its labelled pictures, the queries among them",
    ]
    if seen := prior_has_seen(module.model.prior.source):
        protocol.append(f"prior has seen: {seen}")
    run.mkdir(parents=True, exist_ok=True)
    path = run / METRICS
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept[f"{name}, {shots}"] = {
        **_plain(rows[run.name]),
        "per_category": {who: _plain(episode_scores(by_pair[mine])) for who, mine in own.items()},
        "beside": {who: _plain(scores) for who, scores in rows.items() if who != run.name},
        "protocol": protocol,
        "notes": source.remarks(),
        "instances": len(source),
        STEPS: steps,
        "genloc": __version__,
    }
    write_json(path, kept)
    renew_card(run, kept)
    console = table_console()
    table = Table(title=f"{run}: {name}, {shots}", title_justify="left")
    for column in ("", *COLUMNS):
        table.add_column(column, justify="right" if column else "left")
    for who, scores in rows.items():
        table.add_row(who, *(f"{100 * scores[column]:.1f}" for column in COLUMNS))
    console.print(table)
    for line in (*protocol, *source.remarks()):
        console.print(line, style="dim", markup=False)
    for written in (path, run / "overlays.png"):
        if written.exists():
            print(written)


def _plain(scores: dict[str, float]) -> dict[str, Any]:
    """For json, which has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in scores.items()}
