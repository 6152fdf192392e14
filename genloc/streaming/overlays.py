"""Pictures and videos with what was found drawn into them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from genloc.keypoints import Keypoints
from genloc.media import Frame, Pictures, Video, VideoSegments
from genloc.skeleton import Skeleton
from genloc.visualize import draw_heatmaps, draw_keypoints


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
        # The whole name stays in it: a.png and a.jpg of one folder are two pictures.
        name = self.media.name(index)
        return self.folder / f"{name.removesuffix('.' + self.kind)}.{self.kind}"

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
    """

    def __init__(self, media: Video, path: Path) -> None:
        self.path = path
        self._done = path.is_file()
        self._segments = None if self._done else VideoSegments(path, media.rate)
        self._start = len(media) if self._segments is None else self._segments.frames_kept
        self._shown: np.ndarray | None = None
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


def draw(
    rgb: np.ndarray,
    record: dict[str, Any],
    skeleton: Skeleton,
    maps: Keypoints | None = None,
    *,
    crop_size: int = 0,
) -> np.ndarray:
    """A frame with its instances, over their maps where they are given.

    Args:
        rgb: uint8 [H, W, 3].
        record: the frame's, of the journal.
        skeleton: of the keypoints.
        maps: the same instances with `heatmaps` and `crops`, or None.
        crop_size: S, the side of those crops in pixels.
    """
    if maps is not None and maps.heatmaps is not None and len(maps):
        laid = maps_in_picture(maps, rgb.shape[:2], crop_size)
        rgb = draw_heatmaps(rgb, laid, skeleton=skeleton)
    for one in record["instances"]:
        points = np.array(one["keypoints"], np.float64)
        # A score is the mass of a map, small in itself: the surest keypoint is drawn fully.
        top = np.nanmax(points[:, 2], initial=0.0)
        scores = points[:, 2] / top if top > 0 else None
        rgb = draw_keypoints(rgb, points[:, :2], skeleton=skeleton, scores=scores)
    return rgb


def maps_in_picture(found: Keypoints, size: tuple[int, ...], crop_size: int) -> np.ndarray:
    """[K, H, W]: each keypoint's maps of all instances where their crops lie; the greatest counts.

    Args:
        found: with `heatmaps` [N, K, h, w] and `crops`.
        size: (H, W).
        crop_size: S.
    """
    assert found.heatmaps is not None and found.crops is not None
    height, width = size
    laid = np.zeros((found.heatmaps.shape[1], height, width), np.float32)
    for maps, affine in zip(found.heatmaps, found.crops, strict=True):
        stride = crop_size / maps.shape[-1]
        # Cell j has its centre at crop pixel (j + 0.5) stride - 0.5.
        matrix = np.concatenate(
            [affine[:, :2] * stride, affine[:, 2:] + affine[:, :2].sum(1, keepdims=True) * (stride - 1) / 2],
            axis=1,
        )
        for k, one in enumerate(maps):
            np.maximum(laid[k], cv2.warpAffine(one, matrix, (width, height)), out=laid[k])
    return laid
