from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genloc.data.zoo import FAMILIES
from genloc.splits import (
    TABLE_6,
    Label,
    Source,
    groups,
    leave_one_out,
    pairs,
    read_source,
    zero_shot,
)
from genloc.splits.orders import ORDERS
from genloc.splits.zero_shot import Rank
from tests.splits.worlds import FAMILIES as SPECIES
from tests.splits.worlds import content, record, sources, write

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
    """Train and test of a leave-one-out split share no picture, and only pictures that show both are left out."""
    everything = {label.annotation_id for label in source.labels}
    image_of = {label.annotation_id: label.image_id for label in source.labels}
    tested: list[int] = []
    if len(groups(source, by)) < 2:
        return
    names = groups(source, by)
    alone = {  # groups with a picture of their own, so that any other can be tested
        name
        for name in names
        for image in {x.image_id for x in source.labels if x.species in names[name]}
        if {x.species for x in source.labels if x.image_id == image} <= names[name]
    }
    if len(alone) < 2:
        return
    for name, split in leave_one_out(source, source, by=by):
        train, test = (set(split.parts[p].annotation_ids or ()) for p in ("train", "test"))
        shown = {image_of[id_] for id_ in test}
        assert not {image_of[id_] for id_ in train} & shown
        both = {id_ for id_ in everything - test if image_of[id_] in shown}
        assert train == everything - test - both
        assert bool(both) == bool(split.notes)
        assert set(split.parts["test"].counts["species"]) == names[name]
        tested += test
    assert sorted(tested) == sorted(everything)


@given(sources(), sources(file="test.json", first=100), st.randoms(use_true_random=False))
def test_the_order_of_the_source_changes_nothing(
    train: Source, test: Source, random: object
) -> None:
    labels = list(train.labels)
    random.shuffle(labels)  # type: ignore[attr-defined]
    other = Source(train.file, train.checksum, tuple(labels))
    assert list(pairs(train, test)) == list(pairs(other, test))


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


def test_a_picture_of_both_sides_is_tested_and_not_trained_on(tmp_path: Path) -> None:
    """AP-10K's splits are of the same pictures, and val-split1 serves as val and as test."""
    animals = content(images=0)
    animals["images"] = [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, 6)]
    cow, dog = (1 + sorted(SPECIES).index(name) for name in ("cow", "dog"))
    shown = [(1, cow), (2, cow), (2, dog), (3, cow), (3, dog), (3, cow), (4, dog), (5, cow)]
    animals["annotations"] = [record(n, *pair) for n, pair in enumerate(shown, 1)]
    one = read_source(write(tmp_path / "val-split1.json", animals))
    split = zero_shot(one, one, ["Bovidae"], ["Canidae"], val=one)
    assert split.parts["train"].annotation_ids == (1, 8) == split.parts["val"].annotation_ids
    assert split.parts["test"].annotation_ids == (3, 5, 7)
    assert len(split.notes) == 2
    assert split.notes[0] == (
        "train: 2 images of val-split1.json are left out: they show Canidae as well, which is tested on them"
    )
    # Another split of the same pictures; image 3 is another picture there, with the same number.
    animals["images"][2]["file_name"] = "elsewhere.jpg"
    other = read_source(write(tmp_path / "test-split2.json", animals))
    crossed = zero_shot(one, other, ["Bovidae"], ["Canidae"])
    assert crossed.parts["train"].annotation_ids == (1, 4, 6, 8)
    assert "note: train: 1 images of val-split1.json are left out" in crossed.summary()
    alone = {**animals, "annotations": animals["annotations"][1:3]}
    source = read_source(write(tmp_path / "alone.json", alone))
    with pytest.raises(ValueError, match=r"all 1 images of Bovidae in alone\.json also show"):
        zero_shot(source, source, ["Bovidae"], ["Canidae"])


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
    labels = tuple(Label(i, i, f"a {name}", name) for i, name in enumerate(ORDERS, 1))
    source = Source("all.json", "0" * 16, labels)
    made = list(pairs(source, source))
    assert len({pair for pair, _ in made}) == len(made) == 23 * 22
    for (one, other), split in made:
        assert split.recipe["train"] == [one] and split.recipe["test"] == [other]
    assert all(a in ORDERS and b in ORDERS for a, b in TABLE_6)
