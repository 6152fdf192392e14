from __future__ import annotations

import json

import numpy as np

from genloc.data.picture import ArrayPicture
from genloc.keypoints import Keypoints
from genloc.media import Frame
from genloc.streaming.boxes import FileBoxes, Found, WholePicture
from genloc.streaming.tracking import Tracker
from tests.spots import SPOTS, around, spots_picture, spots_predictor


def frame(index: int, *centres: tuple[float, float]) -> tuple[Frame, np.ndarray]:
    rgb, truth = spots_picture(*centres, size=(200, 120))
    return Frame(index, str(index), ArrayPicture(rgb)), truth


def follow(tracker: Tracker, frames: list[tuple[Frame, np.ndarray]]) -> list[float]:
    predictor, errors = spots_predictor(), []
    for each, truth in frames:
        assert each.picture is not None
        where = tracker.find(each)
        found = predictor(each.picture, where.boxes)
        tracker.update(found, list(where.category_ids), each.picture.size)
        errors.append(float(np.abs(found.xy - truth).max()) if len(truth) == len(found) else np.inf)
    return errors


def walk(i: int) -> tuple[float, float]:
    return 30 + 2.0 * i, 60 + 25 * np.sin(i / 8)


def test_the_box_follows_the_animal_and_sharpens_what_is_found() -> None:
    frames = [frame(i, walk(i)) for i in range(60)]
    errors = follow(Tracker(WholePicture()), frames)
    assert errors[0] < 2.5  # the whole picture is a coarse crop
    assert max(errors[5:]) < 0.6


def test_two_animals_keep_their_places() -> None:
    frames = [frame(i, walk(i), (170 - 2.0 * i, 20.0)) for i in range(20)]
    first = FileBoxes("f", {0: Found(around(frames[0][1]), np.ones(2), [4, 9])})
    tracker = Tracker(first)
    assert max(follow(tracker, frames)) < 0.6
    assert [track.category_id for track in tracker.tracks] == [4, 9]


def test_what_is_lost_is_looked_for_again() -> None:
    frames = [frame(i, walk(0)) for i in range(5)] + [frame(5)] + [frame(6, (160, 90))] * 4
    tracker = Tracker(WholePicture())
    errors = follow(tracker, frames)
    assert max(errors[-2:]) < 0.6


def test_a_box_that_closes_in_on_nothing_counts_as_lost() -> None:
    """Sure of one place for all keypoints, as on a speck behind an animal that has left."""
    tracker, sides = Tracker(WholePicture()), []
    for i in range(40):
        each, truth = frame(i, (100, 60))
        where = tracker.find(each)
        sides.append(float(where.boxes[0, 2:].max()))
        points = truth if i < 5 else np.full((1, 3, 2), 80.0)
        found = Keypoints(points, np.ones((1, 3)), where.boxes, np.ones(1), SPOTS)
        tracker.update(found, [1], (200, 120))
    assert sides[0] == 200 and min(sides) > 9
    assert 200 in sides[6:]  # looked for anew


def test_a_tracker_goes_on_from_its_state() -> None:
    frames = [frame(i, walk(i)) for i in range(12)]
    straight, first, second = (Tracker(WholePicture()) for _ in range(3))
    follow(straight, frames)
    follow(first, frames[:7])
    second.restore(json.loads(json.dumps(first.state())))
    follow(second, frames[7:])
    assert second.tracks == straight.tracks
    assert len(SPOTS.keypoints) == 3


def test_wild_points_do_not_let_the_box_outgrow_the_picture() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker(WholePicture())
    for i in range(40):
        each, _ = frame(i)
        where = tracker.find(each)
        x, y, w, h = where.boxes[0]
        points = np.array([x, y]) + rng.uniform(-0.125, 1.125, (1, 3, 2)) * [
            w,
            h,
        ]  # of the padded crop
        ones = np.ones((1, 3))
        found = Keypoints(points, ones, where.boxes, np.ones(1), SPOTS)
        tracker.update(found, [1], (200, 120))
        for track in tracker.tracks:
            x, y, w, h = track.box
            assert x >= 0 and y >= 0 and x + w <= 200 and y + h <= 120
