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
    crops_per_chunk,
    few_calls_win,
    logits_backward,
    logits_into,
    logits_of,
)

_FEW_LOGITS_ALONE = 2**20


def _forward(
    condition: Tensor, latent: Tensor, heads: int, scale: float, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """The map ``[B, K, T]`` and, if ``keep``, the probabilities per head ``[B, N, K, T]``."""
    batch, tokens, _ = latent.shape
    keypoints, step = condition.shape[1], crops_per_chunk(latent)
    dtype = accumulation_dtype(latent.dtype)
    out = torch.empty(batch, keypoints, tokens, dtype=dtype, device=latent.device)
    rows = batch if keep else min(step, batch)
    store = torch.empty(rows, heads, keypoints, tokens, dtype=dtype, device=latent.device)
    shared = condition.shape[0] == 1
    scaled = condition.to(dtype) * scale
    for i in range(0, batch, step):
        j = min(batch, i + step)
        p = store[i:j] if keep else store[: j - i]
        logits_into(p, scaled if shared else scaled[i:j], latent[i:j].to(dtype))
        torch.softmax(p, -1, out=p)
        torch.mean(p, 1, out=out[i:j])
    return out, store if keep else None


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
        batch, heads, shared = latent.shape[0], p.shape[1], condition.shape[0] == 1
        c, step = condition.to(p.dtype), crops_per_chunk(latent)
        dc = torch.zeros_like(c) if ctx.needs_input_grad[0] else None
        dz = latent.new_empty(batch, latent.shape[2], latent.shape[1])  # tokens last
        g = (grad_out * (ctx.scale / heads))[:, None]
        with without_autocast(latent.device):
            for i in range(0, batch, step):
                j = min(batch, i + step)
                d = p[i:j] * g[i:j]
                d.addcmul_(p[i:j], d.sum(-1, keepdim=True), value=-1)
                logits_backward(
                    d,
                    c if shared else c[i:j],
                    latent[i:j].to(p.dtype),
                    grad_condition=dc if dc is None or shared else dc[i:j],
                    grad_latent=dz[i:j] if ctx.needs_input_grad[1] else None,
                )
        return (
            None if dc is None else dc.to(condition.dtype),
            dz.transpose(1, 2) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


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
