from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genloc.data.zoo import FAMILIES
from genloc.splits import TABLE_6, Source, groups, leave_one_out, pairs, read_source, zero_shot
from genloc.splits.orders import ORDERS
from genloc.splits.zero_shot import Rank
from tests.splits.worlds import content, sources, write

RANKS: tuple[Rank, ...] = ("species", "family", "order")


@given(sources(), sources(file="test.json", first=100), st.sampled_from(RANKS))
def test_pairs_are_disjoint_and_together_everything(train: Source, test: Source, by: Rank) -> None:
    made = dict(pairs(train, test, by=by))
    here, there = groups(train, by), groups(test, by)
    assert made.keys() == {(a, b) for a in here for b in there if a != b}
    trained = set().union(*(s.parts["train"].annotation_ids or () for s in made.values()))
    lonely = {a for a in here if not set(there) - {a}}
    assert trained == {
        label.annotation_id
        for label in train.labels
        if not any(label.species in here[a] for a in lonely)
    }
    for split in made.values():
        a, b = (set(split.parts[p].counts["species"]) for p in ("train", "test"))
        assert not a & b


@given(sources(), st.sampled_from(RANKS))
def test_one_file_serves_both_sides(source: Source, by: Rank) -> None:
    """Train and test of a leave-one-out split share no label and leave none out."""
    everything = {label.annotation_id for label in source.labels}
    tested: list[int] = []
    if len(groups(source, by)) < 2:
        return
    for name, split in leave_one_out(source, source, by=by):
        train, test = (split.parts[p].annotation_ids or () for p in ("train", "test"))
        assert not set(train) & set(test)
        assert set(train) | set(test) == everything
        assert set(split.parts["test"].counts["species"]) == groups(source, by)[name]
        tested += test
    assert sorted(tested) == sorted(everything)


@given(sources(), st.randoms(use_true_random=False))
def test_the_order_of_the_source_changes_nothing(source: Source, random: object) -> None:
    labels = list(source.labels)
    random.shuffle(labels)  # type: ignore[attr-defined]
    other = Source(source.file, source.checksum, tuple(labels))
    assert list(pairs(source, source)) == list(pairs(other, other))


def test_the_files_of_the_parts(tmp_path: Path) -> None:
    files = {
        name: read_source(write(tmp_path / f"ap10k-{name}-split1.json", content(first=first)))
        for name, first in (("train", 1), ("val", 100), ("test", 200))
    }
    split = zero_shot(files["train"], files["test"], ["Bovidae"], ["Canidae"], val=files["val"])
    assert {name: part.file for name, part in split.parts.items()} == {
        name: f"ap10k-{name}-split1.json" for name in ("train", "val", "test")
    }
    assert set(split.parts["val"].counts["species"]) == {"antelope", "cow"}
    assert set(split.parts["test"].counts["species"]) == {"dog", "fox"}
    assert split.title() == "zero-shot, by family, train Bovidae, test Canidae"


@pytest.mark.parametrize(
    ("train", "test", "by", "message"),
    [
        (["Bovidae"], ["Bovidae", "Canidae"], "family", r"\['Bovidae'\] is"),
        (["Bovidae"], [], "family", "one or more family names"),
        (["Bovidae"], ["dog"], "family", "test: .* has no labels of family dog; it has Bovidae, C"),
        (["Mars"], ["Carnivora"], "order", "train: .* order Mars; it has Artiodactyla, Carnivora"),
    ],
)
def test_groups_that_cannot_be(
    train: list[str], test: list[str], by: Rank, message: str, tmp_path: Path
) -> None:
    source = read_source(write(tmp_path / "a.json", content()))
    with pytest.raises(ValueError, match=message):
        zero_shot(source, source, train, test, by=by)


def test_a_file_without_families_is_split_by_species(tmp_path: Path) -> None:
    given = content()
    for category in given["categories"]:
        del category["supercategory"]
    source = read_source(write(tmp_path / "a.json", given))
    assert zero_shot(source, source, ["dog"], ["cow"], by="species").parts["test"].annotation_ids
    with pytest.raises(ValueError, match="no supercategory"):
        zero_shot(source, source, ["Canidae"], ["Bovidae"])


def test_orders_are_those_of_every_family(real_data: Path) -> None:
    with (real_data / "ap10k_lists" / "categories.csv").open() as file:
        published = {row["family"]: row["order"] for row in csv.DictReader(file)}
    assert published == ORDERS


def test_ap10ks_pairs_and_the_papers() -> None:
    assert ORDERS.keys() == set(FAMILIES)
    assert math.perm(len(ORDERS), 2) == 23 * 22
    assert all(a in ORDERS and b in ORDERS for a, b in TABLE_6)
