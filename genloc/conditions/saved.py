"""Conditions as files: what each kind needs to be written, and how it comes back.

A kind is a class that `genloc.conditions` names in `__all__`. Its `facts()` are its constructor's
arguments in plain values; its tensors are its trainable parameters and the buffers it keeps with
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import genloc.conditions as kinds
from genloc.skeleton import Skeleton


def can_be_saved(condition: object) -> bool:
    """Whether this is a condition that an adapter can hold."""
    return type(condition).__name__ in kinds.__all__ and hasattr(condition, "facts")


def check_condition(condition: Any, skeleton: Skeleton, channels: int) -> None:
    """Refuse a condition that is not built for this skeleton and prior, or is of no known kind.

    Raises:
        ValueError: says what it is and what was expected.
    """
    if not can_be_saved(condition):
        raise ValueError(
            f"condition is a {type(condition).__name__}; an adapter holds one of {kinds.__all__}"
        )
    if isinstance(condition, kinds.LearnedCondition):
        weight, shape = condition.weight, (skeleton.num_keypoints, channels)
        if weight is None or tuple(weight.shape) != shape:
            got = None if weight is None else tuple(weight.shape)
            raise ValueError(f"condition.weight is {got}; this skeleton and prior need {shape}")
    elif condition.skeleton is None or condition.skeleton.keypoints != skeleton.keypoints:
        asked = None if condition.skeleton is None else list(condition.skeleton.keypoints)
        raise ValueError(
            f"condition asks for the keypoints {asked}; the skeleton has {list(skeleton.keypoints)}"
        )


def condition_facts(condition: Any) -> dict[str, Any]:
    """Its class and its arguments, for `genloc.yaml`."""
    return {"kind": type(condition).__name__, **condition.facts()}


def condition_tensors(condition: nn.Module) -> dict[str, Tensor]:
    """What is written of it, by name: all that learned, and what was measured once."""
    learned = {name: p for name, p in condition.named_parameters() if p.requires_grad}
    measured = {name: b for name, b in condition.named_buffers() if "." not in name}
    return {**learned, **measured}


def make_condition(facts: Mapping[str, Any], skeleton: Skeleton, channels: int, text: Any) -> Any:
    """A condition of these facts, built, whose tensors are still to be filled.

    Args:
        facts: of `condition_facts`; without `kind` (adapters of version 0.1) a LearnedCondition.
        text: `Prior.text`; asked only where the kind needs words.

    Raises:
        ValueError, TypeError: not the facts of a condition.
    """
    arguments = dict(facts)
    kind = arguments.pop("kind", "LearnedCondition")
    if kind not in kinds.__all__:
        raise ValueError(f"kind is {kind!r}; known are {kinds.__all__}")
    condition = getattr(kinds, kind)(**arguments)
    if kind == "LearnedCondition":  # its start is overwritten: no words are asked for it
        condition.weight = nn.Parameter(torch.empty(skeleton.num_keypoints, channels))
        return condition
    return condition.build(skeleton, channels, text, measure=False)
