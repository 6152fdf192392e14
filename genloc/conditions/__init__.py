"""What to look for: every kind of prompt becomes conditions ``[B or 1, K, C]``."""

from __future__ import annotations

from genloc.conditions.learned import LearnedCondition
from genloc.conditions.text import TextCondition
from genloc.conditions.visual import VisualCondition

__all__ = ["LearnedCondition", "TextCondition", "VisualCondition"]
