"""Conditions that are learned: one vector per keypoint, as the paper has them.

Letters: ``K`` keypoints, ``C`` condition channels (768 in Stable Diffusion 1.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from genloc.skeleton import Skeleton


class LearnedCondition(nn.Module):
    """One trainable vector per keypoint, shared by all images.

    The constructor is light: how many vectors and how long they are is known only with the skeleton
    and the prior, so :meth:`build` makes them.

    Args:
        init: "normal", every value from N(0, 1); or "text", the text encoder's embedding of the
            keypoint's name.

    Raises:
        ValueError: another init.
    """

    weight: nn.Parameter | None  # [K, C] float32

    def __init__(self, init: Literal["normal", "text"] = "normal") -> None:
        super().__init__()
        if init not in ("normal", "text"):
            raise ValueError(f'init: expected "normal" or "text", got {init!r}')
        self.init = init
        self.register_parameter("weight", None)

    def build(
        self,
        skeleton: Skeleton,
        channels: int,
        text_embedding: Callable[[list[str]], Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Make ``weight`` ``[K, C]``, float32, on the generator's or the embedding's device.

        Building again for the same shape keeps the weight as it is: trainers configure a model more
        than once.

        Args:
            skeleton: its names are the keypoints, K of them.
            channels: ``C``.
            text_embedding: K phrases -> ``[K, C]``; needed by ``init="text"`` alone.
            generator: source of the normal numbers; torch's global one if None.

        Raises:
            ValueError: already built for another shape; no text_embedding, or one of another shape.
        """
        shape = (len(skeleton.keypoints), channels)
        if self.weight is not None:
            if tuple(self.weight.shape) != shape:
                raise ValueError(
                    f"build: these conditions are {tuple(self.weight.shape)} already, asked for "
                    f"{shape}; make a new LearnedCondition for another skeleton or prior"
                )
            return self
        if self.init == "normal":
            device = None if generator is None else generator.device
            weight = torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
        else:
            if text_embedding is None:
                raise ValueError(
                    'text_embedding: init="text" needs the prior\'s text encoder, got None; '
                    'load a prior that has one or use init="normal"'
                )
            # Underscores are no words: "left_front_paw" is asked for as "left front paw".
            phrases = [" ".join(name.lower().split("_")) for name in skeleton.keypoints]
            weight = text_embedding(phrases).detach().to(torch.float32, copy=True)
            if tuple(weight.shape) != shape:
                raise ValueError(
                    f"text_embedding: expected {shape} for {shape[0]} phrases, "
                    f"got {tuple(weight.shape)}"
                )
        self.weight = nn.Parameter(weight)
        return self

    def forward(self) -> Tensor:
        """The conditions ``[1, K, C]``, float32, shared by all crops.

        Raises:
            RuntimeError: not built yet.
        """
        if self.weight is None:
            raise RuntimeError("LearnedCondition has no vectors yet; call build() first")
        return self.weight[None]

    def facts(self) -> dict[str, Any]:
        """The constructor's arguments, plain values."""
        return {"init": self.init}

    def extra_repr(self) -> str:
        shape = "not built" if self.weight is None else str(tuple(self.weight.shape))
        return f"init={self.init!r}, {shape}"
