"""Which model, condition and loss go together; said before anything is trained."""

from __future__ import annotations

from typing import Any


def check_parts(model: Any, condition: Any, loss: Any) -> None:
    """Refuse parts that do not go together.

    Raises:
        ValueError: says what does not fit what, and what to give instead.
    """
    if condition is not None and not hasattr(model, "prior"):
        raise ValueError(
            f"model.condition: {type(model).__name__} looks for no conditions, but got "
            f"{type(condition).__name__}; give model.condition null"
        )
    conditioned = hasattr(model, "log_expectation")
    if condition is None and conditioned:
        raise ValueError(
            f"model.condition: {type(model).__name__} must be told what to look for, but got null; "
            "give a class_path such as genloc.conditions.learned.LearnedCondition"
        )
    if loss.needs == "log_expectation" and not conditioned:
        raise ValueError(
            f"model.loss: {type(loss).__name__} needs log expectations, which {type(model).__name__} "
            "does not give; use genloc.losses.HeatmapMSE"
        )
