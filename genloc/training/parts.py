"""Which model, condition and loss go together; said before anything is trained."""

from __future__ import annotations

import inspect
from typing import Any


def check_parts(model: Any, condition: Any, loss: Any) -> None:
    """Refuse parts that do not go together.

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
    if loss.needs == "log_expectation" and not hasattr(model, "log_expectation"):
        raise ValueError(
            f"model.loss: {type(loss).__name__} needs log expectations, which {name} does not give; "
            "use genloc.losses.HeatmapMSE"
        )
