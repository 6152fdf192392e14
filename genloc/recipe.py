"""How a trained localizer is used: the recipe in its adapter, checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from genloc.adapter import AdapterError
from genloc.inference import Decoding


@dataclass(frozen=True)
class Recipe:
    """What it takes to use a localizer as it was trained.

    Args:
        crop_size: side of a square crop in pixels.
        padding: side of a crop over the longer side of its box.
        decoding: how a map becomes a point.
        flip_test: whether it was evaluated with mirrored crops, too.
        seed: of the noise.
    """

    crop_size: int
    padding: float
    decoding: Decoding = "centroid"
    flip_test: bool = False
    seed: int = 0


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _positive(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 < value < math.inf


# Field -> whether a value fits it, and in words what does. The last two are null in some older adapters.
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "crop_size": (lambda v: _whole(v, 1), "a whole number of pixels above 0"),
    "padding": (_positive, "a number above 0"),
    "decoding": (lambda v: v in get_args(Decoding), "centroid, argmax or quarter"),
    "flip_test": (lambda v: v is None or isinstance(v, bool), "true or false"),
    "seed": (lambda v: v is None or _whole(v, 0), "a whole number from 0"),
}


def read_recipe(
    facts: Any,
    file: Path,
    model: Any,
    *,
    wanted: Sequence[str] = ("crop_size", "padding", "decoding"),
) -> Recipe:
    """The recipe of an adapter.

    Args:
        facts: `recipe` of its yaml; what else it holds is left alone.
        file: that yaml, for messages.
        model: the loaded localizer, which must be able to read the crops.
        wanted: fields that must be there.

    Raises:
        AdapterError: fields that are missing, or values that cannot be used.
    """
    if not isinstance(facts, dict):
        raise AdapterError(f"{file}: recipe is {facts!r}, expected its fields {list(wanted)}")
    if lacking := [repr(name) for name in wanted if name not in facts]:
        raise AdapterError(
            f"{file}: recipe lacks {', '.join(lacking)}, without which the adapter cannot be used"
        )
    given = {name: facts[name] for name in _FIELDS if name in facts}
    for name, value in given.items():
        fits, expected = _FIELDS[name]
        if not fits(value):
            raise AdapterError(f"{file}: recipe.{name} is {value!r}, expected {expected}")
    if why := why_no_crops(model, given["crop_size"]):
        raise AdapterError(f"{file}: recipe.crop_size is {why}")
    return Recipe(**{name: value for name, value in given.items() if value is not None})


def why_no_crops(model: Any, crop_size: int) -> str | None:
    """Why a loaded model cannot read crops of this side in pixels, and which size near it it can; None where
    it can, or does not say.
    """
    if not callable(getattr(model, "map_size", None)):
        return None

    def refused(size: int) -> str | None:
        try:
            model.map_size(torch.empty(0, 3, size, size))
        except ValueError as error:
            return str(error)
        return None

    if (why := refused(crop_size)) is None:
        return None
    fitting = [size for size in range(1, crop_size + 256) if refused(size) is None]
    near = min(fitting, key=lambda size: abs(size - crop_size), default=None)
    return f"{crop_size}: {why}" + ("" if near is None else f"; {near} would do")
