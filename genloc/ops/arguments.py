"""Checks at the public doors of the ops: what came, what was expected, what to do.

Letters: ``B`` crops, ``K`` keypoints, ``N`` heads, ``T`` image tokens, ``D`` channels per head.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genloc.ops import extension
from genloc.ops.launches import ELEMENTS, MAX_DEPTH, MAX_KEYPOINTS
from genloc.ops.precision import autocast_enabled

Implementation = Literal["auto", "torch", "cuda"]

KERNEL_DEVICE = "cuda"  # the kind of device that has kernels
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
    if not _plainly_right(condition, latent, heads):
        condition, latent = _check_projections(condition, latent, heads)
    if scale is None:
        return condition, latent, (latent.shape[2] // heads) ** -0.5
    if not isinstance(scale, float | int):
        raise TypeError(f"scale: expected a float or None, got {type(scale).__name__}")
    return condition, latent, float(scale)


def _plainly_right(condition: object, latent: object, heads: object) -> bool:
    """Whether nothing can be said against a call: one short test, since ops at small shapes take
    no longer than a dozen checks."""
    if not (isinstance(condition, Tensor) and isinstance(latent, Tensor) and type(heads) is int):
        return False
    if not (condition.dim() == 3 and latent.dim() == 3 and heads > 0):
        return False
    crops, keypoints, channels = condition.shape
    batch, tokens, width = latent.shape
    return (
        channels == width
        and (crops == 1 or crops == batch)
        and keypoints * tokens * width > 0
        and width % heads == 0
        and condition.dtype == latent.dtype
        and latent.dtype in _DTYPES
        and condition.device == latent.device
    )


def _check_projections(condition: Tensor, latent: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """The checks one by one, for what is wrong or needs one dtype."""
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
    return condition, latent


def check_plane(name: str, plane: object, condition: Tensor, latent: Tensor) -> None:
    """Check a ``[B, K, T]`` tensor that belongs to checked projections.

    Raises:
        TypeError, ValueError: the argument, what came, what was expected.
    """
    x = check_tensor(name, plane, "[B, K, T]", 3)
    batch, tokens, _ = latent.shape
    if x.shape != (batch, condition.shape[1], tokens):
        expected = [batch, condition.shape[1], tokens]
        raise ValueError(f"{name}: expected [B, K, T] = {expected}, got {list(x.shape)}")
    if x.device != latent.device:
        raise ValueError(
            f"{name}: expected it on the latent's device {latent.device}, got {x.device}"
        )


def takes_kernel(
    implementation: str, op: str, condition: Tensor, latent: Tensor, heads: int
) -> bool:
    """Whether this call goes to the op's CUDA kernel.

    Args:
        implementation: "auto" if it can, "torch" never, "cuda" or raise.
        op: the op's folder.
        condition, latent, heads: checked arguments of the call.

    Raises:
        ValueError: implementation is none of "auto", "torch", "cuda".
        RuntimeError: "cuda" was asked for; the message lists every reason it is refused.
    """
    if implementation == "auto" and latent.device.type != KERNEL_DEVICE:
        return False
    if implementation not in ("auto", "torch", "cuda"):
        raise ValueError(
            f'implementation: expected "auto", "torch" or "cuda", got {implementation!r}'
        )
    if implementation == "torch":
        return False
    reasons = kernel_refusals(op, condition, latent, heads)
    if implementation == "cuda" and reasons:
        raise RuntimeError(
            'implementation="cuda" is refused: '
            + "; ".join(reasons)
            + '. Use implementation="auto" or "torch".'
        )
    return not reasons


def kernel_refusals(op: str, condition: Tensor, latent: Tensor, heads: int) -> list[str]:
    """Every reason why the op's kernel cannot take this call; empty if it can."""
    keypoints, depth = condition.shape[1], latent.shape[2] // heads
    reasons = []
    if latent.device.type != KERNEL_DEVICE:
        reasons.append(f"latent is on {latent.device}, not on a CUDA device")
    if latent.dtype not in ELEMENTS:
        reasons.append(f"latent is {latent.dtype}; kernels take float32, bfloat16 and float16")
    if depth % 8 or depth > MAX_DEPTH:
        reasons.append(
            f"a head has {depth} channels; kernels take multiples of 8 up to {MAX_DEPTH}"
        )
    if keypoints > MAX_KEYPOINTS:
        reasons.append(f"condition has {keypoints} keypoints; kernels take up to {MAX_KEYPOINTS}")
    for name, x in (("condition", condition), ("latent", latent)):
        if x.stride(2) != 1 and x.shape[2] > 1:
            reasons.append(f"the last axis of {name} is not contiguous (strides {x.stride()})")
    if latent.numel() >= 2**40:
        reasons.append("latent has 2**40 values or more")
    index = latent.device.index if latent.device.index is not None else -1
    return reasons + list(_machine_refusals(op, latent.device.type, index))


@torch.compiler.assume_constant_result
def _machine_refusals(op: str, kind: str, index: int) -> tuple[str, ...]:
    """What does not depend on the tensors; a constant to torch.compile."""
    reasons = []
    if not extension.is_installed():
        reasons.append("cuda-core is not installed (extras cuda12 and cuda13)")
    if KERNEL_DEVICE == "cuda":
        if not torch.cuda.is_available():
            reasons.append("torch finds no CUDA device")
        elif kind == "cuda":
            capability = torch.cuda.get_device_capability(None if index < 0 else index)
            if capability < (8, 0):
                version = ".".join(map(str, capability))
                reasons.append(f"the device has compute capability {version}; kernels need 8.0")
    if failure := extension.failure(op):
        reasons.append(f"the kernel was given up: {failure}")
    return tuple(reasons)
