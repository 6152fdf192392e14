"""Results of an evaluation, collected over batches and processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.distributed
from torch import Tensor

from genloc.data.coco import CocoKeypoints
from genloc.keypoints import Keypoints
from genloc.metrics.coco import STATS, CocoAP
from genloc.metrics.pck import pck


class Scores:
    """Collects results and scores them against one set.

    Args:
        source: the labels, or the detections in their place.
        padding: side of the crop over that of the box; copies are told by the area of the crop.
    """

    def __init__(self, source: CocoKeypoints, padding: float = 1.25) -> None:
        self.source = source
        self.padding = padding
        # What tells a result's box: an annotation, or a detection of which an image may have many.
        self._box = "annotation_id" if source.box_scores is None else "detection"
        self._truth = source.ground_truth()
        self._records: list[dict[str, Any]] = []

    def reset(self) -> None:
        """Forget what was added."""
        self._records = []

    def add(self, found: Keypoints, batch: dict[str, Tensor]) -> None:
        """Add the results of a batch."""
        names = ("image_id", "category_id", "annotation_id")
        records = found.to_coco(*(batch[name].tolist() for name in names))
        if self.source.box_scores is not None:
            sides = (batch["box"][:, 2:].amax(1).cpu().double() * self.padding).tolist()
            for record, side in zip(records, sides, strict=True):
                record["detection"] = record.pop("annotation_id")
                record["score"] *= self.source.box_scores[record["detection"]]
                # As mmpose takes it for its OKS-NMS: of the crop, which has the box padded to a square.
                record["area"] = side**2
        self._records += records

    def records(self) -> list[dict[str, Any]]:
        """COCO results of all processes by box, one for each: the same on every process."""
        parts = [self._records]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [[] for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(parts, self._records)
        by_box = {record[self._box]: record for part in parts for record in part}
        return [by_box[box] for box in sorted(by_box)]

    @staticmethod
    def names(source: CocoKeypoints) -> tuple[str, ...]:
        """Which numbers `compute` gives for a set."""
        labelled = () if source.box_scores is not None else ("PCK@0.1",)
        return (*STATS, "AP pooled", *labelled)

    def compute(self) -> dict[str, float]:
        """AP and its kin by pycocotools, and PCK@0.1 of labelled boxes, 0 to 1; NaN where there is no truth."""
        records = self.records()
        ap = CocoAP(self._truth, self.source.skeleton)
        ap.add(records)
        scores = ap.compute()
        numbers = {name: scores[name] for name in (*STATS, "AP pooled")}
        if self.source.box_scores is not None:
            return numbers
        truth = {instance.annotation_id: instance for instance in self.source.instances}
        seen = [truth[record["annotation_id"]] for record in records]
        found = np.array([record["keypoints"] for record in records]).reshape(len(records), -1, 3)
        labels = np.array([instance.keypoints for instance in seen])
        boxes = np.array([instance.box for instance in seen])
        return numbers | {"PCK@0.1": pck(found, labels, boxes, 0.1)}
