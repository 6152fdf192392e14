"""Which device a model runs on, found usable before anything is moved there."""

from __future__ import annotations

import torch

NAMES = "auto, cpu, cuda, cuda:1 or mps"


def usable_device(device: str | torch.device) -> torch.device:
    """The device of a name, tried out.

    Args:
        device: as torch names it; "auto" is a CUDA device where there is one, else the CPU.

    Raises:
        ValueError: torch has none of that name, or it cannot be used here.
    """
    given = str(device)
    if given == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={given!r}: expected {NAMES}") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={given!r}: torch {torch.__version__} sees no CUDA device here")
    try:
        torch.zeros(1, device=found).item()
    except Exception as error:  # each backend raises its own kinds
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"device={given!r} cannot be used here ({reason}); expected {NAMES}"
        ) from error
    return found
