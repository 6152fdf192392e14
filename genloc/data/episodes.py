"""Episodes: a query picture with labelled support pictures of its category.

For training every instance is a query once an epoch, with supports drawn for it. For evaluation the
pairs are those of CapeFormer's published protocol.

Letters: S shots, K keypoint slots, P crop pixels.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from genloc.data.batch import KeypointDataset, sample_generator
from genloc.data.categories import CategorySets

SUPPORT = 3  # purpose of the draws of `sample_generator`: which supports, and their augmentation


@dataclass(frozen=True)
class Episodes:
    """How a query comes by its supports.

    Args:
        shots: support pictures of each query.
        per_category, queries, seed: of the evaluation, see `protocol_pairs`.
    """

    shots: int = 1
    per_category: int = 200
    queries: int = 15
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.shots, self.per_category, self.queries) < 1:
            raise ValueError(
                f"episodes: shots, per_category and queries must be at least 1, got {self}"
            )


class EpisodeDataset(Dataset[dict[str, Tensor]]):
    """The crops of a set, each with S support crops of other instances of its category.

    A sample is that of `KeypointBatch`, and besides: `support_image` [S, 3, P, P],
    `support_points` float32 [S, K, 2] in crop pixels, `support_visible` bool [S, K]. `visible` is
    cut to keypoints that can be asked for: labelled in a support. The draws are functions of
    (seed, epoch, annotation id) alone.

    Args:
        crops: of a `CategorySets`; its augmentation is used for supports, too.
        shots: S.

    Raises:
        ValueError: a category with no more than S instances.
    """

    def __init__(self, crops: KeypointDataset, shots: int) -> None:
        source = crops.source
        if not isinstance(source, CategorySets):
            raise ValueError(f"crops: expected those of CategorySets, got {type(source).__name__}")
        self.crops = crops
        self.shots = shots
        few = {source.species(c): len(r) for c, r in source.by_category.items() if len(r) <= shots}
        if few:
            raise ValueError(
                f"{source.annotations}: {shots} supports and a query need {shots + 1} instances of "
                f"each category, but there are only {few}; use fewer shots or leave these out"
            )
        self._own = {i: rows for rows in source.by_category.values() for i in rows}

    def set_epoch(self, epoch: int) -> None:
        """Make the draws of another epoch, in every worker."""
        self.crops.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def epoch(self) -> int:
        """The epoch whose draws are made."""
        return self.crops.epoch

    def supports(self, index: int, epoch: int | None = None) -> list[int]:
        """Indices of the S instances that are shown with a query, in this epoch or another."""
        instances = self.crops.source.instances
        rng = self._rng(index, self.epoch if epoch is None else epoch)
        others = [i for i in self._own[index] if i != index]
        # Not another one of the same picture, unless there are too few.
        elsewhere = [i for i in others if instances[i].image_id != instances[index].image_id]
        others = elsewhere if len(elsewhere) >= self.shots else others
        return [others[i] for i in rng.choice(len(others), self.shots, replace=False)]

    def _rng(self, index: int, epoch: int) -> np.random.Generator:
        instance = self.crops.source.instances[index]
        crops = self.crops
        return sample_generator(crops.seed, epoch, instance.annotation_id, purpose=SUPPORT)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.sample(index, self.epoch)

    def sample(self, index: int, epoch: int) -> dict[str, Tensor]:
        """A query with its supports, with the draws of an epoch."""
        sample: dict[str, Any] = dict(self.crops.sample(index, epoch))
        rng = self._rng(index, epoch).spawn(self.shots)
        supports = self.supports(index, epoch)
        shown = [self.crops.crop(i, own) for i, own in zip(supports, rng, strict=True)]
        for name in ("image", "points", "visible"):
            sample[f"support_{name}"] = torch.stack([one[name] for one in shown])  # type: ignore[literal-required]
        sample["visible"] = sample["visible"] & sample["support_visible"].any(0)
        return sample


def protocol_pairs(source: CategorySets, episodes: Episodes) -> list[tuple[tuple[int, ...], int]]:
    """(supports, query) of CapeFormer's evaluation, as indices of instances.

    For each category, `per_category` times: shots + queries instances without repetition, the first
    of which support all the others. Drawn by Python's `random` from `seed`, one after another over
    the categories in the order of the file, so a published file gives the published pairs
    (https://github.com/flyinglynx/CapeFormer, `test_dataset.py`).

    Raises:
        ValueError: a category has too few instances.
    """
    rng = random.Random(episodes.seed)
    size = episodes.shots + episodes.queries
    pairs: list[tuple[tuple[int, ...], int]] = []
    for category, rows in source.by_category.items():
        if len(rows) < size:
            raise ValueError(
                f"{source.annotations}: category {source.species(category)!r} has {len(rows)} "
                f"instances; an episode of {episodes.shots} supports and {episodes.queries} queries "
                f"needs {size}. Use fewer queries (data.episodes.queries) or leave it out"
            )
        for _ in range(episodes.per_category):
            drawn = rng.sample(rows, size)
            shown = tuple(drawn[: episodes.shots])
            pairs += [(shown, query) for query in drawn[episodes.shots :]]
    return pairs
