"""The torch form of :func:`genloc.ops.correlation_map` that runs where no kernel does.

Chosen by timing on a CPU: crop by crop (see :mod:`genloc.ops.products`), the softmax in place, and
the probabilities kept for the backward pass as autograd itself would keep them. A single crop, or a
few very small ones, take the reference's steps in fewer calls.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genloc.ops.precision import accumulation_dtype, without_autocast
from genloc.ops.products import (
    Gradients,
    chunks,
    few_calls_win,
    logits_by_chunk,
    logits_of,
)

_FEW_LOGITS_ALONE = 2**20


def _forward(
    condition: Tensor, latent: Tensor, heads: int, scale: float, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """The map ``[B, K, T]`` and, if ``keep``, the probabilities per head ``[B, N, K, T]``."""
    batch, tokens, _ = latent.shape
    keypoints, dtype = condition.shape[1], accumulation_dtype(latent.dtype)
    out = torch.empty(batch, keypoints, tokens, dtype=dtype, device=latent.device)
    store = out.new_empty(batch, heads, keypoints, tokens) if keep else None
    for crops, several, p in logits_by_chunk(condition, latent, heads, scale, store):
        torch.softmax(p, -1, out=p)
        if several.start == 0:
            torch.sum(p, 1, out=out[crops])
        else:
            out[crops] += p.sum(1)
        if several.stop == heads:
            out[crops] /= heads
    return out, store


class _CorrelationMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, condition: Tensor, latent: Tensor, heads: int, scale: float) -> Tensor:
        out, probabilities = _forward(condition, latent, heads, scale, keep=True)
        ctx.save_for_backward(condition, latent, probabilities)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        condition, latent, p = ctx.saved_tensors
        heads = p.shape[1]
        wanted = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        gradients = Gradients(condition, latent, heads, p.dtype, wanted)
        g = (grad_out * (ctx.scale / heads))[:, None]
        with without_autocast(latent.device):
            for crops, several in chunks(condition, latent, heads):
                part = p[crops, several]
                d = part * g[crops]
                d.addcmul_(part, d.sum(-1, keepdim=True), value=-1)
                gradients.add(d, crops, several)
        return (*gradients.result(), None, None)


def correlation_map_fallback(
    condition: Tensor, latent: Tensor, *, heads: int, scale: float
) -> Tensor:
    """As :func:`correlation_map_reference`, to rounding; once differentiable."""
    learns = torch.is_grad_enabled() and (condition.requires_grad or latent.requires_grad)
    alone = _FEW_LOGITS_ALONE if learns else sys.maxsize  # nothing to keep: one crop is one chunk
    if few_calls_win(condition, latent, heads, alone=alone):
        logits = logits_of(condition, latent, heads, scale)
        p = logits.softmax(-1) if learns else torch.softmax(logits, -1, out=logits)
        return p.mean(1)
    if learns:
        return _CorrelationMap.apply(condition, latent, heads, scale)
    return _forward(condition, latent, heads, scale, keep=False)[0]
