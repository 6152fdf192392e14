"""`find_media`: from what a user names to frames, in order, broken ones included."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from genloc.data.picture import ArrayPicture, FilePicture, Picture

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mts", ".ts"}


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of an input.

    Args:
        index: its place, from 0; broken frames have theirs, too.
        name: file name relative to the input's folder; of a video frame "clip.mp4/000012".
        picture: its pixels, or None where it is broken.
        error: what is wrong with it, or None.
    """

    index: int
    name: str
    picture: Picture | None
    error: str | None = None


class Pictures:
    """Picture files in the order of their names ("img9" comes before "img10").

    Args:
        folder: that names are relative to.
        files: the pictures.
        sizes: name -> (width, height) as annotations state them.
    """

    rate: Fraction | None = None

    def __init__(
        self, folder: Path, files: list[Path], sizes: dict[str, tuple[int, int]] | None = None
    ) -> None:
        self.folder = folder
        self.files = files
        self.sizes = sizes or {}

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Name of a frame."""
        return name_in(self.folder, self.files[index])

    def fingerprint(self) -> str:
        """Names and sizes of the files, as a short hash."""
        facts = [(self.name(i), file.stat().st_size) for i, file in enumerate(self.files)]
        return f"{len(self)} pictures {_short_hash(facts)}"

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from `start` on; a file is opened by whoever asks for its pixels."""
        for index in range(start, len(self.files)):
            name = self.name(index)
            try:
                picture = FilePicture(self.files[index], self.sizes.get(name))
                _ = picture.size  # tells a picture from something else, without decoding it
                yield Frame(index, name, picture)
            except OSError as error:
                yield Frame(index, name, None, str(error))


def name_in(folder: Path, file: Path) -> str:
    """What a picture is called in results: its path from the input's folder, in which it need not lie."""
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()


class Video:
    """A video file. Frames are numbered by their presentation times, so a broken one keeps its number.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a video, or one without a single frame.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no video file {self.path.absolute()}")
        self._times, self._timed = self._presentation_times()
        if not self._times:
            raise ValueError(f"{self.path.absolute()} has no video frame")

    def __len__(self) -> int:
        return len(self._times)

    def name(self, index: int) -> str:
        """Name of a frame."""
        return f"{self.path.name}/{index:06d}"

    def fingerprint(self) -> str:
        """Name, size and frame times of the file, as a short hash."""
        facts = [self.path.name, self.path.stat().st_size, self._times]
        return f"{self.path.name} {_short_hash(facts)}"

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return self._rate

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from `start` on, those that cannot be read as broken ones."""
        due = start
        if start >= len(self):
            return
        for index, decoded in self._from(start):
            if index < due or index >= len(self):
                continue
            yield from (self._broken(i) for i in range(due, index))
            yield Frame(index, self.name(index), ArrayPicture(_upright(decoded)))
            due = index + 1
        yield from (self._broken(i) for i in range(due, len(self)))

    def _broken(self, index: int) -> Frame:
        return Frame(index, self.name(index), None, f"frame {index} of {self.path} is broken")

    def _open(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise ImportError(f"videos need PyAV: pip install 'genloc[video]' ({error})") from error

        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            raise ValueError(
                f"{self.path.absolute()} is not a video, or damaged at its head: {error}"
            ) from None
        if not container.streams.video:
            container.close()
            raise ValueError(f"{self.path.absolute()} has no video in it")
        return container

    def _presentation_times(self) -> tuple[list[int], bool]:
        """Sorted times of all frames, from the packets alone (nothing is decoded), and whether they are
        times (else places in the file)."""
        with self._open() as container:
            import av

            stream = container.streams.video[0]
            self._rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            # An AVI states no times; those that are made up for it follow the order of its packets, which is
            # another than that of its frames where some refer to later ones.
            stated = container.format.name != "avi"
            times: list[int | None] = []
            with contextlib.suppress(av.error.FFmpegError):  # cut off: what is there counts
                for packet in container.demux(stream):
                    if packet.size and not packet.is_discard:
                        times.append(packet.pts)
        known = sorted({t for t in times if t is not None})
        if stated and len(known) == len(times):
            return known, True
        return list(range(len(times))), False

    def _from(self, start: int) -> Iterator[tuple[int, Any]]:
        """All frames from `start` on that can be decoded, perhaps with some before them."""
        back = 0
        while True:
            begin = max(0, start - back)
            decoded = self._decoded(begin)
            first = next(decoded, None)
            # Files without an index (.ts, .mpg) are entered anywhere: nothing is right before a key frame.
            if begin == 0 or (first is not None and first[0] <= start):
                break
            decoded.close()
            back = max(16, 2 * back)
        if first is not None:
            yield first
            yield from decoded

    def _decoded(self, start: int) -> Generator[tuple[int, Any], None, None]:
        """(index, frame) of what can be decoded from somewhere near `start` on."""
        import av

        place = {time: index for index, time in enumerate(self._times)}
        count = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if start and self._timed:
                # To the key frame before it; decoding from there gives the same pixels.
                container.seek(self._times[start], stream=stream, backward=True)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        return
                    decoded = packet.decode()
                except av.error.FFmpegError:
                    count += 1
                    continue
                for frame in decoded:
                    index = place.get(frame.pts, -1) if self._timed else count
                    count += 1
                    if index >= 0 and not frame.is_corrupt:
                        yield index, frame


def _upright(frame: Any) -> np.ndarray:
    """uint8 [H, W, 3] RGB, turned as the file says (phones film upright by a note in it)."""
    rgb = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def find_media(spec: str | Path, *, but: Path | None = None) -> Pictures | Video:
    """What an input names: a picture, a folder of pictures (with those below it), a glob, or a video.

    Args:
        spec: the input.
        but: a folder whose pictures do not count, where results go.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: neither pictures nor a video.
    """
    path = Path(spec).expanduser()

    def counts(file: Path) -> bool:
        inside = but is not None and file.absolute().is_relative_to(but.absolute())
        return file.suffix.lower() in PICTURES and file.is_file() and not inside

    if path.is_dir():
        files = [f for f in path.rglob("*") if counts(f)]
        if not files:
            names = sorted(f.name for f in path.iterdir() if f.suffix.lower() in VIDEOS)
            hint = f"; it has videos, which are given one at a time: {names[:3]}" if names else ""
            raise FileNotFoundError(f"{path.absolute()} holds no picture{hint}")
        return Pictures(path, sorted(files, key=_natural))
    if path.is_file():
        if path.suffix.lower() in VIDEOS:
            return Video(path)
        if path.suffix.lower() in PICTURES:
            return Pictures(path.parent, [path])
        raise ValueError(
            f"{path.absolute()} is neither a picture ({', '.join(sorted(PICTURES))}) nor a video "
            f"({', '.join(sorted(VIDEOS))}) by its name"
        )
    found = [Path(name) for name in glob.glob(str(path), recursive=True)]
    pictures = [f for f in found if counts(f)]
    if not pictures:
        videos = [f for f in found if f.suffix.lower() in VIDEOS]
        if len(videos) == 1:
            return Video(videos[0])
        what = f"{len(videos)} videos, give one at a time" if videos else "no such file or folder"
        raise FileNotFoundError(f"{path.absolute()}: {what}")
    fixed = re.split(r"[*?\[]", str(path))[0]
    folder = Path(fixed if fixed.endswith("/") else str(Path(fixed).parent))
    return Pictures(folder, sorted(pictures, key=_natural))


def _short_hash(facts: Any) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _natural(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
