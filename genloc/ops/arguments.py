"""Checks at the public doors of the ops: what came, what was expected, what to do.

Letters: ``B`` crops, ``K`` keypoints, ``N`` heads, ``T`` image tokens, ``D`` channels per head.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genloc.ops.precision import autocast_enabled

Implementation = Literal["auto", "torch", "cuda"]

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_tensor(name: str, value: object, shape: str, dims: int) -> Tensor:
    """Return ``value`` if it is a floating-point tensor of ``dims`` dimensions.

    Raises:
        TypeError: it is no tensor, or its dtype is not float64, float32, bfloat16 or float16.
        ValueError: it has another number of dimensions.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor {shape}, got {type(value).__name__}")
    if value.dtype not in _DTYPES:
        raise TypeError(
            f"{name}: expected float64, float32, bfloat16 or float16, got {value.dtype}; "
            f"convert it first, for example {name}.float()"
        )
    if value.dim() != dims:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")
    return value


def check_projections(
    condition: Tensor, latent: Tensor, heads: int, scale: float | None
) -> tuple[Tensor, Tensor, float]:
    """Check what both attention ops take, and fill in the default scale.

    Args:
        condition: ``[B or 1, K, N*D]``, as the layer's ``to_k`` returns it.
        latent: ``[B, T, N*D]``, as the layer's ``to_q`` returns it.
        heads: ``N``.
        scale: factor on the logits, ``D**-0.5`` when None.

    Returns:
        condition and latent in one dtype, and the scale. Only under autocast may their dtypes
        differ on entry; they are then brought to the autocast dtype, as ``F.linear`` would.

    Raises:
        TypeError, ValueError: named argument, what came, what was expected.
    """
    check_tensor("condition", condition, "[B or 1, K, heads * D]", 3)
    check_tensor("latent", latent, "[B, T, heads * D]", 3)
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1:
        raise ValueError(f"heads: expected a positive int, got {heads!r}")
    if condition.device != latent.device:
        raise ValueError(
            f"condition: expected it on the latent's device {latent.device}, got {condition.device}"
        )
    batch, tokens, width = latent.shape
    if tokens == 0 or width == 0 or width % heads:
        raise ValueError(
            f"latent: expected [B, T, heads * D] with T >= 1 and a last axis divisible by "
            f"heads = {heads}, got {tuple(latent.shape)}"
        )
    if condition.shape[2] != width or condition.shape[1] == 0:
        raise ValueError(
            f"condition: expected [B or 1, K, {width}] with K >= 1 (the last axis of latent "
            f"{tuple(latent.shape)}), got {tuple(condition.shape)}"
        )
    if condition.shape[0] not in (1, batch):
        raise ValueError(
            f"condition: expected a first axis of 1 (shared) or {batch} (the latent's batch), "
            f"got {tuple(condition.shape)}"
        )
    if condition.dtype != latent.dtype:
        if not autocast_enabled(latent.device):
            raise TypeError(
                f"condition: expected the latent's dtype {latent.dtype}, got {condition.dtype}; "
                "convert one of them, or call under torch.autocast"
            )
        common = torch.get_autocast_dtype(latent.device.type)
        condition, latent = condition.to(common), latent.to(common)
    if scale is None:
        scale = (width // heads) ** -0.5
    elif not isinstance(scale, float | int):
        raise TypeError(f"scale: expected a float or None, got {type(scale).__name__}")
    return condition, latent, float(scale)


def check_implementation(implementation: str, latent: Tensor) -> None:
    """Refuse an implementation that cannot run here.

    Raises:
        ValueError: it is none of "auto", "torch", "cuda".
        RuntimeError: "cuda" was asked for; the message lists every reason it is refused.
    """
    if implementation not in ("auto", "torch", "cuda"):
        raise ValueError(
            f'implementation: expected "auto", "torch" or "cuda", got {implementation!r}'
        )
    if implementation == "cuda":
        reasons = ["this version of the package has no CUDA form of the op"]
        if latent.device.type != "cuda":
            reasons.append(f"latent is on {latent.device}, not on a CUDA device")
        if latent.dtype == torch.float64:
            reasons.append("latent is float64; kernels take float32, bfloat16 and float16")
        if not torch.cuda.is_available():
            reasons.append("torch finds no CUDA device")
        raise RuntimeError(
            'implementation="cuda" is refused: '
            + "; ".join(reasons)
            + '. Use implementation="auto" or "torch".'
        )
