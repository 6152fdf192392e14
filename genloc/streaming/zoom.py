"""Where to look in a picture of which nothing is known: first at all of it, then closer.

Boxes: x, y, width, height in picture pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genloc.media import Frame
from genloc.predictor import KeypointPredictor
from genloc.streaming.boxes import Found, WholePicture
from genloc.streaming.tracking import box_around


@dataclass(frozen=True, eq=False)
class Zoom:
    """The box around what the predictor itself finds in the whole picture, looked at again.

    For one animal in a picture that is much larger than it. What the predictor was trained on should
    hold crops of whole pictures, too (`Augmentation.whole`).

    Args:
        predictor: finds keypoints.
        looks: how often the box is drawn anew, each time closer.
    """

    predictor: KeypointPredictor
    looks: int = 2

    @property
    def facts(self) -> str:
        return f"the whole picture, then {self.looks} closer looks"

    def find(self, frame: Frame) -> Found:
        assert frame.picture is not None
        seen = WholePicture().find(frame)
        for _ in range(self.looks):
            crops = self.predictor.crops(frame.picture, seen.boxes, seen.scores, name=frame.name)
            box = box_around(next(self.predictor.locate([crops])), 0, frame.picture.size)
            if box is None:
                break
            seen = Found(np.array([box]), np.ones(1), [1])
        return seen
