"""What is given to the page is checked before it is decoded, and its file goes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from genloc.app.example import MOST_POINTS, Example
from genloc.app.picture import (
    EXAMPLES,
    KEPT,
    MOST_BYTES,
    ON_PAGE,
    PagePicture,
    take_upload,
    take_uploads,
    zoo_pictures,
)


def picture(width: int = 60, height: int = 40) -> PagePicture:
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return PagePicture("a.png", rgb, (width, height))


def write(path: Path, width: int = 60, height: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(width, height).rgb[..., ::-1])
    return path


def test_an_upload_is_read_and_its_file_and_folder_go(tmp_path: Path) -> None:
    path = write(tmp_path / "cache" / "a.png")
    taken = take_upload(path)
    np.testing.assert_array_equal(taken.rgb, picture().rgb)
    assert taken.name == "a.png" and taken.file_size == taken.size == (60, 40)
    assert not path.parent.exists() and tmp_path.exists()


def test_a_folder_with_something_else_in_it_stays(tmp_path: Path) -> None:
    path, other = write(tmp_path / "a.png"), write(tmp_path / "b.png")
    take_upload(path)
    assert not path.exists() and other.exists()


def test_after_a_bad_file_the_later_ones_are_deleted_too(tmp_path: Path) -> None:
    paths = [write(tmp_path / name / f"{name}.png") for name in "abcd"]
    for bad in (paths[1], paths[2]):
        bad.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.png cannot be read.* c\.png cannot be read"):
        take_uploads(paths, most=8)
    assert not list(tmp_path.iterdir())


def test_more_than_can_be_taken_are_not_even_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / name / f"{name}.png") for name in "abc"]
    with monkeypatch.context() as patch:
        patch.setattr("genloc.app.picture.read_image", lambda path: pytest.fail(str(path)))
        with pytest.raises(ValueError, match="These are 3 pictures; 2 more"):
            take_uploads(paths, most=2)
    assert not list(tmp_path.iterdir())
    again = write(tmp_path / "a" / "a.png")
    (taken,) = take_uploads([again, again], most=1)  # twice the same picture: one file
    assert taken.name == "a.png" and not list(tmp_path.iterdir())


def test_a_file_that_another_page_has_taken_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a\.png is gone already: give it once more"):
        take_upload(tmp_path / "a.png")


def test_a_large_picture_is_kept_smaller_and_points_find_back(tmp_path: Path) -> None:
    taken = take_upload(write(tmp_path / "a.jpg", 2 * KEPT, KEPT))
    assert taken.size == (KEPT, KEPT // 2) and taken.file_size == (2 * KEPT, KEPT)
    # The outer edges of both pictures are the same: -0.5, and the width less 0.5.
    corners = np.array([[-0.5, -0.5], [KEPT - 0.5, KEPT / 2 - 0.5]])
    np.testing.assert_allclose(taken.to_file(corners), [[-0.5, -0.5], [2 * KEPT - 0.5, KEPT - 0.5]])


def test_a_turned_photograph_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(picture().rgb).save(tmp_path / "a.jpg", exif=exif)
    assert take_upload(tmp_path / "a.jpg").size == (40, 60)


def bomb(path: Path) -> None:
    """A PNG of a few kB that claims 30,000 x 30,000 pixels."""
    Image.new("1", (30_000, 30_000)).save(path)


def cut(path: Path) -> None:
    whole = write(path.with_name("whole.png")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def postscript(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\nshowpage\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"no picture"), "it is no picture"),
        (lambda p: p.write_bytes(b""), "it is no picture"),
        (lambda p: p.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), "it is no picture"),
        (postscript, "it is no picture"),
        (cut, "truncated or damaged"),
        (bomb, "more pixels than can be taken"),
        (lambda p: Image.new("1", (8000, 8000)).save(p), "8000 x 8000 pixels"),
        (lambda p: write(p, 4, 60), "at least 8 a side"),
        (lambda p: p.write_bytes(bytes(MOST_BYTES + 1)), "up to 20 MB"),
    ],
)  # fmt: skip
def test_what_is_no_good_is_said_in_a_line_and_deleted(
    tmp_path: Path, make: object, message: str
) -> None:
    path = tmp_path / "cache" / "a.png"
    path.parent.mkdir()
    make(path)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message) as said:
        take_upload(path)
    assert str(said.value).startswith("a.png") and "\n" not in str(said.value)
    assert str(tmp_path) not in str(said.value)
    assert not path.exists()


def test_a_click_on_the_page_finds_its_pixel_and_back() -> None:
    one = picture(60, 40)
    assert one.on_page().shape == (ON_PAGE * 40 // 60, ON_PAGE, 3)
    zoom = ON_PAGE / 60
    assert one.from_page(-0.5, -0.5) == (-0.5, -0.5)
    np.testing.assert_allclose(one.from_page(12.5 * zoom - 0.5, 7.5 * zoom - 0.5), (12, 7))


def test_two_corners_make_a_box_in_any_order() -> None:
    first = picture().with_corner((30, 5))
    assert first.box is None and first.corner == (30, 5)
    second = first.with_corner((10, 25))
    assert second.box == (10, 5, 21, 21) and second.corner is None
    assert second.everywhere().where == (0, 0, 60, 40)
    with pytest.raises(ValueError, match="two opposite corners"):
        first.with_corner((30, 25))
    assert (first.on_page() != picture().on_page()).any()
    assert (second.on_page() != picture().on_page()).any()


def test_zoo_pictures_are_whole_animals_and_the_same_every_time() -> None:
    drawn, again = zoo_pictures(), zoo_pictures()
    assert [one.name for one in drawn] == [f"{name}.png" for name in EXAMPLES]
    for one, other in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)
        assert one.box is not None
        x, y, w, h = one.box
        assert x >= 0 and y >= 0 and x + w <= one.size[0] and y + h <= one.size[1]


def test_points_get_names_and_are_taken_back() -> None:
    example = Example(picture()).with_point(" left  eye ", (10, 10)).with_point("", (20, 10))
    assert example.names == ("left eye", "point 2")
    assert example.without_last().names == ("left eye",)
    support = example.with_point("right eye", (5, 5)).support()
    assert support.skeleton.flip_pairs == ((0, 2),)
    np.testing.assert_array_equal(support.points[0], [10, 10, 2])
    assert support.box == (0, 0, 60, 40)
    with pytest.raises(ValueError, match="'left eye' already"):
        example.with_point("left eye", (1, 1))
    with pytest.raises(ValueError, match="60 letters"):
        example.with_point("x" * 61, (1, 1))
    with pytest.raises(ValueError, match="no point yet"):
        Example(picture()).support()
    full = Example(picture())
    for i in range(MOST_POINTS):
        full = full.with_point("", (i, i))
    with pytest.raises(ValueError, match=f"{MOST_POINTS} points"):
        full.with_point("", (0, 0))


def test_a_point_outside_widens_the_box() -> None:
    boxed = picture().with_corner((10, 10)).with_corner((20, 20))
    example = Example(boxed).with_point("far", (40, 5))
    assert example.picture.box is not None
    x, y, w, h = example.picture.box
    assert x == 10 and y == 4 and x + w == 42 and y + h == 21
