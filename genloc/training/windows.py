"""The order in which training crops are seen: a function of (seed, epoch) alone.

A *window* is the set of crops behind one optimiser step (the effective batch). Every epoch is a permutation
of the crops cut into windows; the last window of an epoch may be smaller. A window is dealt to the processes
and cut into micro-batches that fit on a device. Nothing here remembers what was already seen, so training
continues exactly from a step number: `start_at(epoch, step)` leaves out the windows before that step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One crop of a micro-batch, as the sampler hands it to the dataset.

    `item` counts in the dataset; `weight` is the crop's part in its window's loss; a crop that is not `real`
    only fills a micro-batch up, so that all processes have equally many, and counts nothing. `turn` counts how
    often the epoch has gone through the crops before, where they are few.
    """

    item: int
    weight: float
    real: bool
    turn: int = 0


class Windows(Sampler[list[Draw]]):
    """Batch sampler that yields the micro-batches of one process, window by window.

    It has no length on purpose: a resumed epoch is shorter than the others, and Lightning reads the length of
    a loader only once. `micro_batches_left()` tells the progress bar what to expect.

    Args:
        ids: annotation id of every crop in the dataset, in its order. The permutation is drawn over the sorted
            ids, so it does not depend on the order of the records in the file.
        effective_batch: crops per optimiser step, over all processes.
        batch_size: most crops of one micro-batch on one process.
        rank, world_size: this process and the number of processes.
        seed: of the permutations.
        least_steps: optimiser steps of an epoch at least: where the crops are too few for them, an epoch goes
            through them several times, each time in another order.

    Raises:
        ValueError: no crops, or a size that is not positive.
    """

    def __init__(
        self,
        ids: Sequence[int],
        *,
        effective_batch: int,
        batch_size: int,
        least_steps: int = 1,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        if not len(ids):
            raise ValueError("ids: there is no crop to train on")
        if effective_batch < 1 or batch_size < 1 or least_steps < 1:
            raise ValueError(
                "effective_batch, batch_size and least_steps must be at least 1, got "
                f"{effective_batch}, {batch_size} and {least_steps}"
            )
        self._sorted = np.argsort(np.asarray(ids, dtype=np.int64), kind="stable")
        # Whole turns only, so that every crop is seen equally often.
        missing = (least_steps - 1) * effective_batch + 1
        self.turns = max(1, math.ceil(missing / len(self._sorted)))
        self.effective_batch = effective_batch
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.epoch = 0
        self._start = (0, 0)

    def __len__(self) -> int:
        raise TypeError("a sampler of windows has no fixed length: a resumed epoch is shorter")

    @property
    def crops(self) -> int:
        """Crops of a whole epoch, each counted as often as it is seen."""
        return self.turns * len(self._sorted)

    @property
    def steps(self) -> int:
        """Optimiser steps of a whole epoch."""
        return math.ceil(self.crops / self.effective_batch)

    @property
    def window(self) -> int:
        """Crops of a full window: the effective batch, or all where there are fewer."""
        return min(self.effective_batch, self.crops)

    @property
    def accumulation(self) -> int:
        """Micro-batches of a full window."""
        return self._micro_batches(self.window)

    def micro_batches_left(self) -> int:
        """Micro-batches that the current epoch will yield on each process."""
        return sum(self._micro_batches(size) for size in self._sizes()[self.first_step :])

    @property
    def first_step(self) -> int:
        """Step of the current epoch at which iteration begins."""
        return self._start[1] if self.epoch == self._start[0] else 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self.epoch = epoch

    def start_at(self, epoch: int, step: int) -> None:
        """Begin `epoch` at optimiser step `step` (counted in the epoch); other epochs are whole."""
        self._start = (epoch, step)

    def order(self, epoch: int) -> np.ndarray:
        """Dataset indices of an epoch in the order they are seen, [crops]."""
        orders = []
        for turn in range(self.turns):
            key = [self.seed, epoch] + [turn] * (turn > 0)
            rng = np.random.default_rng(np.random.SeedSequence(key))
            orders.append(self._sorted[rng.permutation(len(self._sorted))])
        return np.concatenate(orders)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.order(self.epoch)
        for step in range(self.first_step, self.steps):
            begin = step * self.effective_batch
            yield from self._deal(order[begin : begin + self.effective_batch], begin)

    def _deal(self, window: np.ndarray, begin: int) -> Iterator[list[Draw]]:
        """The window's micro-batches; `begin` is the place of its first crop in the epoch."""
        places = range(self.rank, len(window), self.world_size)
        mine = [(int(window[p]), (begin + p) // len(self._sorted)) for p in places]
        # The gradient is the mean over processes, so a crop weighs processes / crops of the window.
        weight = self.world_size / len(window)
        draws = [Draw(index, weight, True, turn) for index, turn in mine]
        for _ in range(math.ceil(len(window) / self.world_size) - len(mine)):
            draws.append(Draw(int(window[0]), 0.0, False))
        parts = self._micro_batches(len(window))
        for part in np.array_split(np.arange(len(draws)), parts):
            yield [draws[i] for i in part]

    def _sizes(self) -> list[int]:
        total, size = self.crops, self.effective_batch
        return [min(size, total - begin) for begin in range(0, total, size)]

    def _micro_batches(self, window: int) -> int:
        return math.ceil(math.ceil(window / self.world_size) / self.batch_size)


class Turns(Sampler[list[int]]):
    """Batch sampler of evaluation: the dataset in its order, dealt to the processes in turns.

    When the number of items does not divide, the first ones are seen twice so that all processes have equally
    many; whoever gathers the results drops duplicates by annotation id.
    """

    def __init__(self, size: int, *, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        padded = [*range(size), *(i % size for i in range(-size % world_size))]
        mine = padded[rank::world_size]
        self._batches = [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)
