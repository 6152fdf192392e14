"""Marks lie where they should, in the colour of their side, and are seen on any ground."""

from __future__ import annotations

import numpy as np
import pytest

from genloc.skeleton import AP10K, Skeleton
from genloc.visualize import draw_heatmaps, draw_keypoints, draw_map
from genloc.visualize.marks import COLOURS, MISS, OUTLINE

PAIR = Skeleton("pair", ("left_ear", "right_ear", "nose"), ((0, 2),), ((0, 1),), (0.1, 0.1, 0.1))
SPOTS = np.array([[20.0, 30.0], [70.0, 25.0], [50.0, 70.0]])


def blank(level: int = 128, size: int = 96) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def near(pixel: np.ndarray, colour: tuple[int, int, int], within: int = 12) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= within)


def centre_of_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[2] x, y, the middle of the pixels that differ, weighted by how much."""
    weight = np.abs(after.astype(float) - before).sum(2)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def test_dots_have_the_colour_of_their_side() -> None:
    drawn = draw_keypoints(blank(), SPOTS, skeleton=PAIR, radius=4)
    assert near(drawn[30, 20], COLOURS["left"])
    assert near(drawn[25, 70], COLOURS["right"])
    assert near(drawn[70, 50], COLOURS["centre"])
    assert near(drawn[50, 35], COLOURS["left"], within=40)  # the edge from the left ear to the nose


@pytest.mark.parametrize("at", [(40.0, 40.0), (40.3, 52.75), (17.5, 61.1)])
def test_a_dot_lies_at_its_point_to_a_twentieth_of_a_pixel(at: tuple[float, float]) -> None:
    before = blank()
    xy = np.array([at, (np.nan, np.nan), (np.nan, np.nan)])
    after = draw_keypoints(before, xy, skeleton=PAIR, radius=5)
    assert np.abs(centre_of_change(before, after) - at).max() < 0.05


@pytest.mark.parametrize("level", [0, 40, 128, 215, 255])
@pytest.mark.parametrize("side", ["left", "right", "centre"])
def test_dots_stand_out_from_every_ground(level: int, side: str) -> None:
    row = {"left": 0, "right": 1, "centre": 2}[side]
    xy = np.full((3, 2), np.nan)
    xy[row] = 48
    drawn = draw_keypoints(blank(level), xy, skeleton=PAIR, radius=5).astype(int)
    line = drawn[48, 36:61].mean(1)  # luminance across the dot
    assert np.ptp(line) > 90


def test_hidden_points_are_rings_and_absent_ones_are_not_drawn() -> None:
    drawn = draw_keypoints(blank(), SPOTS, skeleton=PAIR, visible=np.array([1, 0, 2]), radius=6)
    assert near(drawn[30, 20], OUTLINE)
    assert near(drawn[30, 15], COLOURS["left"], within=40)
    assert near(drawn[25, 70], (128, 128, 128), within=0)
    assert near(drawn[70, 50], COLOURS["centre"])
    no_points = draw_keypoints(blank(), SPOTS, skeleton=PAIR, visible=np.zeros(3, bool))
    np.testing.assert_array_equal(no_points, blank())


def test_unsure_points_let_the_picture_through() -> None:
    strengths = [
        np.abs(
            draw_keypoints(blank(), SPOTS, skeleton=PAIR, scores=np.full(3, s)).astype(int) - 128
        ).sum()
        for s in (0.0, 0.2, 1.0)
    ]
    assert 0 < strengths[0] < strengths[1] < strengths[2]


def test_a_miss_is_joined_to_the_truth_and_a_hit_is_not() -> None:
    truth = np.array([[20.0, 60.0, 2], [70.0, 25.0, 2], [50.0, 70.0, 0]])
    drawn = draw_keypoints(blank(), SPOTS, skeleton=PAIR, truth=truth, radius=3)
    assert near(drawn[47, 20], MISS, within=40)

    def red(image: np.ndarray) -> np.ndarray:
        return np.abs(image.astype(int) - MISS).max(2) <= 40

    assert red(drawn)[:, 60:].sum() == 0  # the right ear was hit, the nose is not labelled


def test_points_outside_the_picture_do_no_harm() -> None:
    far = np.array([[-500.0, 20.0], [1e6, -1e6], [48.0, 48.0]])
    drawn = draw_keypoints(blank(), far, skeleton=PAIR, radius=4)
    assert near(drawn[48, 48], COLOURS["centre"])
    assert drawn.shape == (96, 96, 3)


def test_the_picture_given_is_left_alone() -> None:
    picture = blank()
    draw_keypoints(picture, SPOTS, skeleton=PAIR)
    draw_heatmaps(picture, np.ones((3, 8, 8)), skeleton=PAIR)
    draw_map(picture, np.ones((8, 8)))
    np.testing.assert_array_equal(picture, blank())


@pytest.mark.parametrize("cell", [(0, 0), (3, 5), (7, 7), (6, 0)])
def test_a_cell_glows_at_its_own_centre(cell: tuple[int, int]) -> None:
    """Cell j of a map of stride s is centred on pixel (j + 1/2) s - 1/2."""
    j, i = cell
    maps = np.zeros((3, 8, 8))
    maps[0, i, j] = 0.01  # a low peak shows as well as a high one
    drawn = draw_heatmaps(blank(0, 96), maps, skeleton=PAIR).astype(float).sum(2)
    ys, xs = np.nonzero(drawn >= drawn.max() - 1e-6)
    expected = (np.array([j, i]) + 0.5) * 12 - 0.5
    inside = np.abs(np.array([xs.mean(), ys.mean()]) - expected) <= 0.5
    assert inside[0] or j in (0, 7)  # at the border the last half cell is as bright
    assert inside[1] or i in (0, 7)
    assert drawn[round(expected[1]), round(expected[0])] >= 0.8 * drawn.max()


def test_maps_of_two_sides_keep_their_colours() -> None:
    maps = np.zeros((3, 12, 12))
    maps[0, 2, 2], maps[1, 9, 9] = 0.3, 1e-5
    drawn = draw_heatmaps(blank(0, 96), maps, skeleton=PAIR).astype(int)
    left, right = drawn[18, 22], drawn[74, 78]  # beside the peaks
    assert left[0] > left[2] and right[2] > right[0]


def test_diffuse_maps_of_one_side_do_not_hide_the_other() -> None:
    rng = np.random.default_rng(0)
    maps = np.stack([1 + 0.05 * rng.random((12, 12)) for _ in range(3)])
    maps[0, 2, 2] = maps[1, 9, 9] = maps[2, 6, 1] = 1.2  # left, right, middle
    drawn = draw_heatmaps(blank(0, 96), maps, skeleton=PAIR).astype(int)
    assert drawn[20, 20, 0] > drawn[20, 20, 2] + 40  # orange
    assert drawn[76, 76, 2] > drawn[76, 76, 0] + 40  # blue


@pytest.mark.parametrize("bad", [np.zeros((3, 8, 8)), np.full((3, 8, 8), np.nan)])
def test_empty_maps_draw_a_dark_picture(bad: np.ndarray) -> None:
    drawn = draw_heatmaps(blank(200), bad, skeleton=PAIR)
    np.testing.assert_array_equal(drawn, blank(100))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image is float64 .*expected uint8"):
        draw_keypoints(blank().astype(float), SPOTS, skeleton=PAIR)
    with pytest.raises(ValueError, match=r"xy has shape \[3, 2\], expected \[17, 2\]"):
        draw_keypoints(blank(), SPOTS, skeleton=AP10K)
    with pytest.raises(ValueError, match=r"maps has shape \[3, 8, 8\], expected \[17, h, w\]"):
        draw_heatmaps(blank(), np.ones((3, 8, 8)), skeleton=AP10K)
    with pytest.raises(ValueError, match=r"visible has shape \[2\], expected \[3\]"):
        draw_keypoints(blank(), SPOTS, skeleton=PAIR, visible=np.ones(2))
