from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from genloc.media import Video, VideoSegments
from tests.media.clips import grey_levels


def picture(i: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), 5 * i, np.uint8)


def test_segments_join_to_one_video_that_browsers_play(tmp_path: Path) -> None:
    writer = VideoSegments(tmp_path / "out.mp4", Fraction(30000, 1001), segment=10)
    for i in range(34):
        writer.add(picture(i))
    assert writer.frames_kept == 30
    assert not (tmp_path / "out.mp4").exists()
    writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    frames = list(Video(tmp_path / "out.mp4").frames())
    assert len(frames) == 34
    assert np.abs(grey_levels(frames) - 5 * np.arange(34)).max() < 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(30000, 1001)
        times = [float(p.pts * p.time_base) for p in container.demux(stream) if p.size]
    np.testing.assert_allclose(np.diff(times), 1001 / 30000, atol=1e-4)
    head = (tmp_path / "out.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # plays while it loads


def test_a_new_writer_goes_on_after_the_last_finished_segment(tmp_path: Path) -> None:
    first = VideoSegments(tmp_path / "out.mp4", Fraction(25), segment=10)
    for i in range(27):
        first.add(picture(i))
    del first  # as a kill leaves it: two segments and an open one
    (tmp_path / "out.mp4.parts" / "00000020.part").write_bytes(b"the open one")
    second = VideoSegments(tmp_path / "out.mp4", Fraction(25), segment=10)
    assert second.frames_kept == 20
    last = second.last_frame()
    assert last is not None
    assert abs(last.mean() - 95) < 4
    for i in range(20, 33):
        second.add(picture(i))
    frames = list(Video(second.finish()).frames())
    assert np.abs(grey_levels(frames) - 5 * np.arange(33)).max() < 4


def test_odd_sides_and_wrong_ones(tmp_path: Path) -> None:
    writer = VideoSegments(tmp_path / "out.mp4", Fraction(25))
    writer.add(picture(3, (47, 63)))
    with pytest.raises(ValueError, match="32 x 32 pixels in a video of 64 x 48"):
        writer.add(picture(3, (32, 32)))
    (frame,) = Video(writer.finish()).frames()
    assert frame.picture is not None
    assert frame.picture.size == (64, 48)
    with pytest.raises(ValueError, match="no frame was given"):
        VideoSegments(tmp_path / "none.mp4", Fraction(25)).finish()
