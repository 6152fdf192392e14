"""Few shots: some pictures of each species."""

from __future__ import annotations

import re
from pathlib import Path

from genloc.splits.order import shuffled
from genloc.splits.source import Source
from genloc.splits.split import Part, Split

SHOTS = (5, 10, 15, 20, 25)
"""What the paper and ScarceNet train on."""


def few_shot(source: Source, shots: int, seed: int = 0) -> Split:
    """`shots` pictures of each species, with every labelled animal on them.

    Nested: with the same seed, the pictures of fewer shots are among those of more. A species with fewer pictures
    is taken whole and named in the notes. A picture that shows two species counts for both.

    Raises:
        ValueError: shots is below 1.
    """
    if shots < 1:
        raise ValueError(f"shots is {shots}, expected 1 or more")
    chosen: set[int] = set()
    short = []
    for species, images in source.images_of.items():
        chosen.update(shuffled(images, seed)[:shots])
        if len(images) < shots:
            short.append(f"{species} has {len(images)} images, all taken")
    train = Part.of_images(source, chosen)
    return Split("few-shot", {"shots": shots}, seed, {"train": train}, tuple(short))


def few_shot_name(shots: int | str, seed: int | str) -> str:
    """What the file of such a split is called, without `.json`."""
    return f"few_shot_{shots}_seed_{seed}"


def listed(source: Source, path: str | Path) -> Split:
    """The pictures of a published list of image ids, such as ScarceNet's `annotation_list_5`: numbers in any
    punctuation, repeated ones counting once.

    Raises:
        FileNotFoundError: no such list.
        ValueError: it holds no ids, or some that the source has no label on.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"list: no file {path.absolute()}")
    given = [int(number) for number in re.findall(r"\d+", path.read_text(encoding="utf-8"))]
    if not given:
        raise ValueError(f"list: {path} holds no ids")
    known = {label.image_id for label in source.labels}
    absent = sorted(set(given) - known)
    if absent:
        raise ValueError(
            f"list: {len(absent)} of the {len(set(given))} image ids in {path} have no label in {source.file}: "
            f"{absent[:5]}{'...' if len(absent) > 5 else ''}; is it the list of another file?"
        )
    notes: tuple[str, ...] = ()
    if len(set(given)) < len(given):
        notes = (f"{len(given)} ids in the list, {len(set(given))} of them distinct",)
    train = Part.of_images(source, given)
    return Split("listed", {"list": path.name}, None, {"train": train}, notes)
