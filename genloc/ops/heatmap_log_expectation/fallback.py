"""The torch form of :func:`genloc.ops.heatmap_log_expectation` that runs where no kernel does.

Chosen by timing on a CPU against the reference, a batched ``autograd.Function``, one that
recomputes the logits in the backward pass, and ``scaled_dot_product_attention``:

* crop by crop (see :mod:`genloc.ops.products`), so that the logits stay in the cache;
* torch's softmax is one fused pass over a row, its logsumexp five; the log of the normaliser is
  read off the softmax at its largest entry, ``logsumexp(l) = max(l) - log(max(softmax(l)))``;
* the gradient in the logits, up to a factor per row, is left where the logits were. That keeps one
  value per logit for the backward pass (autograd keeps two); recomputing it keeps none, and takes
  half as long again;
* where calls weigh more than memory, plain autograd in as few of them as there are.
"""

from __future__ import annotations

import math
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

_FEW_LOGITS_ALONE = 2**18


def _few_calls(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
) -> Tensor:
    """In as few calls as torch has: one logsumexp over tokens and heads together."""
    log_map = logits_of(condition, latent, heads, scale).log_softmax(-1)
    target = log_target.to(log_map.dtype)[:, None]
    log_map = log_map + target if torch.is_grad_enabled() else log_map.add_(target)
    return log_map.logsumexp((1, 3)) - math.log(heads)


def _forward(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float, keep: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-expectation ``[B, K]``, shares of the heads ``[B, N, K]`` and, if ``keep``, ``Q - C``."""
    batch, tokens, _ = latent.shape
    keypoints, step = condition.shape[1], crops_per_chunk(latent)
    dtype, device = accumulation_dtype(latent.dtype), latent.device
    per_head = torch.empty(batch, heads, keypoints, 1, dtype=dtype, device=device)
    rows = batch if keep else min(step, batch)
    store = torch.empty(rows, heads, keypoints, tokens, dtype=dtype, device=device)
    shared = condition.shape[0] == 1
    scaled, target = condition.to(dtype) * scale, log_target.to(dtype)[:, None]
    for i in range(0, batch, step):
        j = min(batch, i + step)
        x = store[i:j] if keep else store[: j - i]
        logits_into(x, scaled if shared else scaled[i:j], latent[i:j].to(dtype))
        top = x.amax(-1, keepdim=True)
        c = x.softmax(-1)
        x.add_(target[i:j])
        top_target = x.amax(-1, keepdim=True)
        torch.softmax(x, -1, out=x)
        # A row without any target gives NaN in the softmax; its result is the log of nothing.
        ratio = (c.amax(-1, keepdim=True) / x.amax(-1, keepdim=True)).log_()
        per_head[i:j] = torch.where(top_target == -torch.inf, -torch.inf, top_target - top + ratio)
        if keep:
            x.sub_(c)
    merged = per_head.logsumexp(1, keepdim=True)
    share = (per_head - merged).exp_()
    return merged.flatten(1) - math.log(heads), share, store if keep else None


class _HeatmapLogExpectation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
    ) -> Tensor:
        out, share, difference = _forward(condition, latent, log_target, heads, scale, keep=True)
        ctx.save_for_backward(condition, latent, share, difference)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_out: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        condition, latent, share, difference = ctx.saved_tensors
        batch, dtype = latent.shape[0], difference.dtype
        shared, step = condition.shape[0] == 1, crops_per_chunk(latent)
        c = condition.to(dtype)
        dc = torch.zeros_like(c) if ctx.needs_input_grad[0] else None
        dz = latent.new_empty(batch, latent.shape[2], latent.shape[1])  # tokens last
        factor = share * (grad_out * ctx.scale)[:, None, :, None]
        with without_autocast(latent.device):
            for i in range(0, batch, step):
                j = min(batch, i + step)
                logits_backward(
                    difference[i:j] * factor[i:j],
                    c if shared else c[i:j],
                    latent[i:j].to(dtype),
                    grad_condition=dc if dc is None or shared else dc[i:j],
                    grad_latent=dz[i:j] if ctx.needs_input_grad[1] else None,
                )
        return (
            None if dc is None else dc.to(condition.dtype),
            dz.transpose(1, 2) if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )


def heatmap_log_expectation_fallback(
    condition: Tensor, latent: Tensor, log_target: Tensor, *, heads: int, scale: float
) -> Tensor:
    """As :func:`heatmap_log_expectation_reference`, to rounding; once differentiable.

    A ``log_target`` that asks for a gradient takes plain autograd: no training here needs it.
    """
    learns = torch.is_grad_enabled()
    few = few_calls_win(condition, latent, heads, alone=_FEW_LOGITS_ALONE)
    if few or (learns and log_target.requires_grad):
        return _few_calls(condition, latent, log_target, heads, scale)
    if learns and (condition.requires_grad or latent.requires_grad):
        return _HeatmapLogExpectation.apply(condition, latent, log_target, heads, scale)
    return _forward(condition, latent, log_target, heads, scale, keep=False)[0]
