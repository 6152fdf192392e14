"""Zero shots: train on some animals, test on others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import Literal

from genloc.splits.orders import ORDERS
from genloc.splits.source import Label, Source
from genloc.splits.split import Part, Split

Rank = Literal["species", "family", "order"]

TABLE_6 = (
    ("Bovidae", "Canidae"),
    ("Bovidae", "Equidae"),
    ("Bovidae", "Felidae"),
    ("Canidae", "Felidae"),
    ("Canidae", "Cricetidae"),
    ("Canidae", "Equidae"),
)
"""The paper's pairs: trained on the first family, tested on the second."""


def zero_shot_name(train_on: str, test_on: str) -> str:
    """What the file of a pair of groups is called, without `.json`."""
    return f"zero_shot_{train_on}_{test_on}"


def zero_shot(
    train: Source,
    test: Source,
    train_on: Iterable[str],
    test_on: Iterable[str],
    *,
    by: Rank = "family",
    val: Source | None = None,
) -> Split:
    """Labels of some groups of animals for training, of others for testing.

    No picture is on both sides: one that shows animals of both, and is tested, is left out of training and
    validation, and counted in the notes. Pictures of two files are the same where id and file name are.

    Args:
        train: file of the training labels.
        test: file of the test labels; may be the same, or that of `val`.
        train_on: groups that are trained on.
        test_on: groups that are tested on.
        by: what the groups are: species (category names), families (`supercategory`) or orders.
        val: file whose labels of the training groups are the part `val`: a checkpoint is chosen without a look at
            the animals that it is tested on.

    Raises:
        ValueError: a group is on both sides, is not in its file or only on pictures that are tested, or a family's
            order is not known.
    """
    train_on, test_on = sorted(set(train_on)), sorted(set(test_on))
    shared = sorted(set(train_on) & set(test_on))
    if shared or not train_on or not test_on:
        raise ValueError(
            f"zero-shot: trained on {train_on}, tested on {test_on}: expected one or more {by} names on each "
            f"side and none on both{f', but {shared} is' if shared else ''}"
        )
    tested = _of(test, test_on, by, "test")
    seen = {label.image_id for label in tested}
    parts, notes = {}, []
    for name, source in (("train", train), ("val", val)):
        if source is None:
            continue
        known = groups(source, by)
        there = [group for group in train_on if group in known] if name == "val" else train_on
        labels = _of(source, there or train_on, by, name)
        both = {
            label.image_id
            for label in labels
            if label.image_id in seen
            and source.file_names.get(label.image_id) == test.file_names.get(label.image_id)
        }
        own = [label for label in labels if label.image_id not in both]
        if not own:
            raise ValueError(
                f"{name}: all {len(both)} images of {', '.join(train_on)} in {source.file} also show "
                f"{', '.join(test_on)}, which is tested on them: none is left"
            )
        if both:
            notes.append(
                f"{name}: {len(both)} images of {source.file} are left out: they show "
                f"{', '.join(test_on)} as well, which is tested on them"
            )
        parts[name] = Part.of_labels(source, own)
    parts["test"] = Part.of_labels(test, tested)
    recipe = {"by": by, "train": train_on, "test": test_on}
    return Split("zero-shot", recipe, None, parts, tuple(notes))


def leave_one_out(
    train: Source, test: Source, *, by: Rank = "family", val: Source | None = None
) -> Iterator[tuple[str, Split]]:
    """For each group in both files: its name, and the split that tests on it and trains on all others."""
    names = groups(train, by)
    for name in sorted(set(names) & set(groups(test, by))):
        yield name, zero_shot(train, test, set(names) - {name}, [name], by=by, val=val)


def pairs(
    train: Source, test: Source, *, by: Rank = "family", val: Source | None = None
) -> Iterator[tuple[tuple[str, str], Split]]:
    """Every ordered pair of groups: trained on the first, tested on the second; 23 x 22 families in AP-10K."""
    here, there = set(groups(train, by)), set(groups(test, by))
    for a, b in permutations(sorted(here | there), 2):
        if a in here and b in there:
            yield (a, b), zero_shot(train, test, [a], [b], by=by, val=val)


def groups(source: Source, by: Rank) -> dict[str, set[str]]:
    """Group -> its species in the file, names in alphabetical order.

    Raises:
        ValueError: the file gives no families, or a family's order is not known.
    """
    found: dict[str, set[str]] = {}
    for species, family in source.family_of.items():
        name = species
        if by != "species":
            if not family:
                raise ValueError(
                    f"{source.file} gives species {species!r} no supercategory, so its family is not known; "
                    "split by species"
                )
            name = family if by == "family" else ORDERS.get(family, "")
            if not name:
                raise ValueError(f"the order of family {family!r} is not known: {sorted(ORDERS)}")
        found.setdefault(name, set()).add(species)
    return dict(sorted(found.items()))


def _of(source: Source, names: list[str], by: Rank, part: str) -> list[Label]:
    known = groups(source, by)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"{part}: {source.file} has no labels of {by} {', '.join(unknown)}; it has {', '.join(known)}"
        )
    species = set().union(*(known[name] for name in names))
    return [label for label in source.labels if label.species in species]
