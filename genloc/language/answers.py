"""Places as text, and text as places: LocLLM's coordinates, parser and score.

A coordinate is a part of the crop's side with three decimals, "[0.512,0.233]"; 0 is the left or upper
edge. Of an answer the first two matches of `0\\.\\d+` count. The score of a coordinate is the mean, over
its tokens, of the probability that the decoder gave each; the score of a keypoint is the mean of both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUMBER = re.compile(r"0\.\d+")
LARGEST = 0.999  # three decimals of a number below 1: the parser reads nothing else
SAMPLE = "[0.000,0.000]"
"""An answer; all have its length."""


@dataclass(frozen=True)
class Answer:
    """What was read of an answer.

    Args:
        parts: x and y as parts of the crop's sides, or None where the text holds no two coordinates.
        score: 0 to 1; 0 where nothing was read.
    """

    parts: tuple[float, float] | None
    score: float


def say(parts: Sequence[float] | np.ndarray) -> str:
    """A place in words. What lies on the far edge, or beyond an edge, is said as 0.999 and 0.000.

    Raises:
        ValueError: not two finite numbers.
    """
    values = [float(value) for value in parts]
    if len(values) != 2 or not all(math.isfinite(value) for value in values):
        raise ValueError(f"parts is {values}, expected two finite numbers: x and y")
    x, y = (min(max(value, 0.0), LARGEST) for value in values)
    return f"[{x:.3f},{y:.3f}]"


def read(pieces: Sequence[str], probabilities: Sequence[float]) -> Answer:
    """Read an answer.

    Args:
        pieces: the text of each token, in order; together they are the answer.
        probabilities: of each token, 0 to 1.

    Raises:
        ValueError: not one probability for each piece.
    """
    if len(pieces) != len(probabilities):
        raise ValueError(
            f"probabilities has {len(probabilities)} entries for {len(pieces)} pieces of text"
        )
    found = list(NUMBER.finditer("".join(pieces)))[:2]
    if len(found) < 2:
        return Answer(None, 0.0)
    ends = np.cumsum([len(piece) for piece in pieces])
    starts = ends - [len(piece) for piece in pieces]
    sure = np.asarray(probabilities, np.float64)
    scores = [
        sure[(starts < match.end()) & (ends > match.start()) & (starts < ends)].mean()
        for match in found
    ]
    x, y = (float(match.group()) for match in found)
    return Answer((x, y), float(np.mean(scores)))
