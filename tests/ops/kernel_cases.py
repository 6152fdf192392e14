"""The list of shapes on which the kernels are judged, and the judgement.

The same list runs on the CPU, where emulator.h plays the GPU, and on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genloc.ops.correlation_map import cuda as map_cuda
from genloc.ops.heatmap_log_expectation import cuda as expectation_cuda

ROUNDING = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}


@dataclass(frozen=True)
class Case:
    """One call. ``layout``: rows contiguous, cut out of wider ones, or at odd addresses."""

    batch: int
    tokens: int
    keypoints: int
    heads: int
    depth: int
    dtype: torch.dtype
    shared: bool = True
    layout: str = "contiguous"
    magnitude: float = 1.0
    seed: int = 0

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        sizes = f"B{self.batch} T{self.tokens} K{self.keypoints} N{self.heads} D{self.depth}"
        own = "" if self.shared else " own"
        size = "" if self.magnitude == 1 else f" x{self.magnitude:g}"
        return f"{sizes} {kind}{own} {self.layout}{size}"


F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
QUICK = [
    Case(2, 1, 1, 1, 8, F32),
    Case(1, 15, 1, 2, 8, F16, shared=False),
    Case(2, 255, 17, 2, 40, BF16),
    Case(2, 255, 17, 2, 40, BF16, shared=False, layout="wide"),
    Case(2, 70, 17, 2, 40, BF16, layout="odd"),
    Case(1, 70, 17, 2, 40, F16, layout="odd"),
    Case(2, 255, 17, 1, 40, F32, shared=False),
    Case(2, 70, 17, 2, 40, F32, layout="odd"),
    Case(1, 4095, 17, 1, 40, BF16),
    Case(1, 255, 133, 1, 40, BF16),
    Case(1, 130, 133, 1, 8, F32, shared=False),
    Case(1, 65, 17, 2, 160, BF16),
    Case(1, 65, 33, 1, 160, F32),
    Case(3, 33, 9, 3, 80, F16, shared=False),
    Case(2, 255, 17, 2, 40, BF16, magnitude=6.0),
    Case(2, 255, 17, 2, 40, F32, magnitude=6.0, shared=False),
    Case(2, 70, 17, 2, 40, F32, magnitude=1e-6),
    Case(0, 70, 17, 2, 40, BF16),
]
ALL = [
    *(
        Case(1, side**2, 17, 8, depth, dtype)
        for side, depth in ((64, 40), (32, 80), (16, 160))
        for dtype in (BF16, F32)
    ),
    Case(1, 4096, 133, 8, 40, BF16),
    Case(1, 64, 256, 1, 256, BF16),
    Case(1, 64, 256, 1, 256, F32),
    Case(1, 40, 17, 1, 256, F32, shared=False),
    Case(2, 4095, 1, 3, 24, F16, shared=False, layout="wide"),
]


def _laid_out(x: Tensor, layout: str) -> Tensor:
    """The values of ``x`` in other strides, with NaN all around them."""
    if layout == "contiguous":
        return x
    shift, width = (8, x.shape[2] + 24) if layout == "wide" else (3, x.shape[2] + 5)
    around = x.new_full((x.shape[1], x.shape[0], width), torch.nan).transpose(0, 1)
    around[..., shift : shift + x.shape[2]] = x
    return around[..., shift : shift + x.shape[2]]


def inputs(case: Case, device: str = "cpu") -> dict[str, Tensor]:
    """Condition, latent, log-target, and the upstream gradients of both ops."""
    generator = torch.Generator().manual_seed(case.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    width, crops = case.heads * case.depth, 1 if case.shared else case.batch
    condition = (normal(crops, case.keypoints, width) * case.magnitude).to(case.dtype)
    latent = (normal(case.batch, case.tokens, width) + 0.5).to(case.dtype)
    target = -20 * torch.rand(case.batch, case.keypoints, case.tokens, generator=generator)
    if case.tokens > 2:
        target[:, :, 1] = -torch.inf
    if case.layout != "contiguous":
        target = target.transpose(0, 2).contiguous().transpose(0, 2)
    made = {
        "condition": _laid_out(condition.to(device), case.layout),
        "latent": _laid_out(latent.to(device), case.layout),
        "log_target": target,
        "upstream": normal(case.batch, case.keypoints).float(),
        "upstream_map": normal(case.batch, case.keypoints, case.tokens).float(),
    }
    return {name: x.to(device) for name, x in made.items()}


Results = dict[str, Tensor]
Forms = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., tuple[Tensor, ...]]]


def expectation_results(case: Case, given: dict[str, Tensor], forms: Forms) -> Results:
    """Value and gradients of heatmap_log_expectation by a pair of forms of its cuda.py."""
    c, z, t = given["condition"], given["latent"], given["log_target"]
    scale, forward, backward = case.depth**-0.5, *forms
    value, statistics = forward(c, z, t, case.heads, scale)
    rest = (statistics, case.heads, scale, [True, True, True])
    dc, dz, dt = backward(given["upstream"].to(value.dtype), c, z, t, *rest)
    return {"value": value, "condition": dc, "latent": dz, "log_target": dt}


def map_results(case: Case, given: dict[str, Tensor], forms: Forms) -> Results:
    """Map and gradients of correlation_map by a pair of forms of its cuda.py."""
    c, z = given["condition"], given["latent"]
    scale, forward, backward = case.depth**-0.5, *forms
    value, norm = forward(c, z, case.heads, scale)
    up = given["upstream_map"].to(value.dtype)
    dc, dz = backward(up, c, z, norm, case.heads, scale, [True, True])
    return {"value": value, "condition": dc, "latent": dz}


RESULTS = {"heatmap_log_expectation": expectation_results, "correlation_map": map_results}
KERNEL_FORMS: dict[str, Forms] = {
    "heatmap_log_expectation": (expectation_cuda.kernel_forward, expectation_cuda.kernel_backward),
    "correlation_map": (map_cuda.kernel_forward, map_cuda.kernel_backward),
}
TORCH_FORMS: dict[str, Forms] = {
    "heatmap_log_expectation": (expectation_cuda.torch_forward, expectation_cuda.torch_backward),
    "correlation_map": (map_cuda.torch_forward, map_cuda.torch_backward),
}


def judge(op: str, case: Case, device: str = "cpu") -> dict[str, tuple[float, float]]:
    """Errors of the kernel and of torch at the same precision, against float64.

    Relative to the norm of the truth. torch's error includes the rounding of its result to the
    inputs' dtype, as the kernel's does.
    """
    given = inputs(case, device)
    exact = {name: x.double() for name, x in given.items()}
    truth = RESULTS[op](case, exact, TORCH_FORMS[op])
    rival = RESULTS[op](case, given, TORCH_FORMS[op])
    mine = RESULTS[op](case, given, KERNEL_FORMS[op])
    errors = {}
    for name, expected in truth.items():
        got = mine[name]
        assert got.shape == expected.shape, f"{name}: {got.shape} instead of {expected.shape}"
        assert got.dtype == rival[name].dtype, f"{name}: {got.dtype}"
        assert got.isfinite().all(), f"{name}: not finite"
        size = max(expected.norm().item(), 1e-9)  # a single token has no gradient
        errors[name] = (
            (got.double() - expected).norm().item() / size,
            (rival[name].double() - expected).norm().item() / size,
        )
    return errors


def check(op: str, case: Case, device: str = "cpu") -> None:
    """Raise unless the kernel is at most twice as wrong as torch at the same precision.

    Two roundings of float32 are always allowed: torch may be exact by luck.
    """
    for name, (mine, rival) in judge(op, case, device).items():
        allowed = 2 * max(rival, 2 * ROUNDING[torch.float32])
        assert mine <= allowed, f"{name}: error {mine:.3g}, torch's is {rival:.3g} ({case})"
