from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from genloc.data.batch import KeypointDataset, collate
from genloc.data.categories import CategorySets, slots
from genloc.data.coco import CocoKeypoints
from genloc.data.episodes import EpisodeDataset, Episodes, protocol_pairs
from genloc.data.transforms import Augmentation
from genloc.skeleton import AP10K
from tests.make_categories import write_categories
from tests.make_coco import write_coco

SIZE = 32


def episodes(
    folder: Path,
    shots: int = 2,
    seed: int = 0,
    augmentation: Augmentation | None = None,
    **options: Any,
) -> EpisodeDataset:
    path = write_categories(folder, **options)
    source = CategorySets(path, folder / "images", skeleton=slots("slots:5"))
    return EpisodeDataset(
        KeypointDataset(source, crop_size=SIZE, augmentation=augmentation, seed=seed), shots
    )


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_query_comes_with_other_instances_of_its_category(tmp_path: Path) -> None:
    data = episodes(tmp_path)
    instances = data.crops.source.instances
    for i in range(len(data)):
        shown = data.supports(i)
        assert len(set(shown)) == 2 and i not in shown
        assert {instances[j].category_id for j in shown} == {instances[i].category_id}
        sample = data[i]
        for s, j in enumerate(shown):
            plain = data.crops[j]
            for name in ("image", "points", "visible"):
                assert torch.equal(sample[f"support_{name}"][s], plain[name])  # type: ignore[literal-required]
        own = data.crops[i]
        assert torch.equal(sample["image"], own["image"])
        assert torch.equal(sample["visible"], own["visible"] & sample["support_visible"].any(0))


def test_draws_are_a_function_of_seed_epoch_and_annotation(tmp_path: Path) -> None:
    augmented = {"augmentation": Augmentation(flip=0)}
    one, same = episodes(tmp_path, **augmented), episodes(tmp_path, **augmented)  # type: ignore[arg-type]
    assert equal(one[3], same[3])
    same.set_epoch(1)
    assert not equal(one[3], same[3])
    same.set_epoch(0)
    assert equal(one[3], same[3])
    other = episodes(tmp_path, seed=1, **augmented)  # type: ignore[arg-type]
    assert not equal(one[3], other[3])
    drawn = {tuple(one.supports(0))}
    for epoch in range(1, 12):
        one.set_epoch(epoch)
        drawn.add(tuple(one.supports(0)))
    assert len(drawn) > 5  # of 20


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    data = episodes(tmp_path, augmentation=Augmentation(flip=0))
    here = DataLoader(data, batch_size=5, collate_fn=collate)  # type: ignore[arg-type]
    there = DataLoader(data, batch_size=5, collate_fn=collate, num_workers=2)  # type: ignore[arg-type]
    for a, b in zip(here, there, strict=True):
        assert equal(a, b)
        assert a["support_image"].shape[1:] == (2, 3, SIZE, SIZE)


def test_supports_come_from_other_pictures_where_there_are_enough(tmp_path: Path) -> None:
    data = episodes(tmp_path, instances=2, images=3)
    instances = data.crops.source.instances
    for epoch in range(5):
        data.set_epoch(epoch)
        for i in range(len(data)):
            assert instances[i].image_id not in {instances[j].image_id for j in data.supports(i)}


def test_sets_that_cannot_show_enough_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"6 supports and a query need 7.*'fish': 6"):
        episodes(tmp_path, shots=6)
    path = write_coco(tmp_path / "one")
    one = CocoKeypoints(path, tmp_path / "one" / "images", skeleton=AP10K)
    with pytest.raises(ValueError, match="CategorySets"):
        EpisodeDataset(KeypointDataset(one), 1)
    with pytest.raises(ValueError, match="at least 1"):
        Episodes(shots=0)


def published_pairs(rows: dict[int, list[int]], shots: int, queries: int, times: int) -> np.ndarray:
    """The protocol's drawing with the module's own generator, as the published code seeds it."""
    random.seed(1)
    pairs: list[list[int]] = []
    for category in rows:
        for _ in range(times):
            drawn = random.sample(rows[category], shots + queries)
            pairs.extend([*drawn[:shots], query] for query in drawn[shots:])
    return np.array(pairs)


@pytest.mark.parametrize("shots", [1, 5])
def test_pairs_are_those_of_the_published_protocol(tmp_path: Path, shots: int) -> None:
    path = write_categories(tmp_path, images=21)
    source = CategorySets(path, tmp_path / "images", skeleton=slots("slots:4"))
    pairs = protocol_pairs(source, Episodes(shots))
    assert len(pairs) == 2 * 200 * 15
    state = random.getstate()
    expected = published_pairs(source.by_category, shots, 15, 200)
    random.setstate(state)
    assert np.array_equal([[*shown, query] for shown, query in pairs], expected)
    for shown, query in pairs[::97]:
        assert query not in shown
        assert len({source.instances[i].category_id for i in (*shown, query)}) == 1


def test_a_category_with_too_few_instances_is_named(tmp_path: Path) -> None:
    source = CategorySets(
        write_categories(tmp_path), tmp_path / "images", skeleton=slots("slots:4")
    )
    with pytest.raises(ValueError, match=r"'fish' has 6 instances.*needs 16"):
        protocol_pairs(source, Episodes(1))
