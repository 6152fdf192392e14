"""Per-head products in diffusers' own layout, chunk by chunk over the crops.

``to_q`` and ``to_k`` return ``[B, T, N*D]`` and ``[B, K, N*D]`` with the heads side by side in the
last axis. A batched matmul over ``(B, N)`` at once has to copy the latent first, and its logits
fall out of the cache before they are normalised. One crop at a time, a strided view goes straight
into ``bmm`` and the logits stay in the cache: at Stable Diffusion's shapes that alone is worth a
factor of two on a CPU. Tiny shapes go several crops at a time, where the loop itself would cost
more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genloc.ops.precision import accumulation_dtype

_CHUNK_VALUES = 2**18  # values of the latent per chunk: 1 MiB in float32, about one core's L2 cache
_FEW_LOGITS, _TINY_CROP = 2**17, 2**14


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``[..., N*D]`` -> ``[..., N, D]``, a view whatever the strides of the other axes."""
    return x.unflatten(-1, (heads, -1))


def crops_per_chunk(latent: Tensor) -> int:
    """Crops to take at a time: all on an accelerator, where a launch costs more than a copy."""
    batch, tokens, width = latent.shape
    if latent.device.type != "cpu":
        return max(1, batch)
    return max(1, _CHUNK_VALUES // (tokens * width))


def few_calls_win(condition: Tensor, latent: Tensor, heads: int, alone: int) -> bool:
    """Whether a step is so small that calls weigh more than memory, and plain autograd is fastest.

    Args:
        condition, latent, heads: the call's.
        alone: logits below which that holds for a single crop, where nothing has to be copied.
    """
    batch = latent.shape[0]
    per_crop = condition.shape[1] * latent.shape[1] * heads
    if batch == 1:
        return per_crop < alone
    return batch * per_crop < (_FEW_LOGITS if per_crop >= _TINY_CROP else 2 * _FEW_LOGITS)


def logits_into(out: Tensor, condition: Tensor, latent: Tensor) -> None:
    """Write the logits of one chunk.

    Args:
        out: ``[b, N, K, T]``, overwritten.
        condition: ``[b or 1, K, N*D]`` of out's dtype, already scaled.
        latent: ``[b, T, N*D]`` of out's dtype.
    """
    heads = out.shape[1]
    c, z = split_heads(condition, heads), split_heads(latent, heads)
    if out.shape[0] == 1:
        torch.bmm(c[0].transpose(0, 1), z[0].permute(1, 2, 0), out=out[0])
    else:
        torch.matmul(c.transpose(1, 2), z.permute(0, 2, 3, 1), out=out)


def logits_backward(
    grad: Tensor,
    condition: Tensor,
    latent: Tensor,
    *,
    grad_condition: Tensor | None,
    grad_latent: Tensor | None,
) -> None:
    """Carry a chunk's gradient in the logits back to both inputs.

    Args:
        grad: ``[b, N, K, T]``, gradient in ``condition . latent`` (the scale already in it).
        condition: ``[b or 1, K, N*D]``, unscaled, of grad's dtype.
        latent: ``[b, T, N*D]`` of grad's dtype.
        grad_condition: ``[b or 1, K, N*D]``, added to, or None if not wanted.
        grad_latent: ``[b, N*D, T]``, tokens last as the product leaves them (turning them around
            costs a third of the product; a linear layer behind takes either), overwritten, or None
            if not wanted.
    """
    heads = grad.shape[1]
    c, z = split_heads(condition, heads), split_heads(latent, heads)
    dz = None if grad_latent is None else grad_latent.unflatten(1, (heads, -1))  # [b, N, D, T]
    if grad.shape[0] == 1:
        if dz is not None:
            _product(torch.bmm, c[0].permute(1, 2, 0), grad[0], dz[0])
        if grad_condition is not None:
            dc = torch.bmm(grad[0], z[0].transpose(0, 1)).transpose(0, 1)
            split_heads(grad_condition[0], heads).add_(dc)
        return
    if dz is not None:
        _product(torch.matmul, c.permute(0, 2, 3, 1), grad, dz)
    if grad_condition is not None:
        dc = torch.matmul(grad, z.transpose(1, 2)).transpose(1, 2)
        split_heads(grad_condition, heads).add_(dc.sum_to_size(c.shape))


def _product(multiply: Callable[..., Tensor], a: Tensor, b: Tensor, out: Tensor) -> None:
    """``a @ b`` into ``out``, which may have another dtype."""
    if out.dtype == a.dtype:
        multiply(a, b, out=out)
    else:
        out.copy_(multiply(a, b))


def logits_of(condition: Tensor, latent: Tensor, heads: int, scale: float) -> Tensor:
    """All logits at once, ``[B, N, K, T]`` in the dtype that ops compute in.

    In few calls: at small shapes on a CPU each costs as much as a tenth of the product.
    """
    dtype = accumulation_dtype(latent.dtype)
    if latent.dtype != dtype:
        condition, latent = condition.to(dtype), latent.to(dtype)
    batch, tokens, width = latent.shape
    keypoints, depth = condition.shape[1], width // heads
    if batch == 1:
        z = latent.view(tokens, heads, depth).permute(1, 2, 0)
        c = (condition * scale).view(keypoints, heads, depth).transpose(0, 1)
        return torch.bmm(c, z).unsqueeze(0)
    c = split_heads(condition * scale, heads).transpose(1, 2)
    return c @ split_heads(latent, heads).permute(0, 2, 3, 1)


def logits_gradients(
    grad: Tensor, condition: Tensor, latent: Tensor, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    """From a gradient in the logits ``[B, N, K, T]`` to condition and latent.

    The scale is in ``grad``. What is not wanted comes back empty.
    """
    c, z = (
        split_heads(x.to(grad.dtype), grad.shape[1]).transpose(1, 2) for x in (condition, latent)
    )
    dc, dz = latent.new_empty(0), latent.new_empty(0)
    if wanted[0]:
        dc = (grad @ z).transpose(1, 2).flatten(2).sum_to_size(condition.shape)
        dc = dc.to(condition.dtype).contiguous()
    if wanted[1]:
        dz = (grad.transpose(-1, -2) @ c).transpose(1, 2).flatten(2).to(latent.dtype).contiguous()
    return dc, dz
