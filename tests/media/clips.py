"""Small videos: frame i is of grey 5 i (mod 256)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from genloc.media import Frame


def write_clip(
    path: Path,
    frames: int,
    *,
    size: tuple[int, int] = (64, 48),
    pictures: Sequence[np.ndarray] | None = None,
    rotation: int = 0,
    codec: str = "",
) -> Path:
    """Write H.264 with a key frame every 12 and B-frames between, MPEG-4 in .avi and MPEG-2 in .mpg."""
    codec = codec or {".avi": "mpeg4", ".mpg": "mpeg2video"}.get(path.suffix, "libx264")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"g": "12", "crf": "10"}
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            grey = np.full((size[1], size[0], 3), 5 * i % 256, np.uint8)
            rgb = grey if pictures is None else pictures[i]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, places: list[int]) -> list[int]:
    """Overwrite the packets at these places of the file with noise. Returns the numbers of their frames."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    times = sorted(pts for _, _, pts in packets)
    for place in places:
        position, size, _ = packets[place]
        data[position + 4 : position + size] = rng.bytes(size - 4)
    path.write_bytes(data)
    return sorted(times.index(packets[place][2]) for place in places)


def grey_levels(frames: Sequence[Frame]) -> np.ndarray:
    """Mean grey of each frame."""
    return np.array([frame.picture.rgb().mean() for frame in frames if frame.picture is not None])
