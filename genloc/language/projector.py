"""From features of the image generator to the embeddings of a decoder.

Letters: B crops, C feature channels, h, w cells, E channels of the decoder's embeddings.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OCTAVES = 6


class Projector(nn.Module):
    """LocLLM's one linear layer, of features that know their places.

    Args:
        width: C. hidden: E.
        size: deviation of the decoder's own embeddings, which its outputs are to have at the start.
        seed: of its weights.
    """

    def __init__(self, width: int, hidden: int, *, size: float, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        inputs = width + 4 * OCTAVES
        with torch.device("cpu"):
            self.linear = nn.Linear(inputs, hidden)
            with torch.no_grad():
                self.linear.weight.normal_(std=size * inputs**-0.5, generator=generator)
                self.linear.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, h, w] to [B, h * w, E], float32."""
        h, w = features.shape[-2:]
        seen = features.float().flatten(2).transpose(1, 2)
        where = places(h, w, seen.device).expand(len(seen), -1, -1)
        return self.linear(torch.cat([F.layer_norm(seen, seen.shape[2:]), where], -1))


def places(h: int, w: int, device: Any = None) -> Tensor:
    """Where each of h x w cells is, [h * w, 4 * OCTAVES]: sines and cosines of y and x.

    DINOv2's tokens carry their places, so LocLLM needs no more; an image generator's know theirs from
    the zeros around the picture alone.
    """
    waves = math.pi / 2 * 2 ** torch.arange(OCTAVES, device=device)
    turns = [((torch.arange(n, device=device) + 0.5) / n)[:, None] * waves for n in (h, w)]
    ys, xs = (torch.cat([turn.sin(), turn.cos()], 1) for turn in turns)
    rows, columns = ys[:, None].expand(h, w, -1), xs[None].expand(h, w, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)
