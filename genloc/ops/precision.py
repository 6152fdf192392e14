"""The ops' rule of precision: half in, float32 inside and out, whatever autocast says."""

from __future__ import annotations

import contextlib

import torch

# Asked once: torch.compile of torch 2.11 cannot trace the question.
_WITH_AUTOCAST = tuple(
    kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)
)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype an op computes and answers in: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def autocast_enabled(device: torch.device) -> bool:
    """Whether autocast is on for ``device`` (it does not exist for every kind of device)."""
    kind = device.type
    return kind in _WITH_AUTOCAST and torch.is_autocast_enabled(kind)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Switch autocast off for ``device``, forward or backward: it would round the logits."""
    if autocast_enabled(device):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()
