"""Sheets are written whole, hold every picture in its place, and refuse what does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from genloc.skeleton import AP10K
from genloc.visualize import maps_figure, overlay_sheet, sheet, write_png

K = AP10K.num_keypoints


def crops(n: int, side: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(n)]


def points(n: int, side: int = 64) -> list[np.ndarray]:
    return list(np.random.default_rng(4).uniform(4, side - 4, (n, K, 2)))


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1]


def test_pictures_stand_in_order_and_unchanged() -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (90, 90, 10), (10, 90, 90)]
    tiles = [np.full((32, 32, 3), c, np.uint8) for c in colours]
    made = sheet([tiles[:3], tiles[3:]], tile=32)
    places = []
    for colour in colours:
        ys, xs = np.nonzero((made == colour).all(2))
        assert len(xs) == 32 * 32
        places.append((ys.min(), xs.min()))
    assert places == sorted(places)
    assert len({y for y, _ in places}) == 2


def test_a_group_stands_closer_than_its_neighbours() -> None:
    tiles = [np.full((64, 64, 3), (10 * i, 0, 200), np.uint8) for i in range(4)]
    made = sheet([tiles], tile=64, group=2)
    edges = [
        (xs.min(), xs.max())
        for tile in tiles
        for xs in [np.nonzero((made == tile[0, 0]).all(2))[1]]
    ]
    within = edges[1][0] - edges[0][1]
    between = edges[2][0] - edges[1][1]
    assert within == edges[3][0] - edges[2][1] < between


def test_tall_and_wide_pictures_keep_their_shape() -> None:
    wide = np.full((10, 40, 3), (255, 0, 255), np.uint8)
    made = sheet([[wide]], tile=80)
    ys, xs = np.nonzero((made == (255, 0, 255)).all(2))
    assert (np.ptp(xs) + 1, np.ptp(ys) + 1) == (80, 20)


def test_captions_that_are_too_long_end_in_dots_inside_their_tile() -> None:
    tile = np.zeros((64, 64, 3), np.uint8)
    made = sheet([[tile, tile]], captions=[["", "word " * 80]], tile=64)
    margin, gap = 16, 8
    below = made[margin + 64 :]
    assert (below[:, : margin + 64] == below[0, 0]).all()  # nothing under the first
    assert (below[:, -margin:] == below[0, 0]).all()  # nor in the margin
    assert (below[:, margin + 64 + gap : -margin] != below[0, 0]).any()


def test_the_sheet_on_disk_is_the_sheet_returned(tmp_path: Path) -> None:
    path = tmp_path / "new" / "overlays.png"
    truth = [np.column_stack([p + 3, np.arange(K) % 3]) for p in points(5)]
    made = overlay_sheet(
        crops(5),
        points(5),
        list(np.random.default_rng(5).random((5, K, 16, 16))),
        truth,
        path,
        skeleton=AP10K,
        scores=list(np.random.default_rng(6).random((5, K))),
        captions=[f"animal {i}" for i in range(5)],
        title="Five animals",
        columns=3,
        tile=64,
    )
    np.testing.assert_array_equal(read(path), made)
    assert [p.name for p in path.parent.iterdir()] == ["overlays.png"]


def test_a_sheet_needs_neither_maps_nor_truth(tmp_path: Path) -> None:
    small = overlay_sheet(
        crops(2), points(2), None, None, tmp_path / "a.png", skeleton=AP10K, tile=64
    )
    with_maps = overlay_sheet(
        crops(2),
        points(2),
        list(np.ones((2, K, 8, 8))),
        None,
        tmp_path / "b.png",
        skeleton=AP10K,
        tile=64,
    )
    assert with_maps.shape[1] > small.shape[1]


def test_the_figure_has_a_row_for_each_read_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    truth = np.column_stack([points(1)[0], np.full(K, 2)])

    def figure(rows: int, keypoints: list[str] | None, pictures: int = 1) -> np.ndarray:
        maps = {f"read-out {i}": [rng.random((K, 16, 16))] * pictures for i in range(rows)}
        return maps_figure(
            crops(pictures),
            maps,
            tmp_path / "maps.png",
            skeleton=AP10K,
            keypoints=keypoints,
            truth=[truth] * pictures,
            tile=64,
        )

    one, two = figure(1, ["nose"]), figure(2, ["nose"])
    assert two.shape[0] > one.shape[0] and two.shape[1] == one.shape[1]
    np.testing.assert_equal(figure(1, ["nose"], pictures=2).shape, two.shape)
    assert figure(1, ["nose", "left_eye"]).shape[1] > one.shape[1]
    assert figure(1, None).shape[1] > one.shape[1]
    with pytest.raises(ValueError, match="no keypoint 'knee'"):
        figure(1, ["knee"])


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keypoints holds 1, expected one for each of 2"):
        overlay_sheet(crops(2), points(1), None, None, tmp_path / "x.png", skeleton=AP10K)
    with pytest.raises(ValueError, match="rows holds no picture"):
        overlay_sheet([], [], None, None, tmp_path / "x.png", skeleton=AP10K)
    with pytest.raises(ValueError, match=r"maps\['CKHE'\] has shape \[3, 4, 4\]"):
        maps_figure(crops(1), {"CKHE": [np.ones((3, 4, 4))]}, tmp_path / "x.png", skeleton=AP10K)
    with pytest.raises(ValueError, match="CKHE holds 0, expected one for each of 1"):
        maps_figure(crops(1), {"CKHE": []}, tmp_path / "x.png", skeleton=AP10K)
    assert list(tmp_path.iterdir()) == []


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    picture = crops(1, side=33)[0]
    write_png(tmp_path / "deep" / "er" / "p.png", picture)
    np.testing.assert_array_equal(read(tmp_path / "deep" / "er" / "p.png"), picture)
