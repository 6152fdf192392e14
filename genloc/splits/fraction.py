"""Scarce labels: a part of the pictures of each species."""

from __future__ import annotations

import math

from genloc.splits.order import shuffled
from genloc.splits.source import Source
from genloc.splits.split import Part, Split


def fraction(source: Source, part: float, seed: int = 0) -> Split:
    """That part of each species' pictures, rounded up, with every labelled animal on them.

    Nested: with the same seed, a smaller fraction is part of a larger one.

    Raises:
        ValueError: the part is not above 0 and at most 1.
    """
    if not 0 < part <= 1:
        raise ValueError(f"fraction is {part}, expected above 0 and at most 1")
    chosen: set[int] = set()
    for images in source.images_of.values():
        # 0.1 of 30 is 3, though 0.1 * 30 is a little more in floating point.
        chosen.update(shuffled(images, seed)[: math.ceil(round(part * len(images), 6))])
    return Split("fraction", {"part": part}, seed, {"train": Part.of_images(source, chosen)})
