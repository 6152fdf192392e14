"""How long a cell of a table trains: rounds of its labels, as near to the steps asked for as they come."""

from __future__ import annotations

EVALUATIONS = 2  # on val while a training runs, at most


def rounds(steps: int, per_epoch: int) -> tuple[int, int]:
    """Epochs of a training, and after every how many of them it is evaluated: always after the last.

    Columns of a table differ in labels, so a round of them differs in steps; the whole number of rounds that
    is nearest keeps their lengths alike, where one that divides by the evaluations would not. Where there is no
    such number of evaluations, there are fewer.

    >>> rounds(600, 111)
    (5, 5)
    >>> rounds(600, 37)
    (16, 8)
    """
    epochs = max(1, round(steps / per_epoch))
    few = range(EVALUATIONS, 0, -1)
    return epochs, next(epochs // n for n in few if epochs % n == 0)
