from __future__ import annotations

import numpy as np

from genloc.data.picture import ArrayPicture
from genloc.media import Frame
from genloc.streaming.boxes import WholePicture
from genloc.streaming.tracking import Tracker
from genloc.streaming.zoom import Zoom
from tests.spots import spots_picture, spots_predictor


def small_animal(index: int = 0) -> tuple[Frame, np.ndarray]:
    rgb, truth = spots_picture((300, 90 + 3 * index), size=(400, 240))
    return Frame(index, str(index), ArrayPicture(rgb)), truth


def test_each_look_is_closer_and_sharper() -> None:
    predictor = spots_predictor()
    frame, truth = small_animal()
    sides, errors = [], []
    for source in (WholePicture(), Zoom(predictor, looks=1), Zoom(predictor)):
        where = source.find(frame)
        found = predictor(frame.picture, where.boxes)
        sides.append(where.boxes[0, 2:].max())
        errors.append(np.abs(found.xy - truth).max())
    assert sides[0] == 400 and sides[1] < 200 and sides[2] < 200
    assert errors[2] < 0.6 < errors[0]


def test_an_empty_picture_is_looked_at_as_a_whole() -> None:
    frame = Frame(0, "0", ArrayPicture(np.zeros((240, 400, 3), np.uint8)))
    where = Zoom(spots_predictor()).find(frame)
    x, y, w, h = where.boxes[0]
    assert (
        len(where) == 1 and w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= 400 and y + h <= 240
    )


def test_a_tracker_begins_with_it() -> None:
    predictor = spots_predictor()
    tracker = Tracker(Zoom(predictor))
    for index in range(4):
        frame, truth = small_animal(index)
        assert frame.picture is not None
        where = tracker.find(frame)
        found = predictor(frame.picture, where.boxes)
        tracker.update(found, [1], frame.picture.size)
        assert np.abs(found.xy - truth).max() < 1
    assert "closer looks" in tracker.facts
