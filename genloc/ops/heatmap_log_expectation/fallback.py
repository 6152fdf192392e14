"""The torch form of :func:`genloc.ops.heatmap_log_expectation` that runs where no kernel does.

Chosen by timing on a CPU against the reference, a batched ``autograd.Function``, one that
recomputes the logits in the backward pass, and ``scaled_dot_product_attention``:

* crop by crop, and of large crops a few heads at a time (see :mod:`genloc.ops.products`), so that
  the logits stay in the cache;
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
    Gradients,
    chunks,
    few_calls_win,
    logits_by_chunk,
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
    keypoints, dtype = condition.shape[1], accumulation_dtype(latent.dtype)
    per_head = torch.empty(batch, heads, keypoints, 1, dtype=dtype, device=latent.device)
    store = per_head.new_empty(batch, heads, keypoints, tokens) if keep else None
    target = log_target.to(dtype)[:, None]
    for crops, several, x in logits_by_chunk(condition, latent, heads, scale, store):
        top = x.amax(-1, keepdim=True)
        p = x.softmax(-1)
        x.add_(target[crops])
        top_target = x.amax(-1, keepdim=True)
        torch.softmax(x, -1, out=x)
        # A row without any target gives NaN in the softmax; its result is the log of nothing.
        ratio = (p.amax(-1, keepdim=True) / x.amax(-1, keepdim=True)).log_()
        per_head[crops, several] = torch.where(
            top_target == -torch.inf, -torch.inf, top_target - top + ratio
        )
        if keep:
            x.sub_(p)
    merged = per_head.logsumexp(1, keepdim=True)
    share = (per_head - merged).exp_()
    return merged.flatten(1) - math.log(heads), share, store


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
        heads = difference.shape[1]
        wanted = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        gradients = Gradients(condition, latent, heads, difference.dtype, wanted)
        factor = share * (grad_out * ctx.scale)[:, None, :, None]
        with without_autocast(latent.device):
            for crops, several in chunks(condition, latent, heads):
                part = difference[crops, several] * factor[crops, several]
                gradients.add(part, crops, several)
        return (*gradients.result(), None, None, None)


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
