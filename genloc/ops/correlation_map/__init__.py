"""Softmax over the image tokens, mean over the heads: one probability map per keypoint."""

from __future__ import annotations

import torch
from torch import Tensor

from genloc.ops.arguments import Implementation, check_projections, takes_kernel
from genloc.ops.correlation_map.cuda import OP, forward_op
from genloc.ops.correlation_map.fallback import correlation_map_fallback
from genloc.ops.correlation_map.reference import correlation_map_reference
from genloc.ops.precision import autocast_enabled, without_autocast


def correlation_map(
    condition: Tensor,  # [B or 1, K, N*D]
    latent: Tensor,  # [B, T, N*D]
    *,
    heads: int,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> Tensor:  # [B, K, T]
    """Where in the image is each keypoint (Eq. 7).

    :func:`correlation_map_reference` has the formula and its meaning.

    Args:
        condition: ``[B or 1, K, N*D]``, the layer's ``to_k(condition)``; 1 = shared by all crops,
            and then not expanded. float64, float32, bfloat16 or float16; any strides.
        latent: ``[B, T, N*D]``, the layer's ``to_q(latent)``, same dtype and device (under autocast
            the dtypes may differ). ``B = 0`` is allowed.
        heads: ``N``.
        scale: factor on the logits, default ``D**-0.5``.
        implementation: "auto" takes the fastest form that can run, "torch" the torch form; "cuda"
            insists on the kernel and raises with every reason it cannot run.

    Returns:
        ``[B, K, T]``, each row sums to 1; float32 (float64 for float64 inputs), under autocast too.
        NaN in the input comes out as NaN.

    Raises:
        TypeError, ValueError: the argument, what came, what was expected.
        RuntimeError: ``implementation="cuda"`` where it cannot run.
    """
    condition, latent, scale = check_projections(condition, latent, heads, scale)
    if takes_kernel(implementation, OP, condition, latent, heads):
        return forward_op(condition, latent, heads, scale)[0]
    # The compiler fuses plain torch itself; a hand-made autograd.Function would hide it.
    compiling = torch.compiler.is_compiling()
    form = correlation_map_reference if compiling else correlation_map_fallback
    if not autocast_enabled(latent.device):
        return form(condition, latent, heads=heads, scale=scale)
    with without_autocast(latent.device):
        return form(condition, latent, heads=heads, scale=scale)
