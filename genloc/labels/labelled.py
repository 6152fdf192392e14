"""What every reader of another tool's labels gives, and how pictures are found.

Letters: K keypoints. Coordinates are the tool's own numbers, in image pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Animal:
    """One labelled animal or person.

    Args:
        keypoints: float64 [K, 3]: x, y, v as COCO has it (0 not labelled, 1 hidden, 2 seen).
        box: x, y, width, height where the tool has one.
        category: what it is; empty where the tool does not say.
        more: what else the tool says of it, in plain values by the names of the json's fields.
    """

    keypoints: np.ndarray
    box: Box | None = None
    category: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture and the animals labelled in it.

    Args:
        name: as the tool writes it, for messages, and the file's name where `pixels` are given.
        file: where it is, or None where it was not found.
        animals: may be empty.
        size: (width, height) where the tool states it.
        pixels: makes uint8 [H, W] or [H, W, C], for a frame of a video: it is written as PNG.
    """

    name: str
    file: Path | None
    animals: tuple[Animal, ...]
    size: tuple[int, int] | None = None
    pixels: Callable[[], np.ndarray] | None = None


@dataclass
class Labelled:
    """All labels of one source.

    Args:
        tool: where they come from, for people.
        keypoints: K names.
        edges: pairs of indices from 0.
        pictures: in the order of the source.
        remarks: what was read otherwise than written, one sentence each.
    """

    tool: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    pictures: list[Picture]
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ValueError where a picture was found by an end of its name that another one shares.

        Tools that cut videos into frames give those of every video the same names.
        """
        alike: dict[str, set[tuple[str, ...]]] = {}  # bare name -> names that end with it
        names = [tuple(_parts(picture.name)) for picture in self.pictures]
        for name in names:
            alike.setdefault(name[-1] if name else "", set()).add(name)
        taken: dict[Path, tuple[str, ...]] = {}
        for picture, name in zip(self.pictures, names, strict=True):
            if picture.file is None:
                continue
            end = _common_end(name, picture.file.parts)
            others = {taken.setdefault(picture.file, name)}
            if 0 < len(end) < len(name):
                others |= {other for other in alike[name[-1]] if other[-len(end) :] == end}
            if others - {name}:
                both = [picture.name, "/".join(min(others - {name}))]
                raise ValueError(
                    f"pictures: {both[0]!r} and {both[1]!r} are labelled, and {picture.file} could be either; give "
                    "--images the folder from which both are found by their whole names"
                )


class Pictures:
    """Finds pictures by the names that a tool wrote, perhaps on another machine.

    Args:
        roots: folders to start from, tried in order; in each the whole name, then ever shorter
            ends of it, down to the bare file name.

    Raises:
        FileNotFoundError: a folder is not there.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        for root in roots:
            if not root.is_dir():
                raise FileNotFoundError(f"images: no folder {root.absolute()}")
        self.roots = list(dict.fromkeys(roots))

    def find(self, name: str) -> Path | None:
        """The file of that name, or None."""
        parts = _parts(name)
        for root in self.roots:
            for start in range(len(parts)):
                if ".." in parts[start:] or ":" in parts[start]:
                    continue
                file = root.joinpath(*parts[start:])
                if file.is_file():
                    return file
        return None


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def _common_end(name: tuple[str, ...], file: Sequence[str]) -> tuple[str, ...]:
    """What the parts of a name and of a path have in common, from their ends."""
    count = 0
    for a, b in zip(reversed(name), reversed(file), strict=False):
        if a != b:
            break
        count += 1
    return name[len(name) - count :]


def no_labels(source: Path, what: str) -> ValueError:
    """The error for a source in the right format that holds nothing to import."""
    return ValueError(f"{source}: {what}; there is nothing to import")
