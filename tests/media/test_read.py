from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from genloc.media import Pictures, Video, find_media
from tests.media.clips import damage, grey_levels, write_clip
from tests.spots import spots_picture, write_picture


def test_pictures_come_in_the_order_that_people_count(tmp_path: Path) -> None:
    rgb, _ = spots_picture((48, 36))
    for name in ("img10.png", "img9.png", "img1.png", "b/img2.png"):
        write_picture(tmp_path / name, rgb)
    (tmp_path / "notes.txt").write_text("no picture")
    media = find_media(tmp_path)
    assert [frame.name for frame in media.frames()] == [
        "b/img2.png",
        "img1.png",
        "img9.png",
        "img10.png",
    ]
    assert [frame.index for frame in media.frames(2)] == [2, 3]
    found = find_media(f"{tmp_path}/img?.png")
    assert [frame.name for frame in found.frames()] == ["img1.png", "img9.png"]
    single = find_media(tmp_path / "img9.png")
    assert [frame.name for frame in single.frames()] == ["img9.png"]
    assert media.fingerprint() != found.fingerprint()


def test_results_in_the_input_are_no_input(tmp_path: Path) -> None:
    for name in ("a.png", "predictions/x/overlays/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for spec in (tmp_path, f"{tmp_path}/**/*.png"):
        media = find_media(spec, but=tmp_path / "predictions" / "x")
        assert [media.name(i) for i in range(len(media))] == ["a.png"]


def test_a_broken_picture_is_a_frame_with_an_error(tmp_path: Path) -> None:
    rgb, _ = spots_picture((48, 36))
    for name in "abc":
        write_picture(tmp_path / f"{name}.png", rgb)
    (tmp_path / "b.png").write_bytes(b"nothing")
    frames = list(find_media(tmp_path).frames())
    assert [frame.picture is None for frame in frames] == [False, True, False]
    assert "b.png" in str(frames[1].error)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov"])
def test_every_frame_of_a_video_comes_with_its_number(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"clip.{suffix}", 40)
    video = find_media(path)
    assert isinstance(video, Video)
    assert len(video) == 40
    assert video.rate == Fraction(25)
    frames = list(video.frames())
    assert [frame.index for frame in frames] == list(range(40))
    assert [frame.error for frame in frames] == [None] * 40
    apart = np.abs(grey_levels(frames) - 5 * np.arange(40))  # one frame off would be 5 everywhere
    assert apart.max() < 6
    assert apart.mean() < 2.5
    assert frames[7].name == f"clip.{suffix}/000007"


def test_an_avi_whose_frames_refer_to_later_ones(tmp_path: Path) -> None:
    """Its packets carry made-up times, in another order than its frames."""
    video = Video(write_clip(tmp_path / "clip.avi", 40, codec="libx264"))
    for start in (0, 13):
        frames = list(video.frames(start))
        assert [frame.error for frame in frames] == [None] * (40 - start)
        assert np.abs(grey_levels(frames) - 5 * np.arange(start, 40)).max() < 6


@pytest.mark.parametrize("start", [1, 11, 12, 13, 30, 39, 40])
@pytest.mark.parametrize("suffix", ["mp4", "ts", "mpg", "avi"])
def test_starting_later_gives_the_same_frames(tmp_path: Path, suffix: str, start: int) -> None:
    video = Video(write_clip(tmp_path / f"clip.{suffix}", 40))
    rest, all_frames = list(video.frames(start)), list(video.frames())
    assert [frame.index for frame in rest] == list(range(start, 40))
    for a, b in zip(rest, all_frames[start:], strict=True):
        assert a.picture is not None
        assert b.picture is not None
        np.testing.assert_array_equal(a.picture.rgb(), b.picture.rgb())


def test_broken_frames_are_said_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 60)
    broken = damage(path, [20, 21, 33])
    frames = list(Video(path).frames())
    assert [frame.index for frame in frames] == list(range(60))
    assert [frame.index for frame in frames if frame.picture is None] == broken
    assert f"frame {broken[0]} of" in str(frames[broken[0]].error)
    whole = [frame for frame in frames if frame.picture is not None]
    indices = np.array([frame.index for frame in whole])
    before = indices < broken[0]
    assert np.abs(grey_levels(whole) - 5 * indices % 256)[before].max() < 4


def test_a_video_cut_off_at_its_end_gives_what_is_there(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    frames = list(Video(path).frames())
    assert 5 < len(frames) < 40
    assert sum(frame.picture is None for frame in frames) <= 2


def test_a_phones_video_is_turned_upright(tmp_path: Path) -> None:
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip(f"av {av.__version__} cannot write a rotation; it reads one")
    path = write_clip(tmp_path / "clip.mp4", 3, rotation=90)
    (frame, *_) = Video(path).frames()
    assert frame.picture is not None
    assert frame.picture.size == (48, 64)  # stored as 64 x 48


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: no such file"):
        find_media(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        find_media(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="neither a picture"):
        find_media(tmp_path / "a.txt")
    path = write_clip(tmp_path / "clip.mp4", 5)
    with pytest.raises(FileNotFoundError, match=r"given one at a time: \['clip.mp4'\]"):
        find_media(tmp_path)
    assert isinstance(find_media(tmp_path / "*.mp4"), Video)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"clip\.mp4 (is not a video|has no video)"):
        find_media(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="not a video"):
        find_media(path)


def test_reading_pictures_needs_no_video_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    rgb, _ = spots_picture((48, 36))
    write_picture(tmp_path / "a.png", rgb)
    assert isinstance(find_media(tmp_path), Pictures)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(ImportError, match=r"genloc\[video\]"):
        find_media(tmp_path / "a.mp4")
