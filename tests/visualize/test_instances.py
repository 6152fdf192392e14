"""Whole pictures: every instance is drawn where it was found, sized by its box, maps in their crop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from genloc.data.transforms import square_crop
from genloc.keypoints import Keypoints
from genloc.skeleton import Skeleton
from genloc.visualize import COLOURS, draw_box, draw_instances, draw_keypoints
from genloc.visualize.marks import MISS
from genloc.visualize.overlay import instance_radius

PAIR = Skeleton("pair", ("left_ear", "right_ear", "nose"), ((0, 2),), ((0, 1),), (0.1, 0.1, 0.1))
BOXES = np.array([[10.0, 20, 40, 30], [80, 10, 60, 70]])


def found(*, maps: np.ndarray | None = None, size: int = 64, scores: float = 1.0) -> Keypoints:
    """Two instances, their keypoints in a row across the middle of each box."""
    xy = BOXES[:, None, :2] + BOXES[:, None, 2:] * [[[0.2, 0.5], [0.8, 0.5], [0.5, 0.9]]]
    return Keypoints(
        xy=xy,
        scores=np.full((2, 3), scores),
        boxes=BOXES,
        box_scores=np.ones(2),
        skeleton=PAIR,
        heatmaps=maps,
        crops=np.stack([square_crop(tuple(b), size).inverse for b in BOXES]),
    )


def blank(level: int = 128) -> np.ndarray:
    return np.full((100, 160, 3), level, np.uint8)


def near(pixel: np.ndarray, colour: tuple[int, int, int], within: int = 30) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= within)


def test_every_instance_is_drawn_where_it_was_found() -> None:
    keypoints = found()
    drawn = draw_instances(blank(), keypoints)
    for xy in keypoints.xy:
        for (x, y), side in zip(np.rint(xy).astype(int), PAIR.sides, strict=True):
            assert near(drawn[y, x], COLOURS[side])
    np.testing.assert_array_equal(draw_instances(blank(), keypoints, min_score=1.1), blank())


def test_no_instances_leave_the_picture_as_it_is() -> None:
    none = Keypoints(
        np.zeros((0, 3, 2)), np.zeros((0, 3)), np.zeros((0, 4)), np.zeros(0), skeleton=PAIR
    )
    np.testing.assert_array_equal(draw_instances(blank(), none, boxes=True, labels=[]), blank())


def test_one_instance_equals_the_drawing_of_its_keypoints() -> None:
    one = found(scores=0.4)
    one = Keypoints(one.xy[:1], one.scores[:1], one.boxes[:1], one.box_scores[:1], PAIR)
    alone = draw_keypoints(
        blank(), one.xy[0], skeleton=PAIR, scores=one.scores[0], radius=instance_radius(BOXES[0], (100, 160))
    )  # fmt: skip
    np.testing.assert_array_equal(draw_instances(blank(), one), alone)


def test_small_animals_get_small_dots_and_large_ones_never_huge_ones() -> None:
    frame = (1080, 1920, 3)
    radii = [instance_radius(np.array([0, 0, side, 9.0]), frame) for side in (20, 400, 800, 1900)]
    assert radii == sorted(radii) and radii[0] == 2
    assert radii[2] < radii[3] < 12


def test_boxes_and_labels_stay_inside_and_beside_their_instance() -> None:
    keypoints = found()
    with_box = draw_instances(blank(), keypoints, boxes=True)
    for x, y, w, h in BOXES.astype(int):
        for px, py in ((x + w // 2, y), (x + w // 2, y + h), (x, y + h // 3), (x + w, y + h // 3)):
            assert near(with_box[py, px], COLOURS["centre"], within=110)
    named = draw_instances(blank(), keypoints, labels=["dog 0.87", "Überlang " * 9])
    changed = np.nonzero((named != draw_instances(blank(), keypoints)).any(2))
    assert len(changed[0]) > 100
    assert changed[0].max() < 40


@pytest.mark.parametrize("cell", [(3, 5), (0, 0), (7, 2)])
def test_a_cell_glows_where_the_crop_lies_in_the_picture(cell: tuple[int, int]) -> None:
    maps = np.zeros((2, 3, 8, 8))
    maps[1, 0, cell[1], cell[0]] = 0.02
    size = 64
    drawn = draw_instances(blank(0), found(maps=maps, size=size), crop_size=size, min_score=9)
    weight = drawn.astype(float).sum(2)
    y, x = np.mgrid[:100, :160]
    centre = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    crop = square_crop(tuple(BOXES[1]), size)
    expected = crop.to_image((np.array(cell) + 0.5) * (size / 8) - 0.5)
    assert np.abs(centre - expected).max() < 0.6


def test_flags_circle_what_is_shown() -> None:
    xy = found().xy[0]
    draw = partial(
        draw_keypoints, blank(), xy, skeleton=PAIR, radius=2.0, visible=np.array([2, 0, 2])
    )
    plain, flagged = draw(), draw(flagged=np.array([True, True, False]))
    red = (np.abs(flagged.astype(int) - MISS).max(2) < 40) & (flagged != plain).any(2)
    ys, xs = np.nonzero(red)
    distance = np.hypot(xs - xy[0, 0], ys - xy[0, 1])
    assert len(xs) > 10 and distance.min() > 3 and distance.max() < 9


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="labels holds 1, expected one for each of 2"):
        draw_instances(blank(), found(), labels=["one"])
    with pytest.raises(ValueError, match="no heatmaps"):
        draw_instances(blank(), found(), crop_size=64)
    with pytest.raises(ValueError, match="image is float64"):
        draw_instances(blank().astype(float), found())
    with pytest.raises(ValueError, match="flagged has shape"):
        draw_keypoints(blank(), found().xy[0], skeleton=PAIR, flagged=np.ones(2, bool))
    with pytest.raises(ValueError, match="four finite numbers"):
        draw_box(blank(), [1, 2, np.nan, 4])


def test_a_box_is_drawn_with_its_words() -> None:
    drawn = draw_box(blank(), BOXES[1], label="box outside")
    assert near(drawn[80, 110], MISS)
    np.testing.assert_array_equal(drawn[40:60, 100:120], blank()[40:60, 100:120])
