"""Which labelled animal is in which box of a detector.

Letters: D boxes, N animals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pycocotools import mask

LEAST_IOU = 0.5


def match_boxes(
    found: Sequence[tuple[int, int, Sequence[float]]],
    labelled: Sequence[tuple[int, int, Sequence[float]]],
    least: float = LEAST_IOU,
) -> dict[int, int]:
    """Pair boxes with animals of the same picture and category, the best overlap first, none twice.

    Args:
        found: D times image id, category id and box x, y, w, h in image pixels.
        labelled: N times the same.
        least: intersection over union that a pair needs.

    Returns:
        Place in `labelled` -> place in `found`, for those that are paired. Equal overlaps go to the
        earlier box, then to the earlier animal.
    """
    boxes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for d, (image, category, _) in enumerate(found):
        boxes[image, category].append(d)
    animals: dict[tuple[int, int], list[int]] = defaultdict(list)
    for n, (image, category, _) in enumerate(labelled):
        animals[image, category].append(n)
    pairs: dict[int, int] = {}
    for where in boxes.keys() & animals.keys():
        ours, theirs = boxes[where], animals[where]
        overlap = mask.iou(
            np.array([found[d][2] for d in ours], np.float64),
            np.array([labelled[n][2] for n in theirs], np.float64),
            [0] * len(theirs),
        )
        order = np.argsort(-overlap, axis=None, kind="stable")
        taken: set[int] = set()
        for i, j in zip(*np.unravel_index(order, overlap.shape), strict=True):
            if overlap[i, j] < least:
                break
            if ours[i] not in taken and theirs[j] not in pairs:
                pairs[theirs[j]] = ours[i]
                taken.add(ours[i])
    return pairs
