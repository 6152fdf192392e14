from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genloc.splits import SHOTS, Source, few_shot, fraction, listed, read_source
from genloc.splits.order import shuffled
from tests.splits.worlds import content, record, sources, write


@given(sources(), st.integers(1, 12), st.integers(0, 5))
def test_every_species_gets_its_shots_or_all_it_has(source: Source, shots: int, seed: int) -> None:
    part = few_shot(source, shots, seed).parts["train"]
    assert part.image_ids is not None
    chosen = set(part.image_ids)
    for images in source.images_of.values():
        assert len(chosen & set(images)) >= min(shots, len(images))
    assert len(chosen) <= shots * len(source.images_of)
    assert len(chosen) == len(part.image_ids), "an image is taken once"
    assert part.counts["annotations"] == sum(label.image_id in chosen for label in source.labels)


@given(sources(), st.integers(1, 10), st.integers(1, 10), st.integers(0, 5))
def test_fewer_shots_are_among_more(source: Source, a: int, b: int, seed: int) -> None:
    low, high = sorted((a, b))
    few, many = (few_shot(source, n, seed).parts["train"].image_ids or () for n in (low, high))
    assert set(few) <= set(many)


@given(sources(), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 5))
def test_smaller_fractions_are_among_larger(source: Source, a: float, b: float, seed: int) -> None:
    low, high = sorted((a, b))
    few, many = (fraction(source, n, seed).parts["train"].image_ids or () for n in (low, high))
    assert set(few) <= set(many)
    assert set(fraction(source, 1).parts["train"].image_ids or ()) == {
        label.image_id for label in source.labels
    }


@given(sources(), st.randoms(use_true_random=False))
def test_the_order_of_the_source_changes_nothing(source: Source, random: object) -> None:
    labels = list(source.labels)
    random.shuffle(labels)  # type: ignore[attr-defined]
    other = Source(source.file, source.checksum, tuple(labels), source.keypoints)
    assert few_shot(source, 3, 1) == few_shot(other, 3, 1)
    assert fraction(source, 0.4, 1) == fraction(other, 0.4, 1)


def test_seeds_differ() -> None:
    ids = range(100)
    assert shuffled(ids, 0)[:10] != shuffled(ids, 1)[:10]
    assert sorted(shuffled(ids, 0)) == list(ids)
    # No corner of the ids is preferred: over many seeds every id comes first about as often.
    firsts = Counter(shuffled(range(8), seed)[0] for seed in range(800))
    assert min(firsts.values()) > 60 and max(firsts.values()) < 140


def test_short_species_are_named_and_species_of_one_image_count_for_both(tmp_path: Path) -> None:
    animals = content(images=0)
    animals["images"] = [{"id": i, "file_name": "x"} for i in range(1, 9)]
    rows = [(i, i, 1) for i in range(1, 8)] + [(8, 8, 2), (9, 8, 1)]
    animals["annotations"] = [record(*row) for row in rows]
    source = read_source(write(tmp_path / "a.json", animals))
    split = few_shot(source, 5)
    assert split.notes == ("cat has 1 images, all taken",)
    assert 8 in (split.parts["train"].image_ids or ())
    assert split.parts["train"].counts["species"]["cat"] == 1
    with pytest.raises(ValueError, match="shots is 0"):
        few_shot(source, 0)
    with pytest.raises(ValueError, match=r"fraction is 1\.5"):
        fraction(source, 1.5)


def test_a_list_of_ids_is_read_in_any_punctuation(tmp_path: Path) -> None:
    source = read_source(write(tmp_path / "a.json", content()))
    (tmp_path / "list").write_text("[3, 1, 3,\n 40]")
    split = listed(source, tmp_path / "list")
    assert split.parts["train"].image_ids == (1, 3, 40)
    assert split.notes == ("4 ids in the list, 3 of them distinct",)
    (tmp_path / "list").write_text("[3, 41, 77]")
    with pytest.raises(ValueError, match=r"2 of the 3 image ids .* \[41, 77\]; is it the list of"):
        listed(source, tmp_path / "list")
    (tmp_path / "list").write_text("none")
    with pytest.raises(ValueError, match="holds no ids"):
        listed(source, tmp_path / "list")
    with pytest.raises(FileNotFoundError, match="no file"):
        listed(source, tmp_path / "absent")


DISTINCT = {5: 249, 10: 491, 15: 750, 20: 1000, 25: 1247}


@pytest.mark.parametrize("shots", SHOTS)
def test_scarcenets_lists_are_read_whole(real_data: Path, tmp_path: Path, shots: int) -> None:
    """Counts as the lists have them: ScarceNet, data/label_list/annotation_list_*."""
    path = real_data / "ap10k_lists" / f"annotation_list_{shots}"
    ids = sorted(set(json.loads(path.read_text())))
    train = content(images=0)
    train["images"] = [{"id": i, "file_name": "x"} for i in [*ids, 60000]]
    train["annotations"] = [record(n, i, 1 + n % 7) for n, i in enumerate([*ids, 60000], 1)]
    source = read_source(write(tmp_path / "ap10k-train-split1.json", train))
    part = listed(source, path).parts["train"]
    assert part.image_ids == tuple(ids)
    assert part.counts["images"] == DISTINCT[shots]
