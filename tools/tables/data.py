"""The data of the tables: the zoo is drawn where it is missing, splits are found or made."""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from genloc.splits import (
    Source,
    Split,
    few_shot,
    read_source,
    read_split,
    write_split,
    zero_shot,
)
from genloc.splits.source import checksum_of
from tools.tables.definitions import AP10K_FILE, SETS, STYLES, Files
from tools.tables.recipe import digest

# One species of each family of Table 6.
QUICK: dict[str, Any] = {"per_species": 10, "size": 64, "species": (1, 7, 19, 21, 25)}

LISTED = "listed"
HOW = (
    "genloc split few-shot FILE --shots 5 10 15 20 25 --seeds 0 1 2 --out FOLDER and genloc split zero-shot FOLDER "
    "--table-6 --out FOLDER make those of Tables 5 and 6; without --splits they are made here"
)


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
            if is_drawn(folder):
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


def is_drawn(folder: Path) -> bool:
    """Whether a zoo is there as a whole: the file of its test labels is written last."""
    return (folder / AP10K_FILE.format("test")).is_file()


class Splits:
    """The split files of a set.

    Args:
        set_name: of `SETS`.
        root: of its data.
        given: folder of splits made before, under the names that `genloc split` gives several. In it
            `few_shot_5.json` serves every seed, if it is of a published list.
        shipped: the same, but passed over where the data is another than theirs.
        made: folder for those that are in neither. keep: whether they are written there.
    """

    def __init__(
        self,
        set_name: str,
        root: Path,
        given: Path | None,
        shipped: Path,
        made: Path,
        *,
        keep: bool = True,
    ) -> None:
        self.files = SETS[set_name].files
        self.root = root
        self.given = given
        self.shipped = shipped
        self.made = made
        self.keep = keep
        self._known: dict[str, tuple[Path, Split]] = {}

    def expect(self, names: Collection[str]) -> None:
        """Refuse a given folder in which nothing is asked for.

        Args:
            names: of all splits of a table; none for a table that needs none.

        Raises:
            FileNotFoundError: the folder is not there, or holds none of them.
        """
        if self.given is None or not names:
            return
        there = sorted(path.name for path in self.given.glob("*.json"))
        if not any(f"{stem}.json" in there for name in names for stem in (name, _listed(name))):
            wanted = [f"{name}.json" for name in names]
            raise FileNotFoundError(
                f"--splits: {self.given} holds none of the splits of this table, {_some(wanted)}; it has "
                f"{_some(there) or 'no json'}. {HOW}"
            )

    def find(self, name: str) -> tuple[Path, Split]:
        """The file `<name>.json` and what it says.

        Raises:
            FileNotFoundError: the data is not there.
            ValueError: a split in `given` is of another file or another recipe, or a name says nothing.
        """
        if name not in self._known:
            self._known[name] = self._given(name) or self._shipped(name) or self._make(name)
        return self._known[name]

    def _given(self, name: str) -> tuple[Path, Split] | None:
        for stem in dict.fromkeys((name, _listed(name))):
            if self.given is None or not (self.given / f"{stem}.json").is_file():
                continue
            path = (self.given / f"{stem}.json").absolute()
            split = read_split(path)
            if stem != name and split.kind != LISTED:
                raise ValueError(
                    f"--splits: {path} is {split.title()!r}, not of a published list, so it cannot serve every "
                    f"seed; it is looked for as {name}.json and the like. {HOW}"
                )
            self._check(name, path, split)
            return path, split
        return None

    def _shipped(self, name: str) -> tuple[Path, Split] | None:
        path = (self.shipped / f"{name}.json").absolute()
        if not path.is_file():
            return None
        split = read_split(path)
        of_this_data = all(
            part.sha256 == _checksum(self._file(part_name))
            for part_name, part in split.parts.items()
        )
        return (path, split) if of_this_data else None

    def _check(self, name: str, path: Path, split: Split) -> None:
        """Whether a given split is what its name says, of the files that the table is about."""
        for part_name, part in split.parts.items():
            part.check(self._file(part_name), f"--splits: the part {part_name} of {path}")
        if split.kind == LISTED and name.startswith("few_"):
            return
        title = self._new(name).title()
        if split.title() != title:
            raise ValueError(
                f"--splits: {path} is {split.title()!r}, where its name says {title!r}. {HOW}"
            )
        if name.startswith("zero_") and "val" not in split.parts:
            raise ValueError(
                f"--splits: {path} has no part val: checkpoints would be chosen on the animals that are tested. {HOW}"
            )

    def _make(self, name: str) -> tuple[Path, Split]:
        split = self._new(name)
        path = (self.made / f"{name}.json").absolute()
        if self.keep and not (path.is_file() and read_split(path) == split):
            write_split(split, path)
        return path, split

    def _new(self, name: str) -> Split:
        kind, *words = name.split("_shot_")
        if kind == "few" and words:
            shots, _, seed = words[0].partition("_seed_")
            return few_shot(self._source("train"), int(shots), int(seed))
        if kind == "zero" and words:
            one, _, other = words[0].partition("_")
            train, val, test = (self._source(part) for part in Files._fields)
            return zero_shot(train, test, [one], [other], val=val)
        raise ValueError(f"no split {name!r}: expected few_shot_N_seed_N or zero_shot_A_B")

    def _file(self, part: str) -> Path:
        return self.root / getattr(self.files, part)

    def _source(self, part: str) -> Source:
        return _read(self._file(part))


def _listed(name: str) -> str:
    """What the split of a published list is called, which has no seed."""
    return name.partition("_seed_")[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


_checksum = cache(checksum_of)
_read = cache(read_source)


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
    return len(_read(path).labels)


def whole(path: Path) -> str:
    """A whole file, for a key.

    Raises:
        FileNotFoundError: no such file.
    """
    return _checksum(path)
