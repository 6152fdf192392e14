"""What a training batch asks for: all keypoints, or, where the condition draws, some in drawn words."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genloc.data.batch import sample_generator
from genloc.inference import condition_of

WORDS = 2  # the purpose of these draws: 0 is augmentation, 1 the latent's noise


def ask(
    condition: Any, batch: dict[str, Tensor], *, seed: int, epoch: int, model: Any = None
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The conditions of a training batch, and the batch with the labels of what is asked.

    `model` is needed by a condition that reads supports (see `condition_of`).

    A condition with a method `draw` (`TextCondition`) chooses for each crop; what it draws is a
    function of (seed, epoch, annotation id) and of which keypoints are visible alone.

    Returns:
        conditions [B or 1, M, C] (None without a condition), and the batch with `points` [B, M, 2] and
        `visible` [B, M] of these M keypoints.
    """
    if not hasattr(condition, "draw"):
        return condition_of(model, condition, batch), batch
    ids = batch["annotation_id"].tolist()
    generators = [sample_generator(seed, epoch, i, purpose=WORDS) for i in ids]
    conditions, index = condition.draw(generators, batch["visible"])
    points = batch["points"].gather(1, index[..., None].expand(-1, -1, 2))
    return conditions, batch | {"points": points, "visible": batch["visible"].gather(1, index)}
