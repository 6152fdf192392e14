"""The CUDA form of :func:`genloc.ops.heatmap_log_expectation`, registered with ``torch.library``.

``genloc::heatmap_log_expectation`` and ``genloc::heatmap_log_expectation_backward`` are what a
compiler sees: two ops with shapes it can compute with. On a CUDA device they launch ``kernel.cu``;
elsewhere, and where the kernel cannot be compiled, the same quantities come from torch.

Memory beside inputs and results: three statistics per crop, head and keypoint; in the forward pass
four more per block of tokens, in the backward pass the condition's gradient per block of tokens.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genloc.ops import extension, launches
from genloc.ops.precision import accumulation_dtype, without_autocast
from genloc.ops.products import logits_gradients, logits_of

OP = "heatmap_log_expectation"


def kernel_forward(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Log-expectation ``[B, K]`` and statistics ``[3, B, N, K]`` by the kernel."""
    task = launches.task(OP, condition, latent, log_target, heads, scale)
    batch, _, keypoints, _ = task.sizes
    out = launches.empty(batch, keypoints, like=latent)
    statistics = launches.empty(3, batch, heads, keypoints, like=latent)
    if batch == 0:
        return out, statistics
    splits, step = task.cut()
    partial = launches.empty(batch, heads, keypoints, splits, 4, like=latent)
    blocks = batch * splits * task.groups * heads
    cut = (task.groups, splits, step)
    task.run("expectation_sums", blocks, task.plane, cut, partial)
    count = batch * keypoints
    task.run_small(
        "expectation_merge",
        launches.ceil_div(count, 4),
        128,
        0,
        *(partial, splits, heads, keypoints, count, statistics, out),
    )
    return out, statistics


def kernel_backward(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    log_target: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in condition, latent and log-target by the kernel; empty where not wanted."""
    task = launches.task(OP, condition, latent, log_target, heads, scale)
    batch, _, keypoints, tokens = task.sizes
    if batch == 0:
        inputs = zip((condition, latent, log_target), wanted, strict=True)
        return _three(*(torch.zeros_like(x) if want else x.new_empty(0) for x, want in inputs))
    upstream = upstream.float().contiguous()
    plane = task.plane
    assert plane is not None
    dc, dz, dt = None, None, None
    if wanted[0] or wanted[1]:
        terms: list[launches.Argument] = [
            upstream,
            statistics,
            batch * heads * keypoints,
            float(scale),
        ]
        dc, dz = task.gradients("expectation", plane, terms, condition=wanted[0], latent=wanted[1])
    if wanted[2]:
        dt = launches.empty(batch, keypoints, tokens, like=latent)
        tiles = launches.ceil_div(tokens, task.tile_tokens)
        task.run(
            "expectation_target_gradient",
            batch * tiles * task.groups,
            plane,
            (task.groups, tiles, task.tile_tokens),
            *(upstream, statistics, batch * heads * keypoints, dt),
        )
        dt = dt.to(log_target.dtype)
    made = zip((dc, dz, dt), (condition, latent, log_target), strict=True)
    return _three(*(x.new_empty(0) if g is None else g for g, x in made))


def _three(*gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = gradients
    return first, second, third


def torch_forward(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    """As :func:`kernel_forward`, by torch on any device."""
    with without_autocast(latent.device):
        logits = logits_of(condition, latent, heads, scale)
        norm = logits.logsumexp(-1)
        goal = (logits + log_target.to(logits.dtype)[:, None]).logsumexp(-1)
        merged = (goal - norm).logsumexp(1, keepdim=True)
        share = (goal - norm - merged).exp()
        out = merged[:, 0] - math.log(heads)
        return out, torch.stack([norm / math.log(2), goal / math.log(2), share])


def torch_backward(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    log_target: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`kernel_backward`, by torch on any device."""
    with without_autocast(latent.device):
        logits = logits_of(condition, latent, heads, scale)
        dtype = logits.dtype
        norm, goal, share = statistics.to(dtype)[..., None]
        factor = share * upstream.to(dtype)[:, None, :, None]
        c = (logits - norm * math.log(2)).exp()
        q = (logits + log_target.to(dtype)[:, None] - goal * math.log(2)).exp()
        dc, dz = logits_gradients(factor * scale * (q - c), condition, latent, wanted)
        dt = (factor * q).sum(1).to(log_target.dtype) if wanted[2] else log_target.new_empty(0)
        return dc, dz, dt


@torch.library.custom_op("genloc::heatmap_log_expectation", mutates_args=())
def forward_op(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Log-expectation ``[B, K]`` and statistics ``[3, B, N, K]``."""
    return torch_forward(condition, latent, log_target, heads, scale)


@forward_op.register_kernel("cuda")
def _forward_on_cuda(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    return extension.kernel_or_torch(
        OP, kernel_forward, torch_forward, condition, latent, log_target, heads, scale
    )


@forward_op.register_fake
def _(
    condition: Tensor, latent: Tensor, log_target: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor]:
    dtype = accumulation_dtype(latent.dtype)
    batch, keypoints = latent.shape[0], condition.shape[1]
    return (
        latent.new_empty(batch, keypoints, dtype=dtype),
        latent.new_empty(3, batch, heads, keypoints, dtype=dtype),
    )


@torch.library.custom_op("genloc::heatmap_log_expectation_backward", mutates_args=())
def backward_op(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    log_target: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in condition, latent and log-target; empty where not wanted."""
    return torch_backward(upstream, condition, latent, log_target, statistics, heads, scale, wanted)


@backward_op.register_kernel("cuda")
def _backward_on_cuda(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    log_target: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    arguments = (upstream, condition, latent, log_target, statistics, heads, scale, wanted)
    return extension.kernel_or_torch(OP, kernel_backward, torch_backward, *arguments)


@backward_op.register_fake
def _(
    upstream: Tensor,
    condition: Tensor,
    latent: Tensor,
    log_target: Tensor,
    statistics: Tensor,
    heads: int,
    scale: float,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = zip((condition, latent, log_target), wanted, strict=True)
    return _three(*(x.new_empty(x.shape) if want else x.new_empty(0) for x, want in inputs))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    condition, latent, log_target, ctx.heads, ctx.scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(condition, latent, log_target, output[1])


def _backward(ctx: Any, upstream: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    condition, latent, log_target, statistics = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:3])
    gradients = backward_op(
        upstream, condition, latent, log_target, statistics, ctx.heads, ctx.scale, wanted
    )
    given = (g if want else None for g, want in zip(gradients, wanted, strict=True))
    return (*given, None, None)


forward_op.register_autograd(_backward, setup_context=_setup_context)
