"""Boxes and animals are paired by overlap, none twice, in their own picture and category."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from genloc.metrics.matching import match_boxes

BOX = (0.0, 0.0, 10.0, 10.0)


def test_the_best_overlap_comes_first() -> None:
    animals = [(1, 1, BOX), (1, 1, (2.0, 0.0, 10.0, 10.0))]
    # The first box overlaps both animals, and the second one more: 2/3 and 1 against 1 and 2/3.
    boxes = [(1, 1, (2.0, 0.0, 10.0, 10.0)), (1, 1, (1.0, 0.0, 10.0, 10.0))]
    assert match_boxes(boxes, animals) == {1: 0, 0: 1}


def test_not_in_another_picture_or_category_nor_with_too_little() -> None:
    for box in ((2, 1, BOX), (1, 8, BOX), (1, 1, (5.1, 0.0, 10.0, 10.0))):
        assert match_boxes([box], [(1, 1, BOX)]) == {}
    assert match_boxes([(1, 1, (0.0, 0.0, 10.0, 5.0))], [(1, 1, BOX)]) == {0: 0}  # just half


def test_none_of_either() -> None:
    assert match_boxes([], [(1, 1, BOX)]) == match_boxes([(1, 1, BOX)], []) == {}


corner = st.integers(0, 6)
places = st.lists(
    st.tuples(st.integers(1, 2), st.just(1), st.tuples(corner, corner, st.just(8), st.just(8))),
    max_size=4,
)


def overlap(a: tuple, b: tuple) -> float:
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    both = max(sides[0], 0) * max(sides[1], 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


@given(places, places)
def test_it_is_stable(boxes: list, animals: list) -> None:
    """No animal and box would both rather have each other (a stable matching), none is used twice."""
    pairs = match_boxes(boxes, animals)
    assert len(set(pairs.values())) == len(pairs)
    taken = {d: n for n, d in pairs.items()}
    for n, animal in enumerate(animals):
        for d, box in enumerate(boxes):
            if animal[0] != box[0] or (value := overlap(animal[2], box[2])) < 0.5:
                assert pairs.get(n) != d
                continue
            mine = overlap(animal[2], boxes[pairs[n]][2]) if n in pairs else 0
            theirs = overlap(animals[taken[d]][2], box[2]) if d in taken else 0
            assert max(mine, theirs) >= value - 1e-12


@given(places, st.permutations(range(4)))
def test_the_order_of_the_boxes_is_nothing_to_it(animals: list, order: list[int]) -> None:
    """Where each box is one animal's own."""
    distinct = [animal for i, animal in enumerate(animals) if animal not in animals[:i]]
    turned = [distinct[i] for i in order if i < len(distinct)]
    assert match_boxes(turned, distinct) == {n: turned.index(a) for n, a in enumerate(distinct)}
