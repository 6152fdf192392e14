"""The search for a contender's own best rate and number of steps, in a grid of both.

It begins in the middle of the rates with the fewest steps, and goes on to the neighbours of the best cell so
far. It is settled when the best has no neighbour in the grid that has not been tried: the best then lies inside
what was tried, or at the grid's end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Place = tuple[float, int]
"""A rate and a number of steps."""

Tried = Mapping[Place, Mapping[str, Any]]
"""Place -> its cell, with "val" and in it "AP"."""


def best_place(tried: Tried) -> Place:
    """Where AP on val is highest; of equals that with the fewest steps."""
    return max(tried, key=lambda place: (tried[place]["val"]["AP"], -place[1]))


def next_places(rates: Sequence[float], steps: Sequence[int], tried: Tried) -> list[Place]:
    """What to try next; nothing once the search is settled.

    Args:
        rates, steps: the grid, each rising.
        tried: what has been tried, all of it in the grid.
    """
    if not tried:
        return [(rates[len(rates) // 2], steps[0])]
    rate, number = best_place(tried)
    i, j = rates.index(rate), steps.index(number)
    near = [(rates[k], number) for k in (i - 1, i + 1) if 0 <= k < len(rates)]
    near += [(rate, steps[k]) for k in (j + 1, j - 1) if 0 <= k < len(steps)]
    return [place for place in near if place not in tried]


def ends_at(rates: Sequence[float], steps: Sequence[int], tried: Tried) -> list[str]:
    """At which ends of the grid the best lies: beyond them it might be better still."""
    if not tried:
        return []
    rate, number = best_place(tried)
    ends = {
        "lowest rate": rate == rates[0],
        "highest rate": rate == rates[-1],
        "most steps": number == steps[-1],
    }
    return [name for name, there in ends.items() if there]


def rates_tried(rates: Sequence[float], score: Callable[[float], float]) -> dict[float, float]:
    """The same search where rates alone are chosen: what was tried, rising, with the score of each.

    Args:
        rates: the grid. score: of a rate, higher is better.
    """
    grid = sorted(set(rates))
    tried: dict[Place, dict[str, Any]] = {}
    while ahead := next_places(grid, [0], tried):
        tried[ahead[0]] = {"val": {"AP": score(ahead[0][0])}}
    return {rate: cell["val"]["AP"] for (rate, _), cell in sorted(tried.items())}
