"""Pictures and videos with what was found drawn into them."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Protocol

import cv2
import numpy as np

from genloc.keypoints import Keypoints
from genloc.media import Frame, Pictures, Video, VideoSegments
from genloc.media.write import SEGMENT
from genloc.visualize import draw_instances


class Overlays(Protocol):
    """Where drawn frames go, in order; a file that is there is whole."""

    def needs(self, index: int) -> bool:
        """Whether the frame is still to be drawn."""
        ...

    def add(self, frame: Frame, drawn: np.ndarray | None) -> None:
        """The next frame; None where it is broken."""
        ...

    def finish(self) -> Path | None:
        """Close everything; what was written."""
        ...

    def drop(self) -> None:
        """Stop where it is."""
        ...


class PictureOverlays:
    """One picture for each picture, `<folder>/<name>.<kind>`.

    Args:
        media: the input.
        folder: where to.
        kind: "jpg" or "png".
    """

    def __init__(self, media: Pictures | Video, folder: Path, kind: str) -> None:
        self.media, self.folder, self.kind = media, folder, kind

    def _path(self, index: int) -> Path:
        # The whole name stays in it: a.png and a.jpg of one folder are two pictures. What leads out of the
        # input's folder must not lead out of this one, where originals are.
        name = PurePath(self.media.name(index))
        inside = ["__" if part == ".." else part for part in name.parts if part != name.anchor]
        return self.folder / f"{'/'.join(inside).removesuffix('.' + self.kind)}.{self.kind}"

    def needs(self, index: int) -> bool:
        return not self._path(index).is_file()

    def add(self, frame: Frame, drawn: np.ndarray | None) -> None:
        if drawn is None:
            return
        path = self._path(frame.index)
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if self.kind == "jpg" else []
        ok, data = cv2.imencode(f".{self.kind}", np.ascontiguousarray(drawn[..., ::-1]), quality)
        if not ok:
            raise OSError(f"could not encode {path}")
        part = path.with_name(path.name + ".part")
        part.write_bytes(data.tobytes())
        os.replace(part, path)

    def finish(self) -> Path | None:
        return self.folder if self.folder.is_dir() else None

    def drop(self) -> None:
        pass


class VideoOverlays:
    """One mp4 with as many frames as the input; a broken one shows the frame before it.

    Args:
        media: the input, a video.
        path: the mp4.
        segment: frames that an interruption may cost; see `VideoSegments`.
    """

    def __init__(self, media: Video, path: Path, *, segment: int = SEGMENT) -> None:
        self.path = path
        self._done = path.is_file()
        self._segments = None if self._done else VideoSegments(path, media.rate, segment=segment)
        self._start = len(media) if self._segments is None else self._segments.frames_kept
        # What a broken frame right after the last finished segment shows.
        self._shown = self._segments.last_frame() if self._segments and self._start else None
        self._waiting = 0  # broken frames before the first whole one

    def needs(self, index: int) -> bool:
        return index >= self._start

    def add(self, frame: Frame, drawn: np.ndarray | None) -> None:
        assert self._segments is not None
        if drawn is None and self._shown is None:
            self._waiting += 1
            return
        self._shown = self._shown if drawn is None else drawn
        assert self._shown is not None
        for _ in range(self._waiting):
            self._segments.add(np.zeros_like(self._shown))
        self._waiting = 0
        self._segments.add(self._shown)

    def finish(self) -> Path | None:
        if self._segments is not None and (self._start or self._shown is not None):
            self._segments.finish()
        return self.path if self.path.is_file() else None

    def drop(self) -> None:
        if self._segments is not None:
            self._segments.drop()


def draw(rgb: np.ndarray, found: Keypoints, *, crop_size: int | None = None) -> np.ndarray:
    """A frame with its instances, their boxes and scores.

    Args:
        rgb: uint8 [H, W, 3].
        found: the frame's instances.
        crop_size: S; given, their maps (`found.heatmaps`) are laid over the frame.
    """
    if not len(found):
        return rgb
    words = [f"{score:.2f}" for score in found.instance_scores()]
    return draw_instances(rgb, found, boxes=True, labels=words, crop_size=crop_size)
