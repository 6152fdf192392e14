"""Log of the expectation of a target heatmap under the correlation map, without the map."""

from __future__ import annotations

import torch
from torch import Tensor

from genloc.ops.arguments import (
    Implementation,
    check_plane,
    check_projections,
    takes_kernel,
)
from genloc.ops.heatmap_log_expectation.cuda import OP, forward_op
from genloc.ops.heatmap_log_expectation.fallback import heatmap_log_expectation_fallback
from genloc.ops.heatmap_log_expectation.reference import heatmap_log_expectation_reference
from genloc.ops.precision import autocast_enabled, without_autocast


def heatmap_log_expectation(
    condition: Tensor,  # [B or 1, K, N*D]
    latent: Tensor,  # [B, T, N*D]
    log_target: Tensor,  # [B, K, T]
    *,
    heads: int,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> Tensor:  # [B, K]
    """``log(mean_n sum_T softmax_T(logits) * exp(log_target))``, finite however far the mass is.

    :func:`heatmap_log_expectation_reference` has the formula, its meaning and its gradient.

    Args:
        condition: ``[B or 1, K, N*D]``, the layer's ``to_k(condition)``; 1 = shared by all crops,
            and then not expanded. float64, float32, bfloat16 or float16; any strides.
        latent: ``[B, T, N*D]``, the layer's ``to_q(latent)``, same dtype and device (under autocast
            the dtypes may differ). ``B = 0`` is allowed.
        log_target: ``[B, K, T]``, natural logarithm of the target at each token, any floating dtype
            (float32 is right), as :func:`genloc.ops.gaussian_log_target` gives it.
        heads: ``N``.
        scale: factor on the logits, default ``D**-0.5``.
        implementation: "auto" takes the fastest form that can run, "torch" the torch form; "cuda"
            insists on the kernel and raises with every reason it cannot run.

    Returns:
        ``[B, K]``, float32 (float64 for a float64 latent), under autocast too. NaN in the input
        comes out as NaN. Gradients reach condition, latent and log_target.

    Raises:
        TypeError, ValueError: the argument, what came, what was expected; a row of ``log_target``
            that is minus infinity everywhere. On a CUDA device, and under ``torch.compile``, that
            last check is an asynchronous assertion, because reading the answer would stall the
            stream: a RuntimeError at the next synchronisation.
        RuntimeError: ``implementation="cuda"`` where it cannot run.
    """
    condition, latent, scale = check_projections(condition, latent, heads, scale)
    check_plane("log_target", log_target, condition, latent)
    if takes_kernel(implementation, OP, condition, latent, heads):
        out = forward_op(condition, latent, log_target, heads, scale)[0]
    else:
        # The compiler fuses plain torch itself; an autograd.Function would hide it.
        compiling = torch.compiler.is_compiling()
        form = heatmap_log_expectation_reference if compiling else heatmap_log_expectation_fallback
        if autocast_enabled(latent.device):
            with without_autocast(latent.device):
                out = form(condition, latent, log_target, heads=heads, scale=scale)
        else:
            out = form(condition, latent, log_target, heads=heads, scale=scale)
    _refuse_empty_target(out)
    return out


def _refuse_empty_target(log_expectation: Tensor) -> None:
    # In the log domain nothing underflows: minus infinity comes out only where a row of the target
    # held nothing else. Asking the [B, K] result costs nothing beside asking the [B, K, T] target.
    message = "log_target: expected a finite value in every row [b, k, :], got only minus infinity"
    empty = log_expectation.detach() == -torch.inf
    if torch.compiler.is_compiling() or log_expectation.device.type == "cuda":
        torch._assert_async(~empty.any(), message)
    elif empty.any():
        crop, keypoint = empty.nonzero()[0].tolist()
        raise ValueError(f"{message} in [{crop}, {keypoint}, :]")
