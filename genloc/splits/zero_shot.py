"""Zero shots: train on some animals, test on others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import Literal

from genloc.splits.orders import ORDERS
from genloc.splits.source import Source
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


def zero_shot(
    train: Source,
    test: Source,
    train_on: Iterable[str],
    test_on: Iterable[str],
    *,
    by: Rank = "family",
) -> Split:
    """Labels of some groups of animals for training, of others for testing.

    Args:
        train: file of the training labels.
        test: file of the test labels; may be the same. Where it is another, its labels of the training groups are
            the part `val`, so that a checkpoint can be chosen without a look at the animals it is tested on.
        train_on: groups that are trained on.
        test_on: groups that are tested on.
        by: what the groups are: species (category names), families (`supercategory`) or orders.

    Raises:
        ValueError: a group is on both sides, is not in its file, or a family's order is not known.
    """
    train_on, test_on = sorted(set(train_on)), sorted(set(test_on))
    shared = sorted(set(train_on) & set(test_on))
    if shared or not train_on or not test_on:
        raise ValueError(
            f"zero-shot: trained on {train_on}, tested on {test_on}: expected one or more {by} names on each "
            f"side and none on both{f', but {shared} is' if shared else ''}"
        )
    parts = {"train": _of(train, train_on, by, "train")}
    if test.checksum != train.checksum and set(train_on) & set(groups(test, by)):
        there = sorted(set(train_on) & set(groups(test, by)))
        parts["val"] = _of(test, there, by, "val")
    parts["test"] = _of(test, test_on, by, "test")
    return Split("zero-shot", {"by": by, "train": train_on, "test": test_on}, None, parts)


def leave_one_out(
    train: Source, test: Source, *, by: Rank = "family"
) -> Iterator[tuple[str, Split]]:
    """For each group in both files: its name, and the split that tests on it and trains on all others."""
    names = groups(train, by)
    for name in sorted(set(names) & set(groups(test, by))):
        yield name, zero_shot(train, test, set(names) - {name}, [name], by=by)


def pairs(
    train: Source, test: Source, *, by: Rank = "family"
) -> Iterator[tuple[tuple[str, str], Split]]:
    """Every ordered pair of groups: trained on the first, tested on the second; 23 x 22 families in AP-10K."""
    here, there = set(groups(train, by)), set(groups(test, by))
    for a, b in permutations(sorted(here | there), 2):
        if a in here and b in there:
            yield (a, b), zero_shot(train, test, [a], [b], by=by)


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


def _of(source: Source, names: list[str], by: Rank, part: str) -> Part:
    known = groups(source, by)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"{part}: {source.file} has no labels of {by} {', '.join(unknown)}; it has {', '.join(known)}"
        )
    species = set().union(*(known[name] for name in names))
    return Part.of_labels(source, (label for label in source.labels if label.species in species))
