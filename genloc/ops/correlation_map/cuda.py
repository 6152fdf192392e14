"""The CUDA form of :func:`genloc.ops.correlation_map`, registered with ``torch.library``.

``genloc::correlation_map`` and ``genloc::correlation_map_backward`` are what a compiler sees. On a
CUDA device they launch ``kernel.cu``; elsewhere, and where the kernel cannot be compiled, the same
quantities come from torch.

Memory beside inputs and results: two numbers per crop, head and keypoint, two more per block
of tokens; in the backward pass the condition's gradient per block of tokens.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genloc.ops import extension, launches
from genloc.ops.precision import accumulation_dtype, without_autocast
from genloc.ops.products import logits_gradients, logits_of

OP = "correlation_map"


def kernel_forward(
    condition: Tensor, latent: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Maps ``[B, K, T]``, and largest logits and sums of the heads, ``[2, B, N, K]``."""
    task = launches.task(OP, condition, latent, None, heads, scale)
    batch, _, keypoints, tokens = task.sizes
    out = launches.empty(batch, keypoints, tokens, like=latent)
    statistics = launches.empty(2, batch, heads, keypoints, like=latent)
    if batch == 0:
        return out, statistics
    splits, step = task.cut()
    partial = launches.empty(batch, heads, keypoints, splits, 2, like=latent)
    blocks = batch * splits * task.groups * heads
    task.run("map_sums", blocks, None, (task.groups, splits, step), partial)
    count = batch * heads * keypoints
    task.run_small(
        "map_merge", launches.ceil_div(count, 128), 128, 0, partial, splits, count, statistics
    )
    tiles = launches.ceil_div(tokens, task.tile_tokens)
    cut = (task.groups, tiles, task.tile_tokens)
    task.run("map_write", batch * tiles * task.groups, None, cut, statistics, count, out)
    return out, statistics


def kernel_backward(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """Gradients in condition and latent by the kernel; empty where not wanted."""
    task = launches.task(OP, condition, latent, upstream, heads, scale)
    batch, _, keypoints, _ = task.sizes
    dc, dz = None, None
    if batch == 0:
        dc, dz = torch.zeros_like(condition), torch.zeros_like(latent)
    else:
        plane = task.plane
        assert plane is not None
        splits, step = task.cut()
        dots = launches.empty(batch, heads, keypoints, splits, like=latent)
        blocks = batch * splits * task.groups * heads
        count = batch * heads * keypoints
        cut = (task.groups, splits, step)
        task.run("map_dots", blocks, plane, cut, statistics, count, dots)
        terms: list[launches.Argument] = [statistics, count, dots, splits, float(scale)]
        dc, dz = task.gradients("map", plane, terms, condition=wanted[0], latent=wanted[1])
    nothing = latent.new_empty(0)
    return (
        dc if dc is not None and wanted[0] else nothing,
        dz if dz is not None and wanted[1] else nothing.clone(),
    )


def torch_forward(
    condition: Tensor, latent: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    """As :func:`kernel_forward`, by torch on any device."""
    with without_autocast(latent.device):
        logits = logits_of(condition, latent, heads, scale)
        top = logits.amax(-1)
        total = (logits - top[..., None]).exp().sum(-1)
        return logits.softmax(-1).mean(1), torch.stack([top / math.log(2), total])


def torch_backward(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """As :func:`kernel_backward`, by torch on any device."""
    with without_autocast(latent.device):
        logits = logits_of(condition, latent, heads, scale)
        dtype = logits.dtype
        top, total = statistics.to(dtype)[..., None]
        c = (logits - top * math.log(2)).exp() / total
        up = upstream.to(dtype)[:, None]
        grad = c * (up - (c * up).sum(-1, keepdim=True)) * (scale / heads)
        return logits_gradients(grad, condition, latent, wanted)


@torch.library.custom_op("genloc::correlation_map", mutates_args=())
def forward_op(
    condition: Tensor, latent: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Maps ``[B, K, T]``, and largest logits and sums of the heads, ``[2, B, N, K]``."""
    return torch_forward(condition, latent, heads, scale)


@forward_op.register_kernel("cuda")
def _forward_on_cuda(
    condition: Tensor, latent: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    return extension.kernel_or_torch(
        OP, kernel_forward, torch_forward, condition, latent, heads, scale
    )


@forward_op.register_fake
def _(condition: Tensor, latent: Tensor, heads: int, scale: float) -> tuple[Tensor, Tensor]:
    dtype = accumulation_dtype(latent.dtype)
    batch, keypoints, tokens = latent.shape[0], condition.shape[1], latent.shape[1]
    return (
        latent.new_empty(batch, keypoints, tokens, dtype=dtype),
        latent.new_empty(2, batch, heads, keypoints, dtype=dtype),
    )


@torch.library.custom_op("genloc::correlation_map_backward", mutates_args=())
def backward_op(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """Gradients in condition and latent; empty where not wanted."""
    return torch_backward(upstream, condition, latent, statistics, heads, scale, wanted)


@backward_op.register_kernel("cuda")
def _backward_on_cuda(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    arguments = (upstream, condition, latent, statistics, heads, scale, wanted)
    return extension.kernel_or_torch(OP, kernel_backward, torch_backward, *arguments)


@backward_op.register_fake
def _(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    return (
        condition.new_empty(condition.shape if wanted[0] else 0),
        latent.new_empty(latent.shape if wanted[1] else 0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    condition, latent, ctx.heads, ctx.scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(condition, latent, output[1])


def _backward(ctx: Any, upstream: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    condition, latent, statistics = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:2])
    gradients = backward_op(upstream, condition, latent, statistics, ctx.heads, ctx.scale, wanted)
    given = (g if want else None for g, want in zip(gradients, wanted, strict=True))
    return (*given, None, None)


forward_op.register_autograd(_backward, setup_context=_setup_context)
