"""The truth of :func:`genloc.ops.correlation_map`: a few lines of plain torch."""

from __future__ import annotations

from torch import Tensor

from genloc.ops.precision import accumulation_dtype
from genloc.ops.products import split_heads


def correlation_map_reference(
    condition: Tensor,  # [B or 1, K, N*D]
    latent: Tensor,  # [B, T, N*D]
    *,
    heads: int,
    scale: float,
) -> Tensor:  # [B, K, T]
    """Where in the image is each keypoint: attention normalised over the image tokens.

    Ordinary cross-attention takes the logits of one head ``n``,

        ``l[n, i, j] = scale * <condition[i, n], latent[j, n]>``,

    and normalises them over the conditions ``i``: for each place ``j``, which keypoint is it (the
    paper's Eq. 6). The correlation map normalises the same logits over the tokens ``j``: for each
    keypoint ``i``, which place is it (Eq. 7),

        ``C[i, j] = 1/N sum_n exp(l[n, i, j]) / sum_j' exp(l[n, i, j'])``.

    So each row is a probability map that sums to 1, and it does not change when another keypoint is
    removed from ``condition``. Heads are merged by the mean of their probabilities.

    Everything is computed and returned in float64 for float64 inputs and in float32 for all others;
    half-precision inputs are converted before the product, so the logits are never rounded. NaN in
    the input of a row comes out as NaN in that row. Differentiable any number of times.

    Args:
        condition: ``[B or 1, K, N*D]``, as the layer's ``to_k`` returns it; 1 = shared by the
            crops.
        latent: ``[B, T, N*D]``, as the layer's ``to_q`` returns it, tokens in row-major order.
        heads: ``N``.
        scale: factor on the logits; attention layers use ``D**-0.5``.

    Returns:
        ``[B, K, T]``, float32 or float64.
    """
    dtype = accumulation_dtype(latent.dtype)
    c = split_heads(condition.to(dtype) * scale, heads).transpose(1, 2)  # [B or 1, N, K, D]
    z = split_heads(latent.to(dtype), heads).permute(0, 2, 3, 1)  # [B, N, D, T]
    return (c @ z).softmax(-1).mean(1)
