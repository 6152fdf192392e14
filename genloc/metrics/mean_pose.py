"""The mean pose: where a set's keypoints lie in their boxes on average.

Placed in each box it is the answer of somebody who never looked at a picture. A result near it has
learned nothing, so every table has its row.

Letters: N instances, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from genloc.keypoints import Keypoints
from genloc.skeleton import Skeleton


class Labelled(Protocol):
    """`genloc.data.coco.Instance` is one."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def keypoints(self) -> np.ndarray: ...


def mean_pose(instances: Iterable[Labelled]) -> np.ndarray:
    """Mean place of each keypoint over the instances that label it.

    Args:
        instances: with `box` (x, y, width, height) and `keypoints` [K, 3] (x, y, v) in pixels.

    Returns:
        float64 [K, 2] in box units: (0, 0) is the box's left top, (1, 1) its right bottom. A
        keypoint nobody labels gets the centre.

    Raises:
        ValueError: no instances.
    """
    boxes, labels = [], []
    for instance in instances:
        boxes.append(instance.box)
        labels.append(instance.keypoints)
    if not boxes:
        raise ValueError("instances is empty: there is no mean pose of nothing")
    box = np.asarray(boxes, np.float64)[:, None]
    keypoints = np.asarray(labels, np.float64)
    weight = (keypoints[..., 2:] > 0).astype(float)
    place = (keypoints[..., :2] - box[..., :2]) / box[..., 2:]
    count = weight.sum(axis=0)
    return np.where(count > 0, (place * weight).sum(axis=0) / np.maximum(count, 1), 0.5)


def place(pose: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> Keypoints:
    """The pose in each box, every score 1.

    Args:
        pose: [K, 2] in box units, of `mean_pose`.
        boxes: [N, 4], x, y, width, height in image pixels.
        skeleton: the K keypoints.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    xy = boxes[:, None, :2] + np.asarray(pose)[None] * boxes[:, None, 2:]
    ones = np.ones(xy.shape[:2], np.float32)
    return Keypoints(
        xy=xy, scores=ones, boxes=boxes, box_scores=np.ones(len(boxes)), skeleton=skeleton
    )
