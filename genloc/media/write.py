"""`VideoSegments`: an mp4 that survives interruption."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SEGMENT = 250
"""Frames of a segment: what an interruption may cost is drawn again in seconds."""


class VideoSegments:
    """Writes an H.264 video in segments, finished ones first; `finish` joins them without encoding again.

    Segments lie in `<path>.parts/` until then. A new object for the same path goes on after the last
    finished one: give it the frames from `frames_kept` on.

    Args:
        path: the mp4.
        rate: frames per second.
        segment: frames of a segment.
    """

    def __init__(self, path: Path, rate: Fraction, *, segment: int = SEGMENT) -> None:
        self.path = path
        # Encoders want a rate of two 16-bit numbers.
        self.rate = Fraction(rate).limit_denominator(1001)
        self.segment = segment
        self.folder = path.with_name(path.name + ".parts")
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*.part"):
            file.unlink()
        self._container: Any = None
        self._stream: Any = None
        self._count = 0

    @property
    def frames_kept(self) -> int:
        """Frames in finished segments."""
        kept = 0
        for file in self._segments():
            start, count = map(int, file.stem.split("-"))
            if start != kept:  # a hole: what lies behind it cannot be used
                file.unlink()
                continue
            kept += count
        return kept

    def last_frame(self) -> np.ndarray | None:
        """The last frame of the last finished segment, as it was encoded."""
        import av

        segments = self._segments()
        if not segments:
            return None
        with av.open(str(segments[-1])) as container:
            for frame in container.decode(video=0):
                last = frame
        return last.to_ndarray(format="rgb24")

    def add(self, rgb: np.ndarray) -> None:
        """The next frame, uint8 [H, W, 3] RGB; an odd side gains a row or column, as H.264 asks."""
        import av

        odd = (rgb.shape[0] % 2, rgb.shape[1] % 2)
        if any(odd):
            rgb = np.pad(rgb, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        if self._container is None:
            self._open(rgb.shape[1], rgb.shape[0])
        if (self._stream.width, self._stream.height) != (rgb.shape[1], rgb.shape[0]):
            raise ValueError(
                f"frame of {rgb.shape[1]} x {rgb.shape[0]} pixels in a video of "
                f"{self._stream.width} x {self._stream.height}"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = self._count
        self._container.mux(self._stream.encode(frame))
        self._count += 1
        if self._count == self.segment:
            self._close()

    def finish(self) -> Path:
        """Write the video and remove the segments."""
        import av

        self._close()
        part = self.path.with_name(self.path.name + ".part")
        segments = self._segments()
        if not segments:
            raise ValueError(f"{self.path}: no frame was given")
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as joined:
            stream: Any = None
            for file in segments:
                start = int(file.stem.split("-")[0])
                with av.open(str(file)) as segment:
                    source = segment.streams.video[0]
                    stream = stream or joined.add_stream_from_template(source)
                    offset = round(start / self.rate / source.time_base)
                    for packet in segment.demux(source):
                        if packet.size:
                            packet.pts += offset
                            packet.dts += offset
                            packet.stream = stream
                            joined.mux(packet)
        os.replace(part, self.path)
        shutil.rmtree(self.folder)
        return self.path

    def drop(self) -> None:
        """Give up the unfinished segment."""
        if self._container is not None:
            self._container.close()
            self._container = None
        for file in self.folder.glob("*.part"):
            file.unlink()

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.mp4"))

    def _open(self, width: int, height: int) -> None:
        import av

        self._start = self.frames_kept
        self._part = self.folder / f"{self._start:08d}.part"
        self._container = av.open(str(self._part), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=self.rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"  # the one that every browser plays
        # No B-frames: segments then join without times that overlap.
        self._stream.options = {"crf": "20", "preset": "veryfast", "bf": "0"}
        self._stream.thread_type = "AUTO"
        self._count = 0

    def _close(self) -> None:
        if self._container is None:
            return
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._container = None
        os.replace(self._part, self.folder / f"{self._start:08d}-{self._count}.mp4")
