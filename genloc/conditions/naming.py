"""Identify, then detect: a condition made from an example is first named, then asked for with its name.

A picture of a paw looks like the other three; its name does not. So what an example (`VisualCondition`)
asks for is matched with the conditions of candidate names (`TextCondition`, or learned ones), and
the names' own conditions, each by how well it fits, are added:

    p_i = softmax_i(cos(c_visual, c_name_i) / temperature)
    c   = c_visual + gate * sum_i p_i c_name_i

Where the support picture is at hand, `GenLoc.identify` at the support's points gives better p: there
the picture answers, and not the vector made from it. Everything here works on conditions alone.

Letters: B crops, M keypoints of the example, N candidate names, C condition channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Naming(nn.Module):
    """Names for conditions made from examples. Two numbers learn; what they name with is given.

    Args:
        gate: at the start; 0 leaves the examples' conditions as they are.
        temperature: at the start.

    Raises:
        ValueError: a temperature that is not above 0.
    """

    def __init__(self, gate: float = 1.0, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature}: expected above 0")
        self.gate = nn.Parameter(torch.tensor(float(gate)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def similarity(self, visual: Tensor, names: Tensor) -> Tensor:
        """Logits: cosine of each example with each name over the temperature, [B, M, N].

        Args:
            visual: [B or 1, M, C]. names: [B or 1, N, C].

        Raises:
            ValueError: they are no conditions of one model.
        """
        if visual.ndim != 3 or names.ndim != 3 or visual.shape[-1] != names.shape[-1]:
            raise ValueError(
                f"visual is {list(visual.shape)} and names {list(names.shape)}; expected [B, M, C], [B, N, C]"
            )
        cosine = F.normalize(visual, dim=-1) @ F.normalize(names, dim=-1).transpose(1, 2)
        return cosine / self.log_temperature.exp()

    def forward(
        self, visual: Tensor, names: Tensor, probability: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The examples' conditions with their names' added, [B, M, C], and the probabilities [B, M, N].

        Args:
            visual, names: as in `similarity`.
            probability: [B, M, N] of `GenLoc.identify` where the support picture was asked; None names
                by similarity.

        Raises:
            ValueError: a probability of another shape.
        """
        if probability is None:
            probability = self.similarity(visual, names).softmax(-1)
        wanted = (visual.shape[1], names.shape[1])
        if probability.ndim != 3 or probability.shape[1:] != wanted:
            raise ValueError(
                f"probability is {list(probability.shape)}; expected [B, {wanted[0]}, {wanted[1]}]"
            )
        return visual + self.gate * (probability @ names), probability

    def contrast(self, visual: Tensor, names: Tensor, index: Tensor, visible: Tensor) -> Tensor:
        """InfoNCE: the mean of -log p of each visible example's own name, a scalar; 0 if none is visible.

        Args:
            visual, names: as in `similarity`.
            index: int64 [B, M], which of the N names each example has.
            visible: bool [B, M].
        """
        log_p = self.similarity(visual, names).log_softmax(-1)
        own = log_p.gather(-1, index[..., None])[..., 0]
        return -(own * visible).sum() / visible.sum().clamp(min=1)
