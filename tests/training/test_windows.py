from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genloc.data.batch import KeypointDataset, sample_generator
from genloc.data.coco import CocoKeypoints
from genloc.skeleton import AP10K
from genloc.training.asking import WORDS, ask
from genloc.training.drawn import DrawnCrops, collate_draws
from genloc.training.windows import Draw, Turns, Windows
from tests.make_coco import write_coco


def by_window(windows: Windows) -> list[list[list[Draw]]]:
    """Micro-batches grouped by window, counted off as the trainer does."""
    batches = list(windows)
    return [
        batches[i : i + windows.accumulation] for i in range(0, len(batches), windows.accumulation)
    ]


@given(
    crops=st.integers(1, 40),
    effective=st.integers(1, 50),
    batch=st.integers(1, 9),
    world=st.integers(1, 4),
)
def test_every_crop_is_seen_once_an_epoch_and_each_window_is_a_mean(
    crops: int, effective: int, batch: int, world: int
) -> None:
    ranks = [
        Windows(
            range(100, 100 + crops),
            effective_batch=effective,
            batch_size=batch,
            rank=rank,
            world_size=world,
        )
        for rank in range(world)
    ]
    dealt = [by_window(windows) for windows in ranks]
    assert {len(d) for d in dealt} == {ranks[0].steps}
    seen: list[int] = []
    for window in zip(*dealt, strict=True):  # the same window on each rank
        assert len({len(part) for part in window}) == 1, "equally many micro-batches"
        draws = [draw for part in window for micro in part for draw in micro]
        assert all(1 <= len(micro) <= batch for part in window for micro in part)
        # the gradient is averaged over ranks
        assert sum(draw.weight for draw in draws) / world == pytest.approx(1)
        assert all(draw.real or draw.weight == 0 for draw in draws)
        seen += [draw.item for draw in draws if draw.real]
    assert sorted(seen) == list(range(crops))
    # the windows themselves do not depend on the number of processes
    alone = Windows(range(100, 100 + crops), effective_batch=effective, batch_size=effective)
    sizes = [len(window[0]) for window in by_window(alone)]
    assert sizes == [effective] * (crops // effective) + [crops % effective] * bool(
        crops % effective
    )


def test_order_is_a_function_of_seed_and_epoch_and_ids_alone() -> None:
    ids = [7, 3, 9, 1, 4]
    windows = Windows(ids, effective_batch=2, batch_size=2, seed=5)
    first = [ids[i] for i in windows.order(0)]
    assert first == [ids[i] for i in windows.order(0)]
    shuffled = [9, 1, 3, 4, 7]
    other = Windows(shuffled, effective_batch=3, batch_size=1, seed=5)
    assert first == [shuffled[i] for i in other.order(0)]
    orders = {tuple(windows.order(epoch)) for epoch in range(6)}
    assert len(orders) > 3
    assert not np.array_equal(
        Windows(range(50), effective_batch=1, batch_size=1, seed=6).order(0),
        Windows(range(50), effective_batch=1, batch_size=1, seed=5).order(0),
    )


def test_starting_at_a_step_leaves_out_the_windows_before_it_in_that_epoch_only() -> None:
    windows = Windows(range(22), effective_batch=8, batch_size=2)
    whole = list(windows)
    assert windows.micro_batches_left() == len(whole) == 11
    windows.start_at(0, 2)
    assert list(windows) == whole[8:]
    assert windows.micro_batches_left() == 3
    windows.start_at(0, 3)
    assert list(windows) == []
    windows.set_epoch(1)
    assert windows.micro_batches_left() == 11


def test_paper_numbers() -> None:
    """46 optimiser steps per epoch on AP-10K's 9,122 instances at batch 200."""
    windows = Windows(range(9122), effective_batch=200, batch_size=8)
    assert windows.steps == 46
    assert windows.accumulation == 25
    two = Windows(range(9122), effective_batch=200, batch_size=8, rank=1, world_size=2)
    assert two.accumulation == 13


@pytest.mark.parametrize(("size", "world"), [(5, 2), (1, 4), (7, 3), (6, 2)])
def test_turns_cover_everything_with_equally_many_on_each_rank(size: int, world: int) -> None:
    parts = [
        [i for batch in Turns(size, batch_size=2, rank=rank, world_size=world) for i in batch]
        for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    assert sorted({i for part in parts for i in part}) == list(range(size))


@pytest.mark.parametrize(
    ("ids", "effective", "batch", "message"),
    [([], 1, 1, "no crop"), ([1], 0, 1, "at least 1"), ([1], 1, 0, "at least 1")],
)
def test_refuses_what_cannot_be_sampled(
    ids: list, effective: int, batch: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Windows(ids, effective_batch=effective, batch_size=batch)


def test_a_small_set_is_gone_through_several_times_an_epoch() -> None:
    windows = Windows(range(100, 107), effective_batch=4, batch_size=2, least_steps=5, seed=3)
    assert (windows.turns, windows.crops, windows.steps) == (3, 21, 6)
    draws = [draw for batch in windows for draw in batch]
    assert windows.micro_batches_left() == len(list(windows)) == 5 * 2 + 1
    for turn in range(3):  # each turn sees every crop once, in an order of its own
        assert sorted(d.item for d in draws if d.turn == turn) == list(range(7))
    orders = [tuple(d.item for d in draws if d.turn == turn) for turn in range(3)]
    assert len(set(orders)) == 3
    # the first turn is what it would be without the others
    plain = Windows(range(100, 107), effective_batch=4, batch_size=2, seed=3)
    assert np.array_equal(windows.order(0)[:7], plain.order(0))
    # going on in the middle leaves out what was seen
    windows.start_at(0, 4)
    assert [d for batch in windows for d in batch] == draws[16:]
    assert windows.micro_batches_left() == 3


@given(crops=st.integers(1, 40), effective=st.integers(1, 20), least=st.integers(1, 30))
def test_an_epoch_has_as_many_steps_as_asked_for(crops: int, effective: int, least: int) -> None:
    windows = Windows(range(crops), effective_batch=effective, batch_size=4, least_steps=least)
    assert windows.steps >= least
    # no more turns than needed
    assert windows.turns == 1 or -(-(windows.turns - 1) * crops // effective) < least


class Asks:
    """A condition that says what its draws are."""

    def draw(self, generators, visible):  # type: ignore[no-untyped-def]
        drawn = torch.tensor([[[generator.random()]] for generator in generators])
        return drawn, torch.zeros(len(generators), 1, dtype=torch.int64)


def test_each_turn_of_an_epoch_asks_for_itself(tmp_path: Path) -> None:
    source = CocoKeypoints(write_coco(tmp_path), tmp_path / "images", skeleton=AP10K)
    crops = KeypointDataset(source, crop_size=32)
    crops.set_epoch(2)
    drawn = DrawnCrops(crops, turns=3)
    batch = collate_draws([drawn[Draw(0, 1.0, True, turn)] for turn in range(3)])
    assert batch["draw"].tolist() == [6, 7, 8]
    asked, _ = ask(Asks(), batch, seed=1, epoch=batch["draw"].tolist())
    assert asked is not None
    own = [sample_generator(1, epoch, 101, WORDS).random() for epoch in (6, 7, 8)]
    assert asked.flatten().tolist() == pytest.approx(own) and len(set(own)) == 3
