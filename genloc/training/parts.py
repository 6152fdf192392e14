"""Which model, condition and loss go together; said before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any


def reads_support(condition: Any) -> bool:
    """Whether a condition is made from labelled support pictures."""
    return getattr(condition, "reads_support", False)


def check_parts(
    model: Any,
    condition: Any,
    loss: Any,
    *,
    episodes: bool | None = None,
    flip_test: bool = False,
    held_out: Sequence[str] | None = None,
) -> None:
    """Refuse parts that do not go together.

    Args:
        model, condition, loss: the parts.
        episodes: whether the data shows supports with each crop; None where that is not known.
        flip_test: whether evaluation averages with mirrored crops.
        held_out: keypoints that the data has labels of for the test alone; None where that is not known.

    Raises:
        ValueError: says what does not fit what, and what to give instead.
    """
    name = type(model).__name__
    conditioned = "condition" in inspect.signature(model.forward).parameters
    if condition is not None and not conditioned:
        raise ValueError(
            f"model.condition: {name} looks for no conditions, but got {type(condition).__name__}; "
            "give model.condition null"
        )
    if condition is None and conditioned:
        raise ValueError(
            f"model.condition: {name} must be told what to look for, but got null; "
            "give a class_path such as genloc.conditions.learned.LearnedCondition"
        )
    shown = reads_support(condition)
    if episodes is not None and shown != episodes:
        what = type(condition).__name__
        raise ValueError(
            f"model.condition: {what} looks for what support pictures show, but data.episodes is null; "
            "give data.episodes, such as {shots: 1}"
            if shown
            else f"data.episodes: support pictures are given, but the condition {what} does not read "
            "them; use genloc.conditions.visual.VisualCondition, or data.episodes null"
        )
    if shown and (getattr(model, "context", None) != "null" or model.noise):
        raise ValueError(
            f"model.condition: {type(condition).__name__} compares features, which must not depend on "
            'what is asked for or on noise; set model.model.init_args.context to "null" and noise to false'
        )
    asked = hasattr(condition, "draw")  # by words, which all keypoints share
    if asked and getattr(model, "context", None) != "null":
        raise ValueError(
            f"model.condition: with {type(condition).__name__} what is found must not depend on what else is "
            'asked; set model.model.init_args.context to "null" (lay configs/words/text.yaml over the others)'
        )
    if held_out and condition is not None and not (asked or shown):
        raise ValueError(
            f"model.condition: {type(condition).__name__} learns a vector for each keypoint, and those of "
            f"{', '.join(held_out)}, which the split holds out, would stay as they are; ask by words "
            "(configs/words/text.yaml)"
        )
    unspoken = getattr(condition, "held_out", None) or ()
    held = tuple(dict.fromkeys((*unspoken, *(held_out or ()))))
    if flip_test and held:
        raise ValueError(
            f"model.flip_test: in a mirrored crop the keypoints held out, {', '.join(held)}, are found "
            "by their partners, which are trained; set it to false"
        )
    if asked and held_out is not None and set(unspoken) != set(held_out):
        words, labels = (", ".join(names) or "none" for names in (unspoken, held_out))
        raise ValueError(
            f"model.condition.init_args.held_out: training does not speak of {words}, but the keypoints without labels "
            f"in train and val are {labels}. Labels in val would choose the checkpoint, and phrases about others "
            "would speak of what is held out; hold the same out of both (lay configs/words/held_out.yaml over the "
            "others, with --data.split FILE of `genloc split held-out`)"
        )
    speaks = hasattr(model, "answers")
    if speaks != (loss.needs == "answers"):
        raise ValueError(
            f"model.loss: {name} answers in words; use genloc.losses.AnswerLoss, not {type(loss).__name__}"
            if speaks
            else f"model.loss: {type(loss).__name__} needs answers in words, which {name} does not give"
        )
    if loss.needs == "log_expectation" and not hasattr(model, "log_expectation"):
        raise ValueError(
            f"model.loss: {type(loss).__name__} needs log expectations, which {name} does not give; "
            "use genloc.losses.HeatmapMSE"
        )
