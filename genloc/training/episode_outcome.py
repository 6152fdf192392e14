"""What `genloc test` leaves behind for a run that asks by an example: CapeFormer's protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from genloc import __version__
from genloc.card import STEPS
from genloc.data.batch import KeypointDataset, collate, to_device
from genloc.data.categories import CategorySets
from genloc.data.episodes import protocol_pairs
from genloc.metrics.episodes import episode_scores
from genloc.metrics.table import table_console
from genloc.training.data import KeypointData
from genloc.training.module import KeypointModule
from genloc.training.outcome import METRICS, renew_card, steps_of, write_json
from genloc.training.protocol import (
    ByCondition,
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

    `<run>/metrics.json` keeps one entry for each set.

    Raises:
        ValueError: a category has too few instances for an episode.
    """
    source, episodes = data.sources[name], data.episodes
    assert isinstance(source, CategorySets) and episodes is not None
    pairs = protocol_pairs(source, episodes)
    module.to(device).eval()
    crops = KeypointDataset(source, crop_size=data.crop_size, padding=data.padding, seed=data.seed)

    def batches() -> Iterator[dict[str, Tensor]]:
        loader = DataLoader(
            crops, batch_size=data.batch_size, collate_fn=collate, num_workers=data.num_workers
        )
        for batch in loader:
            yield to_device(batch, device)

    with Progress(transient=True) as bar:
        task = bar.add_task(f"{len(pairs)} pairs", total=2 * len(crops))
        found = answer(
            ByCondition(module.model, module.condition),
            batches,
            pairs,
            crop_size=data.crop_size,
            decoding=module.decoding,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    by_pair = score(source, pairs, found)
    category = [source.instances[query].category_id for _, query in pairs]
    own: dict[str, list[int]] = {}
    for p, id_ in enumerate(category):
        own.setdefault(source.species(id_), []).append(p)
    rows = {
        run.name: episode_scores(by_pair),
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
        f"{episodes.shots} shot(s); {episodes.per_category} episodes x {episodes.queries} queries of "
        f"each of {len(own)} categories, drawn from seed {episodes.seed}: {len(pairs)} pairs",
        "counted: keypoints labelled in the query and every support; threshold: a x the longer side of "
        "the query's box; PCK of a pair, then mean over pairs",
        f"boxes: ground truth; padding: {data.padding}; crops of {data.crop_size}; "
        f"decoding: {module.decoding}; flip test: off",
        f"weights: {weights}; prior: {module.model.prior.fingerprint()}",
        "mean place of the category: over all its labelled pictures, the queries among them",
    ]
    run.mkdir(parents=True, exist_ok=True)
    path = run / METRICS
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept[name] = {
        **_plain(rows[run.name]),
        "per_category": {who: _plain(episode_scores(by_pair[mine])) for who, mine in own.items()},
        "places": {who: _plain(scores) for who, scores in rows.items() if who != run.name},
        "protocol": protocol,
        STEPS: steps,
        "genloc": __version__,
    }
    write_json(path, kept)
    renew_card(run, kept)
    console = table_console()
    table = Table(title=f"{run}: {name}", title_justify="left")
    for column in ("", *COLUMNS):
        table.add_column(column, justify="right" if column else "left")
    for who, scores in rows.items():
        table.add_row(who, *(f"{100 * scores[column]:.1f}" for column in COLUMNS))
    console.print(table)
    for line in protocol:
        console.print(line, style="dim", markup=False)
    for written in (path, run / "overlays.png"):
        if written.exists():
            print(written)


def _plain(scores: dict[str, float]) -> dict[str, Any]:
    """For json, which has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in scores.items()}
