"""What a training batch asks for: all keypoints, or, where the condition draws, some in drawn words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from genloc.data.batch import sample_generators
from genloc.inference import condition_of

WORDS = 2  # the purpose of these draws: 0 is augmentation, 1 the latent's noise
TALK = 3  # of a language model's questions


def ask(
    condition: Any,
    batch: dict[str, Tensor],
    *,
    seed: int,
    epoch: int | Sequence[int],
    model: Any = None,
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The conditions of a training batch, and the batch with the labels of what is asked.

    `model` is needed by a condition that reads supports (see `condition_of`).

    A condition with a method `draw` (`TextCondition`) chooses for each crop; what it draws is a
    function of (seed, epoch, annotation id) and of which keypoints are visible alone; `epoch` is one number
    or one for each crop.

    Returns:
        conditions [B or 1, M, C] (None without a condition), and the batch with `points` [B, M, 2] and
        `visible` [B, M] of these M keypoints.
    """
    if not hasattr(condition, "draw"):
        return condition_of(model, condition, batch), batch
    generators = sample_generators(seed, epoch, batch["annotation_id"].tolist(), WORDS)
    conditions, index = condition.draw(generators, batch["visible"])
    points = batch["points"].gather(1, index[..., None].expand(-1, -1, 2))
    return conditions, batch | {"points": points, "visible": batch["visible"].gather(1, index)}


def answer_loss(
    model: Any,
    loss: Any,
    batch: dict[str, Tensor],
    seed: int,
    epoch: int | Sequence[int],
    given: dict[str, Any],
) -> Tensor:
    """The loss of a language model that is asked about the crops of a batch.

    Args:
        model: has `answers`, as `genloc.language.model.KeypointLM`.
        loss: of its logits and labels, such as `genloc.losses.AnswerLoss`.
        seed, epoch: what is asked is a function of these, the annotation's id and what is visible alone.
        given: `latent` and `front` of the crops, where they are kept.
    """
    generators = sample_generators(seed, epoch, batch["annotation_id"].tolist(), TALK)
    image, size = batch["image"], batch["image"].shape[-1]
    seen = None if given else image
    logits, labels, owner = model.answers(
        seen, batch["points"], batch["visible"], size, generators, **given
    )
    return loss(logits, labels, owner, len(image))
