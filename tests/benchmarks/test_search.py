"""Each contender's own best: the search ends only where it is surrounded, or at the grid's end."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cells import Benchmark, Contender, Recipe
from benchmarks.report import tuning
from benchmarks.search import ends_at, next_places, rates_tried

RATES, STEPS = [1e-4, 2e-4, 3e-4, 5e-4, 8e-4], [1200, 2400, 4800]


def peak(rate: int, steps: int) -> dict[tuple[float, int], float]:
    """AP over the grid, highest at a rate's and a number's index and falling from there."""
    return {
        (r, s): 0.9 - 0.1 * abs(i - rate) - 0.15 * abs(j - steps)
        for (i, r), (j, s) in itertools.product(enumerate(RATES), enumerate(STEPS))
    }


@pytest.mark.parametrize(("rate", "steps"), itertools.product(range(5), range(3)))
def test_the_best_is_found_wherever_it_lies(rate: int, steps: int) -> None:
    surface = peak(rate, steps)
    tried: dict[tuple[float, int], dict[str, Any]] = {}
    order = []
    while ahead := next_places(RATES, STEPS, tried):
        order.append(ahead[0])
        tried[ahead[0]] = {"val": {"AP": surface[ahead[0]]}}
    assert order[0] == (3e-4, 1200)
    best = max(tried, key=lambda place: tried[place]["val"]["AP"])
    assert best == (RATES[rate], STEPS[steps])
    around = [(rate + i, steps + j) for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    assert {(RATES[i], STEPS[j]) for i, j in around if 0 <= i < 5 and 0 <= j < 3} <= tried.keys()
    assert len(tried) <= 12
    ends = {"lowest rate": rate == 0, "highest rate": rate == 4, "most steps": steps == 2}
    assert ends_at(RATES, STEPS, tried) == [name for name, there in ends.items() if there]


def test_a_small_grid_is_tried_whole() -> None:
    for rates in ([1e-3], [1e-3, 2e-3], [1e-3, 2e-3, 3e-3]):
        tried: dict[tuple[float, int], dict[str, Any]] = {}
        while ahead := next_places(rates, [600], tried):
            tried[ahead[0]] = {"val": {"AP": 0.5}}
        assert sorted(tried) == [(rate, 600) for rate in rates]


@pytest.mark.parametrize("best", range(5))
def test_rates_alone_are_sought_as_in_a_grid(best: int) -> None:
    """From the middle to the best and its neighbours, each once."""
    asked = []

    def score(rate: float) -> float:
        asked.append(rate)
        return -abs(RATES.index(rate) - best)

    tried = rates_tried(list(reversed(RATES)), score)
    assert asked[0] == RATES[2] and len(set(asked)) == len(asked)
    assert list(tried) == sorted(asked) and max(tried, key=tried.__getitem__) == RATES[best]
    assert set(RATES[max(best - 1, 0) : best + 2]) <= set(asked)
    assert best != 4 or RATES[0] not in asked


class Played(Benchmark):
    """Trainings that take no time: AP on val from a surface, each seed's told by its number."""

    def __init__(self, folder: Path, surface: dict[tuple[float, int], float], names: str) -> None:
        crops: Any = SimpleNamespace(key="crops")
        made: Any = None
        contenders = [Contender(name, made, crops, tuple(reversed(RATES))) for name in names]
        recipe = Recipe(steps=tuple(STEPS), seeds=(0, 1, 2))
        super().__init__(contenders, recipe, crops, crops, folder)
        self.surface = surface
        self.trained: list[tuple[float, int, int]] = []
        self.left: list[float] = []

    def _train(
        self, contender: Contender, rate: float, steps: int, seed: int, state: Path
    ) -> dict[str, Any]:
        self.trained.append((rate, steps, seed))
        self._seconds[contender.name] = 0.5
        self.left.append(self._seconds_left((contender.name, rate, steps, seed), steps))
        ap = self.surface[rate, steps]
        return {
            "val": {"AP": ap, "step": steps},
            "test": {"AP": ap},
            "diverged": False,
            "seconds_per_step": 0.5,
        }


def test_other_seeds_are_trained_at_the_best_and_finished_cells_are_kept(tmp_path: Path) -> None:
    first = Played(tmp_path, peak(1, 1), "a")
    (cells,) = first.run().values()
    assert [(c["rate"], c["steps"], c["seed"]) for c in cells] == [
        (2e-4, 2400, s) for s in (0, 1, 2)
    ]
    assert all(seed == 0 for *_, seed in first.trained[:-2])
    assert len(set(first.trained)) == len(first.trained) == len(list(tmp_path.iterdir()))
    again = Played(tmp_path, peak(1, 1), "a")
    assert again.run() == {"a": cells} and again.trained == []
    (line,) = tuning(again)
    assert "0.0002 x 2400: 90.0" in line and "grid" not in line

    # a best at the grid's end is said
    at_end = Played(tmp_path / "end", peak(4, 2), "a")
    at_end.run()
    (line,) = tuning(at_end)
    assert line.endswith("best at the highest rate of the grid; best at the most steps of the grid")


def test_the_time_left_counts_what_is_known_to_come(tmp_path: Path) -> None:
    played = Played(tmp_path, peak(2, 0), "ab")
    played.run()
    # before anything is known: the start, its three neighbours, two more seeds, and all of it once more for b
    each = 0.5 * (1200 + 1200 + 1200 + 2400 + 2 * 1200)
    assert played.left[0] == 2 * each
    assert played.left[-1] == 0.5 * 1200  # the last cell has only itself
    assert played.left == sorted(played.left, reverse=True)
