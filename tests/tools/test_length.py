"""How long a cell of a table trains."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.tables.definitions import TABLES
from tools.tables.length import EVALUATIONS, rounds


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_it_is_the_nearest_number_of_rounds_and_ends_with_an_evaluation(
    steps: int, per_epoch: int
) -> None:
    epochs, every = rounds(steps, per_epoch)
    assert epochs >= 1 and epochs % every == 0 and epochs // every <= EVALUATIONS
    near = abs(epochs * per_epoch - steps)
    assert all(near <= abs(other * per_epoch - steps) for other in (epochs + 1, max(1, epochs - 1)))


def test_shots_of_the_zoo_train_alike() -> None:
    """A round of 5 to 25 pictures of each species is 36 to 184 steps, by the seed."""
    steps = TABLES["5"].steps["zoo"]
    rounds_of = (36, 37, 73, 74, 109, 111, 145, 147, 181, 184)
    lengths = [per * rounds(steps, per)[0] for per in rounds_of]
    assert min(lengths) == 543 and max(lengths) == 592
