"""Boxes that follow the keypoints from frame to frame.

Letters: K keypoints. Boxes: x, y, width, height in picture pixels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from genloc.keypoints import Keypoints
from genloc.media import Frame
from genloc.streaming.boxes import BoxSource, Found

MARGIN = 1.25  # of the box over the extent of the keypoints: bodies are larger than their joints
MOVE = 0.3  # how fast the box's size follows that of the animal
SURE = 0.5  # keypoints with less than this part of the median score do not shape the box
CLOSER = (
    4.0  # a box is at least this part of the one looked in: cells there are too coarse to say more
)
SHRUNK = 0.25  # a box below this part of the first one has closed in on something else: lost, too
LOST = 0.4  # below this part of its usual score an animal counts as lost

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Track:
    """One animal as it was last seen.

    Args:
        box: where to look next. score: its usual instance score. category_id: its species.
        side: longer side of the first box that it got.
    """

    box: Box
    score: float
    category_id: int
    side: float


class Tracker:
    """Looks where each animal was in the frame before; where one is lost, or at the start, asks `source`.

    Args:
        source: of first boxes. Where it has several, each keeps its place in the results while tracked.

    Attributes:
        tracks: the animals. All of the tracker's memory: it goes into the journal with every frame.
    """

    def __init__(self, source: BoxSource) -> None:
        self.source = source
        self.tracks: list[Track] = []

    @property
    def facts(self) -> str:
        return f"tracked from {self.source.facts}"

    def find(self, frame: Frame) -> Found:
        if not self.tracks:
            return self.source.find(frame)
        boxes = np.array([track.box for track in self.tracks])
        return Found(boxes, np.ones(len(boxes)), [track.category_id for track in self.tracks])

    def update(self, found: Keypoints, categories: list[int], size: tuple[int, int]) -> None:
        """Take over what was found in the frame: one instance for each box."""
        known = self.tracks if len(self.tracks) == len(found) else [None] * len(found)
        tracks = []
        for i, track in enumerate(known):
            score = float(found.instance_scores()[i] / max(float(found.box_scores[i]), 1e-9))
            if track is not None and score < LOST * track.score:
                self.tracks = []  # one is lost: all are looked for again
                return
            usual = score if track is None else 0.9 * track.score + 0.1 * score
            before = None if track is None else found.boxes[i, 2:].astype(np.float64)
            box = box_around(found, i, size, before=before)
            side = 0.0 if box is None else max(box[2:]) if track is None else track.side
            if box is None or max(box[2:]) < SHRUNK * side:
                self.tracks = []
                return
            tracks.append(Track(box, usual, categories[i], side))
        self.tracks = tracks

    def state(self) -> list[dict[str, Any]]:
        """`tracks` as plain values."""
        return [asdict(track) for track in self.tracks]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Go on from a `state`."""
        self.tracks = [Track(**{**track, "box": tuple(track["box"])}) for track in state]


def box_around(
    found: Keypoints, i: int, size: tuple[int, int], *, before: np.ndarray | None = None
) -> Box | None:
    """The box around the sure keypoints of an instance; None where it left the picture.

    Args:
        found: keypoints. i: which instance. size: width and height of the picture.
        before: sides of an earlier box, [2], that this one's move away from only slowly.
    """
    scores = found.scores[i]
    sure = scores >= SURE * np.median(scores)
    points = found.xy[i][sure].astype(np.float64)
    if not np.isfinite(points).all() or not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    centre, side = (low + high) / 2, MARGIN * np.maximum(high - low, 8.0)
    side = np.maximum(side, found.boxes[i, 2:].max() / CLOSER)
    if before is not None:
        side = (1 - MOVE) * before + MOVE * side
    # Cut to the picture, as labelled boxes are: without it, wild points would let the box grow and grow.
    low = np.clip(centre - side / 2, 0, size)
    high = np.clip(centre + side / 2, 0, size)
    if (high - low).min() < 1:
        return None
    return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
