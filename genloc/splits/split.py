"""`Split`: which labels of which files are for training, validation and testing, as a small json.

A split names ids, not pictures, and the checksum of every file that the ids are of: laid over any other file it
is refused. The same recipe on the same files gives the same bytes, on every Python and every machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genloc.splits.source import Label, Source, checksum_of

FORMAT = "genloc split 1"
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """What one part takes of one annotation file.

    Args:
        file: name of the annotation file, for people. sha256: first 16 hex digits, what is checked.
        image_ids: every label of these images; or
        annotation_ids: these labels alone. Neither: the whole file.
        keypoints: keypoint of the skeleton -> its name in the file. All others count as not labelled. None: every
            keypoint, each by its own name.
        counts: images, annotations and (name -> number) images of each species.
    """

    file: str
    sha256: str
    image_ids: tuple[int, ...] | None = None
    annotation_ids: tuple[int, ...] | None = None
    keypoints: Mapping[str, str] | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_images(cls, source: Source, ids: Iterable[int], **given: Any) -> Part:
        """All labels of these images."""
        chosen = set(ids)
        labels = [label for label in source.labels if label.image_id in chosen]
        return _part(source, labels, image_ids=tuple(sorted(chosen)))

    @classmethod
    def of_labels(cls, source: Source, labels: Iterable[Label]) -> Part:
        """These labels alone, whatever else their images show."""
        chosen = sorted(labels)
        return _part(source, chosen, annotation_ids=tuple(label.annotation_id for label in chosen))

    @classmethod
    def whole(cls, source: Source, keypoints: Mapping[str, str] | None = None) -> Part:
        """Every label of the file; counted are those that have one of the keypoints labelled.

        Raises:
            ValueError: the file has no keypoint of such a name, or no such label.
        """
        labels: Iterable[Label] = source.labels
        if keypoints is not None and source.keypoints:
            for name in keypoints.values():
                if name not in source.keypoints:
                    raise ValueError(
                        f"{source.file} has no keypoint {name!r}; it has {', '.join(source.keypoints)}"
                    )
            places = {source.keypoints.index(name) for name in keypoints.values()}
            labels = [label for label in labels if not places.isdisjoint(label.labelled)]
        return _part(source, labels, keypoints=keypoints)

    def check(self, annotations: str | Path, what: str) -> None:
        """Refuse any other file than the one that the ids are of.

        Args:
            annotations: the file that the part is to be laid over.
            what: the part and its split, for the message.

        Raises:
            FileNotFoundError: no such file.
            ValueError: another file, by its checksum.
        """
        found = checksum_of(annotations)
        if found != self.sha256:
            raise ValueError(
                f"{what} was made for {self.file} with sha256 {self.sha256}, but {annotations} has {found}: "
                "ids of one file mean nothing in another. Name the file it was made for, or make the split again "
                "with genloc split"
            )


@dataclass(frozen=True)
class Split:
    """Parts with the recipe that gave them.

    Args:
        kind: such as `few-shot`.
        recipe: what else makes it again: shots, families, ...
        seed: of what was drawn; None where nothing was.
        parts: `train`, `val` or `test` -> what it takes.
        notes: what a reader should know, such as species with fewer pictures than asked for.
    """

    kind: str
    recipe: Mapping[str, Any]
    seed: int | None
    parts: Mapping[str, Part]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.parts) - set(PARTS)
        if unknown or not self.parts:
            raise ValueError(f"a split has parts {PARTS}, got {sorted(self.parts)}")

    def part(self, name: str) -> Part:
        """Raises ValueError naming the parts that there are."""
        if name not in self.parts:
            raise ValueError(
                f"the {self.kind} split has no part {name!r}; it has {', '.join(self.parts)}"
            )
        return self.parts[name]

    def title(self) -> str:
        """Kind, recipe and seed in a line."""
        words = [f"{key} {_said(value)}" for key, value in self.recipe.items()]
        if self.seed is not None:
            words.append(f"seed {self.seed}")
        return ", ".join([self.kind, *words])

    def summary(self) -> str:
        """What it takes, a line for each part, and its notes."""
        lines = [self.title()]
        for name, part in self.parts.items():
            counts = part.counts
            lines.append(
                f"  {name}: {counts['images']} images, {counts['annotations']} annotations, "
                f"{len(counts['species'])} species of {part.file} (sha256 {part.sha256})"
                + (f", {len(part.keypoints)} keypoints" if part.keypoints is not None else "")
            )
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def write_split(split: Split, path: str | Path) -> None:
    """Write the json; it appears whole or not at all.

    Raises:
        FileExistsError: there is a file that is no split, such as the labels themselves.
        IsADirectoryError: there is a folder.
    """
    if Path(path).is_file():
        try:
            read_split(path)
        except ValueError as error:
            raise FileExistsError(
                f"{path} is there already and no split, so it is not overwritten; choose another --out ({error})"
            ) from None
    parts = {name: _part_json(part) for name, part in split.parts.items()}
    content = {
        "format": FORMAT,
        "kind": split.kind,
        "recipe": dict(split.recipe),
        "seed": split.seed,
        "notes": list(split.notes),
        "parts": parts,
    }
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder; say the json to write, such as {path / 'split.json'}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(_lines(content) + "\n", encoding="utf-8", newline="\n")
    os.replace(partial, path)


def read_split(path: str | Path) -> Split:
    """Read what `write_split` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no split.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no split {path.absolute()}; genloc split makes one, see genloc split --help"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f'{path} is no split: expected an object with "format": {FORMAT!r}, as genloc split writes it'
        )
    try:
        parts = {name: _read_part(part) for name, part in content["parts"].items()}
        return Split(
            str(content["kind"]), content["recipe"], content["seed"], parts, tuple(content["notes"])
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__} {error}") from None


