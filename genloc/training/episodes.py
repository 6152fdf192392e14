"""Results of asking by an example, one drawn support set for each query: what is watched in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.distributed
from torch import Tensor

from genloc.data.categories import CategorySets
from genloc.keypoints import Keypoints
from genloc.metrics.episodes import THRESHOLDS, episode_scores, pair_pck


class EpisodeScores:
    """Collects results and scores them by PCK over pairs; the same form as `Scores`.

    Args:
        source: the labels.
    """

    def __init__(self, source: CategorySets) -> None:
        self.source = source
        self._truth = {instance.annotation_id: instance for instance in source.instances}
        self._records: list[dict[str, Any]] = []

    def reset(self) -> None:
        """Forget what was added."""
        self._records = []

    def add(self, found: Keypoints, batch: dict[str, Tensor]) -> None:
        """Add the results of a batch of queries, with the supports they were given."""
        shown = batch["support_visible"].all(1).cpu().numpy()
        for row, annotation in enumerate(batch["annotation_id"].tolist()):
            counted = shown[row] & (self._truth[annotation].keypoints[:, 2] > 0)
            self._records.append(
                {
                    "annotation_id": annotation,
                    "xy": found.xy[row].tolist(),
                    "counted": counted.tolist(),
                }
            )

    def records(self) -> list[dict[str, Any]]:
        """Results of all processes by annotation id, one for each: the same on every process."""
        parts = [self._records]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [[] for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(parts, self._records)
        by_id = {record["annotation_id"]: record for part in parts for record in part}
        return [by_id[annotation] for annotation in sorted(by_id)]

    @staticmethod
    def names(source: CategorySets) -> tuple[str, ...]:
        """Which numbers `compute` gives, the same for every set."""
        return tuple(episode_scores(np.empty((0, len(THRESHOLDS)))))

    def compute(self) -> dict[str, float]:
        """`PCK@0.05` to `PCK@0.25` and `mPCK`, 0 to 1."""
        records = self.records()
        truth = [self._truth[record["annotation_id"]] for record in records]
        k = self.source.skeleton.num_keypoints
        pairs = pair_pck(
            np.array([record["xy"] for record in records]).reshape(-1, k, 2),
            np.array([instance.keypoints[:, :2] for instance in truth]).reshape(-1, k, 2),
            np.array([record["counted"] for record in records], bool).reshape(-1, k),
            np.array([max(instance.box[2:]) for instance in truth]),
        )
        return episode_scores(pairs)
