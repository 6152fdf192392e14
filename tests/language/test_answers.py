from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genloc.language.answers import SAMPLE, read, say

PARTS = st.floats(0, 1)


def test_a_place_is_said_with_three_decimals() -> None:
    assert say((0.5124, 0.2326)) == "[0.512,0.233]"
    assert say(np.array([0.0, 0.9996])) == "[0.000,0.999]"  # "1.000" could not be read again
    assert say((-0.001, 1.0)) == "[0.000,0.999]"
    for bad in ((0.5,), (0.5, math.nan), (math.inf, 0.5)):
        with pytest.raises(ValueError, match="two finite numbers"):
            say(bad)


@given(PARTS, PARTS)
def test_what_is_said_is_read_again_to_half_of_the_last_decimal(x: float, y: float) -> None:
    text = say((x, y))
    assert len(text) == len(SAMPLE)
    found = read(list(text), [1.0] * len(text))
    assert found.parts is not None and found.score == 1
    for part, true in zip(found.parts, (x, y), strict=True):
        assert abs(part - min(true, 0.999)) <= 0.0005 + 1e-9


@given(PARTS, PARTS, st.lists(st.integers(1, 13), max_size=5), st.data())
def test_how_a_text_is_cut_into_tokens_does_not_change_what_is_read(
    x: float, y: float, cuts: list[int], data: st.DataObject
) -> None:
    text = say((x, y))
    edges = sorted({0, len(text), *(min(c, len(text)) for c in cuts)})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    sure = data.draw(st.lists(PARTS, min_size=len(pieces), max_size=len(pieces)))
    found = read(pieces, sure)
    assert found.parts == read([text], [1.0]).parts
    assert min(sure) - 1e-9 <= found.score <= max(sure) + 1e-9


def test_the_score_is_the_mean_over_both_coordinates_tokens() -> None:
    pieces = list("[0.5,0.25]")
    # brackets and the comma do not count
    sure = [0.0, 1.0, 0.8, 0.6, 0.0, 1.0, 0.6, 0.4, 0.4, 0.0]
    found = read(pieces, sure)
    assert found.parts == (0.5, 0.25)
    assert found.score == pytest.approx(((1 + 0.8 + 0.6) / 3 + (1 + 0.6 + 0.4 + 0.4) / 4) / 2)
    # a token without text, such as an end, is no part of a coordinate
    assert read([*pieces[:4], "", *pieces[4:]], [*sure[:4], 0.0, *sure[4:]]).score == found.score


@pytest.mark.parametrize("text", ["", "[0.512]", "on the left", "[1,2]", "[.5,.5]", "0. 5 0. 5"])
def test_what_holds_no_two_coordinates_is_said_to_be_unread(text: str) -> None:
    found = read(list(text), [0.9] * len(text))
    assert found.parts is None and found.score == 0


@given(st.text(max_size=30))
def test_any_text_is_read_without_failing(text: str) -> None:
    found = read(list(text), [0.5] * len(text))
    assert found.parts is None or all(0 <= part < 1 for part in found.parts)


def test_probabilities_must_be_those_of_the_pieces() -> None:
    with pytest.raises(ValueError, match="2 entries for 1"):
        read(["[0.5,0.5]"], [1.0, 1.0])
