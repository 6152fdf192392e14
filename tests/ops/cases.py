"""What the tests of the ops share: inputs, and a comparison that names what is wrong."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_inputs(
    batch: int,
    tokens: int,
    keypoints: int,
    heads: int,
    depth: int,
    *,
    shared: bool = True,
    dtype: torch.dtype = torch.float32,
    magnitude: float = 1.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """condition, latent (both ask for a gradient) and a log-target at most 0."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * magnitude

    condition = normal(1 if shared else batch, keypoints, heads * depth).to(dtype)
    latent = normal(batch, tokens, heads * depth).to(dtype)
    target_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    log_target = -20 * torch.rand(batch, keypoints, tokens, generator=generator, dtype=target_dtype)
    return condition.requires_grad_(), latent.requires_grad_(), log_target


def assert_close(
    name: str, expected: Tensor, got: Tensor, ratio: float, terms: float = 0.0
) -> None:
    """Error of ``got``, relative to the largest value of ``expected``, at most ``ratio``.

    Where terms cancel (all of a saturated softmax's gradient), ``terms`` says how large they were.
    """
    assert got.shape == expected.shape, f"{name}: shape {got.shape}, expected {expected.shape}"
    assert not got.isnan().any(), f"{name}: NaN"
    if expected.numel() == 0:
        return
    error = (got.double() - expected.double()).abs().max().item()
    size = expected.double().abs().max().item()
    assert error <= ratio * max(size, terms, 1e-30), f"{name}: error {error:.3g} at size {size:.3g}"
