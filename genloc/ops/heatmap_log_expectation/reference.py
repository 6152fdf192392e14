"""The truth of :func:`genloc.ops.heatmap_log_expectation`: a few lines of plain torch."""

from __future__ import annotations

import math

from torch import Tensor

from genloc.ops.precision import accumulation_dtype
from genloc.ops.products import split_heads


def heatmap_log_expectation_reference(
    condition: Tensor,  # [B or 1, K, N*D]
    latent: Tensor,  # [B, T, N*D]
    log_target: Tensor,  # [B, K, T]
    *,
    heads: int,
    scale: float,
) -> Tensor:  # [B, K]
    """The log of the expectation of a target under the correlation map, without the map.

    With the logits ``l[n, i, j] = scale * <condition[i, n], latent[j, n]>``, the map of one head
    ``C[n, i, j] = softmax_j l[n, i, j]`` and the target ``H[i, j] = exp(log_target[i, j])``, the
    result is

        ``log E[i] = log( 1/N sum_n sum_j C[n, i, j] H[i, j] )``
        ``         = logsumexp_n( logsumexp_j(l + log H) - logsumexp_j(l) ) - log N``.

    ``-log E`` is the paper's heatmap expectation loss (Eq. 9). No probability is ever formed: the
    linear form underflows in float32 when the map's mass sits 30 cells from a Gaussian of sigma 2
    (infinite loss, NaN gradient), the logarithms stay finite however far it sits.

    For a Gaussian ``H`` this is, up to a constant, the log-likelihood of the true point under a
    mixture of Gaussians centred on the cells with the weights ``C``.

    Gradients, with ``w[n] = E[n] / sum_n' E[n']`` the share of a head in the expectation and
    ``Q[n, i, j] = softmax_j(l + log H) = C H / E[n]``:

        ``d log E / d l[n, i, j]      = w[n] (Q - C)  = -w[n] C (1 - H / E[n])``
        ``d log E / d log_target[i,j] = sum_n w[n] Q[n, i, j]``.

    Everything is computed and returned in float64 if the latent is float64 and in float32
    otherwise. Entries of ``log_target`` may be minus infinity; a row with nothing else has the
    result minus infinity (the public function raises there). NaN in the input of a row comes out as
    NaN in that row. Differentiable any number of times.

    Args:
        condition: ``[B or 1, K, N*D]``, as the layer's ``to_k`` returns it; 1 = shared by the
            crops.
        latent: ``[B, T, N*D]``, as the layer's ``to_q`` returns it, tokens in row-major order.
        log_target: ``[B, K, T]``, natural logarithm of the target at each token.
        heads: ``N``.
        scale: factor on the logits; attention layers use ``D**-0.5``.

    Returns:
        ``[B, K]``, float32 or float64; at most the largest ``log_target`` of the row.
    """
    dtype = accumulation_dtype(latent.dtype)
    c = split_heads(condition.to(dtype) * scale, heads).transpose(1, 2)  # [B or 1, N, K, D]
    z = split_heads(latent.to(dtype), heads).permute(0, 2, 3, 1)  # [B, N, D, T]
    logits = c @ z
    per_head = (logits + log_target.to(dtype)[:, None]).logsumexp(-1) - logits.logsumexp(-1)
    return per_head.logsumexp(1) - math.log(heads)
