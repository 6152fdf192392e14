"""The data of the tables: the zoo is drawn where it is missing, splits are found or made."""

from __future__ import annotations

import fcntl
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from genloc.splits import (
    Split,
    few_shot,
    read_source,
    read_split,
    write_split,
    zero_shot,
)
from genloc.splits.source import checksum_of
from tools.tables.definitions import AP10K_FILE, SETS, STYLES
from tools.tables.recipe import digest

# One species of each family of Table 6.
QUICK: dict[str, Any] = {"per_species": 10, "size": 64, "species": (1, 7, 19, 21, 25)}


def draw_zoo(root: Path, *, styles: bool, quick: bool, workers: int) -> None:
    """Draw the zoo into `root` unless it is there; with `styles` its test pictures in every other style as well.

    The styles lie below `root/styles/`, drawn from the same scenes, so that only the style differs.
    """
    from rich.progress import Progress

    from genloc.data.zoo import write_zoo

    wanted = [("photo", root)]
    if styles:
        wanted += [(style, root / "styles" / style) for style in STYLES if style != "photo"]
    for style, folder in wanted:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock, Progress() as progress:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another call may be drawing it
            if (folder / AP10K_FILE.format("test")).is_file():
                continue
            task = progress.add_task(f"drawing the zoo: {style}")
            write_zoo(
                folder,
                style=style,
                workers=workers,
                splits=("train", "val", "test") if folder == root else ("test",),
                **(QUICK if quick else {}),
                progress=lambda n, of, bar=progress, task=task: bar.update(  # type: ignore[misc]
                    task, completed=n, total=of
                ),
            )


class Splits:
    """The split files of a set.

    Args:
        set_name: of `SETS`.
        root: of its data.
        given: folders of splits made before, in which `few_shot_5.json` serves every seed that has no
            file `few_shot_5_seed_0.json` of its own. shipped: the same, but passed over where the data
            is another than theirs.
        made: folder for those that are in neither.
    """

    def __init__(
        self, set_name: str, root: Path, given: Path | None, shipped: Path, made: Path
    ) -> None:
        self.files = SETS[set_name].files
        self.root = root
        self.given = given
        self.shipped = shipped
        self.made = made
        self._known: dict[str, tuple[Path, Split]] = {}

    def find(self, name: str) -> tuple[Path, Split]:
        """The file `<name>.json` and what it says.

        Raises:
            FileNotFoundError: the data is not there.
            ValueError: a split in `given` is of another file, or a name says nothing.
        """
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> tuple[Path, Split]:
        for folder in (self.given, self.shipped):
            for stem in (name, name.partition("_seed_")[0]):
                if folder is None or not (folder / f"{stem}.json").is_file():
                    continue
                path = (folder / f"{stem}.json").absolute()
                split = read_split(path)
                if self._fits(split):
                    return path, split
                if folder == self.given:
                    for part in split.parts.values():
                        part.check(self.root / self.files[0], f"--splits: {path}")
        train, test = (self.root / file for file in self.files)
        kind, *words = name.split("_shot_")
        source = read_source(train)
        if kind == "few" and words:
            shots, _, seed = words[0].partition("_seed_")
            split = few_shot(source, int(shots), int(seed))
        elif kind == "zero" and words:
            one, _, other = words[0].partition("_")
            split = zero_shot(source, read_source(test), [one], [other])
        else:
            raise ValueError(f"no split {name!r}: expected few_shot_N_seed_N or zero_shot_A_B")
        path = (self.made / f"{name}.json").absolute()
        if not (path.is_file() and read_split(path) == split):
            write_split(split, path)
        return path, split

    def _fits(self, split: Split) -> bool:
        sums = {_checksum(self.root / file) for file in self.files}
        return all(part.sha256 in sums for part in split.parts.values())


_checksum = cache(checksum_of)


def facts_of(split: Split, name: str) -> Any:
    """What a part takes, for a key: ids and the checksum of their file."""
    part = asdict(split.part(name))
    part.pop("counts")
    part.pop("file")
    return digest(part)


@cache
def labels_in(path: Path) -> int:
    """Annotated animals of a file that can be trained and scored on.

    Raises:
        FileNotFoundError: no such file.
    """
    return len(read_source(path).labels)


def whole(path: Path) -> str:
    """A whole file, for a key.

    Raises:
        FileNotFoundError: no such file.
    """
    return _checksum(path)