def _part(
    source: Source,
    labels: Iterable[Label],
    image_ids: tuple[int, ...] | None = None,
    annotation_ids: tuple[int, ...] | None = None,
    keypoints: Mapping[str, str] | None = None,
) -> Part:
    images: dict[str, set[int]] = {}
    labels = list(labels)
    for label in labels:
        images.setdefault(label.species, set()).add(label.image_id)
    counts = {
        "images": len({label.image_id for label in labels}),
        "annotations": len(labels),
        "species": {name: len(images[name]) for name in sorted(images)},
    }
    if not labels:
        raise ValueError(f"nothing of {source.file} is left for this part of the split")
    return Part(source.file, source.checksum, image_ids, annotation_ids, keypoints, counts)


def _part_json(part: Part) -> dict[str, Any]:
    content: dict[str, Any] = {"file": part.file, "sha256": part.sha256, "counts": part.counts}
    if part.keypoints is not None:
        content["keypoints"] = dict(part.keypoints)
    for key, ids in (("image_ids", part.image_ids), ("annotation_ids", part.annotation_ids)):
        if ids is not None:
            content[key] = list(ids)
    return content


def _read_part(content: dict[str, Any]) -> Part:
    def ids(key: str) -> tuple[int, ...] | None:
        return tuple(int(i) for i in content[key]) if key in content else None

    return Part(
        str(content["file"]),
        str(content["sha256"]),
        ids("image_ids"),
        ids("annotation_ids"),
        content.get("keypoints"),
        content["counts"],
    )


def _lines(value: Any, depth: int = 0) -> str:
    """json with one key a line down to the facts of a part; what is below stands in its line."""
    if not isinstance(value, dict) or depth > 2 or not value:
        return json.dumps(value, ensure_ascii=False)
    pad = " " * (depth + 1)
    rows = [f"{pad}{json.dumps(key)}: {_lines(part, depth + 1)}" for key, part in value.items()]
    return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"


def _said(value: Any) -> str:
    return " + ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
