"""Per-head products in diffusers' own layout, chunk by chunk over the crops.

``to_q`` and ``to_k`` return ``[B, T, N*D]`` and ``[B, K, N*D]`` with the heads side by side in the
last axis. A batched matmul over ``(B, N)`` at once has to copy the latent first, and its logits
fall out of the cache before they are normalised. One crop at a time, a strided view goes straight
into ``bmm`` and the logits stay in the cache: at Stable Diffusion's shapes that alone is worth a
factor of two on a CPU. With many keypoints the logits of one crop outgrow the cache again, and its
heads are taken a few at a time. Tiny shapes go several crops at a time, where the loop itself would
cost more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from genloc.ops.precision import accumulation_dtype

_CHUNK_VALUES = 2**18  # values of the latent per chunk: 1 MiB in float32, about one core's L2 cache
_CHUNK_LOGITS = 2**20  # logits per chunk: 4 MiB; smaller chunks gave nothing
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


def heads_per_chunk(condition: Tensor, latent: Tensor, heads: int) -> int:
    """Heads of one crop to take at a time: as many as keep the logits in the cache."""
    if latent.device.type != "cpu":
        return heads
    return min(heads, max(1, _CHUNK_LOGITS // max(1, condition.shape[1] * latent.shape[1])))


def chunks(condition: Tensor, latent: Tensor, heads: int) -> Iterator[tuple[slice, slice]]:
    """Crops and heads to take at a time, every pair once; the heads of a crop follow one another."""
    batch, crops = latent.shape[0], crops_per_chunk(latent)
    group = heads if crops > 1 else heads_per_chunk(condition, latent, heads)
    for i in range(0, batch, crops):
        for n in range(0, heads, group):
            yield slice(i, min(batch, i + crops)), slice(n, min(heads, n + group))


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
        out: ``[b, n, K, T]``, overwritten.
        condition: ``[b or 1, K, n, D]`` of out's dtype, already scaled.
        latent: ``[b, T, n, D]`` of out's dtype.
    """
    if out.shape[0] == 1:
        torch.bmm(condition[0].transpose(0, 1), latent[0].permute(1, 2, 0), out=out[0])
    else:
        torch.matmul(condition.transpose(1, 2), latent.permute(0, 2, 3, 1), out=out)


def logits_by_chunk(
    condition: Tensor, latent: Tensor, heads: int, scale: float, store: Tensor | None
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Crops, heads and logits ``[b, n, K, T]`` of every chunk, to be worked on in place.

    Args:
        condition, latent, heads, scale: the call's.
        store: ``[B, N, K, T]`` of the dtype that ops compute in, to keep what is left in every chunk;
            None to use the space of the first chunk, which is the largest, again.
    """
    dtype = accumulation_dtype(latent.dtype)
    batch, tokens, _ = latent.shape
    c, z = split_heads(condition.to(dtype) * scale, heads), split_heads(latent, heads)
    space: Tensor | None = None
    for crops, several in chunks(condition, latent, heads):
        if store is not None:
            out = store[crops, several]
        else:
            b, n = len(range(batch)[crops]), len(range(heads)[several])
            if space is None:
                space = c.new_empty(b, n, condition.shape[1], tokens)
            out = space[:b, :n]
        logits_into(out, c[_own(c, crops), :, several], z[crops, :, several].to(dtype))
        yield crops, several, out


def _own(condition: Tensor, crops: slice) -> slice:
    """The conditions of some crops: all, where they are shared."""
    return slice(None) if condition.shape[0] == 1 else crops


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
        grad: ``[b, n, K, T]``, gradient in ``condition . latent`` (the scale already in it).
        condition: ``[b or 1, K, n, D]``, unscaled, of grad's dtype.
        latent: ``[b, T, n, D]`` of grad's dtype.
        grad_condition: ``[b or 1, K, n, D]``, added to, or None if not wanted.
        grad_latent: ``[b, n, D, T]``, tokens last as the product leaves them (turning them around
            costs a third of the product; a linear layer behind takes either), overwritten, or None
            if not wanted.
    """
    if grad.shape[0] == 1:
        if grad_latent is not None:
            _product(torch.bmm, condition[0].permute(1, 2, 0), grad[0], grad_latent[0])
        if grad_condition is not None:
            grad_condition[0].add_(torch.bmm(grad[0], latent[0].transpose(0, 1)).transpose(0, 1))
        return
    if grad_latent is not None:
        _product(torch.matmul, condition.permute(0, 2, 3, 1), grad, grad_latent)
    if grad_condition is not None:
        dc = torch.matmul(grad, latent.transpose(1, 2)).transpose(1, 2)
        grad_condition.add_(dc.sum_to_size(grad_condition.shape))


class Gradients:
    """Of condition and latent, filled in chunk by chunk from the gradient in the logits.

    Args:
        condition, latent, heads: the call's.
        dtype: of the logits.
        wanted: whether the gradient of condition and of latent are asked for.
    """

    def __init__(
        self,
        condition: Tensor,
        latent: Tensor,
        heads: int,
        dtype: torch.dtype,
        wanted: tuple[bool, bool],
    ) -> None:
        batch, tokens, width = latent.shape
        self._dtypes = condition.dtype, dtype
        self._c, self._z = split_heads(condition.to(dtype), heads), split_heads(latent, heads)
        self._dc = torch.zeros_like(self._c) if wanted[0] else None
        depth = width // heads
        self._dz = latent.new_empty(batch, heads, depth, tokens) if wanted[1] else None

    def add(self, grad: Tensor, crops: slice, heads: slice) -> None:
        """A chunk's: ``grad`` as for `logits_backward`."""
        own = _own(self._c, crops)
        logits_backward(
            grad,
            self._c[own, :, heads],
            self._z[crops, :, heads].to(self._dtypes[1]),
            grad_condition=None if self._dc is None else self._dc[own, :, heads],
            grad_latent=None if self._dz is None else self._dz[crops, heads],
        )

    def result(self) -> tuple[Tensor | None, Tensor | None]:
        """``[B or 1, K, N*D]`` and ``[B, T, N*D]`` in the dtypes of the inputs."""
        dc = None if self._dc is None else self._dc.flatten(2).to(self._dtypes[0])
        dz = None if self._dz is None else self._dz.flatten(1, 2).transpose(1, 2)
        return dc, dz


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
