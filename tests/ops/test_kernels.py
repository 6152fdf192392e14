"""The kernels' own source, run on the CPU by emulator.h, against the float64 reference."""

from __future__ import annotations

import math

import pytest
import torch

from genloc.ops import correlation_map, extension, heatmap_log_expectation, launches
from genloc.ops.correlation_map.reference import correlation_map_reference
from genloc.ops.heatmap_log_expectation.reference import heatmap_log_expectation_reference
from tests.ops import emulator, kernel_cases
from tests.ops.kernel_cases import ALL, KERNEL_FORMS, QUICK, TORCH_FORMS, Case, check, inputs

pytestmark = pytest.mark.skipif(emulator.COMPILER is None, reason="g++ is not installed")

OPS = ["heatmap_log_expectation", "correlation_map"]


def nan(*shape: int, like: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """What a kernel does not write stays NaN."""
    return torch.full(shape, torch.nan, dtype=dtype, device=like.device)


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "load", emulator.load)
    monkeypatch.setattr(launches, "empty", nan)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("case", QUICK, ids=str)
def test_kernel_is_at_most_twice_as_wrong_as_torch(op: str, case: Case) -> None:
    check(op, case)


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_kernel_at_full_size(op: str, case: Case) -> None:
    check(op, case)


def test_the_float64_forms_are_the_reference_and_its_gradient() -> None:
    # What the kernels are compared with must itself be right.
    case = Case(3, 9, 4, 3, 8, torch.float64, shared=False)  # type: ignore[arg-type]
    given = inputs(case)
    c, z = (given[name].double().requires_grad_() for name in ("condition", "latent"))
    t = given["log_target"].double().nan_to_num(neginf=-30).requires_grad_()
    scale = case.depth**-0.5
    given |= {"condition": c, "latent": z, "log_target": t}
    detached = {name: x.detach() for name, x in given.items()}

    value = heatmap_log_expectation_reference(c, z, t, heads=3, scale=scale)
    gradients = torch.autograd.grad(value, (c, z, t), given["upstream"].double())
    got = kernel_cases.expectation_results(case, detached, TORCH_FORMS["heatmap_log_expectation"])
    for expected, mine in zip((value, *gradients), got.values(), strict=True):
        torch.testing.assert_close(mine, expected.detach(), rtol=1e-10, atol=1e-13)

    maps = correlation_map_reference(c, z, heads=3, scale=scale)
    gradients = torch.autograd.grad(maps, (c, z), given["upstream_map"].double())
    got = kernel_cases.map_results(case, detached, TORCH_FORMS["correlation_map"])
    for expected, mine in zip((maps, *gradients), got.values(), strict=True):
        torch.testing.assert_close(mine, expected.detach(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("op", OPS)
def test_every_run_gives_the_same_bits(op: str) -> None:
    # Each launch takes blocks and warps in another order.
    case = Case(2, 255, 17, 2, 40, torch.bfloat16)
    given = inputs(case)
    one, other = (kernel_cases.RESULTS[op](case, given, KERNEL_FORMS[op]) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("keypoints", [17, 133])
def test_only_the_gradient_that_is_wanted_is_made(op: str, keypoints: int) -> None:
    case = Case(1, 70, keypoints, 1, 40, torch.bfloat16)
    given = inputs(case)
    names = ["condition", "latent"] + ["log_target"] * (op == OPS[0])
    everything = kernel_cases.RESULTS[op](case, given, KERNEL_FORMS[op])
    for wanted in range(len(names)):

        def backward(*arguments: object, wanted: int = wanted) -> tuple[torch.Tensor, ...]:
            flags = [i == wanted for i in range(len(names))]
            return KERNEL_FORMS[op][1](*arguments[:-1], flags)

        alone = kernel_cases.RESULTS[op](case, given, (KERNEL_FORMS[op][0], backward))
        for i, name in enumerate(names):
            if i == wanted:
                assert torch.equal(alone[name], everything[name])
            else:
                assert alone[name].numel() == 0


def test_a_confident_map_55_cells_off_gives_a_finite_value_and_gradient() -> None:
    case = Case(1, 64 * 64, 1, 1, 8, torch.float32)
    given = inputs(case)
    x = torch.arange(64.0)
    given["log_target"] = (-((x - 59) ** 2 + (x[:, None] - 10) ** 2) / 8).reshape(1, 1, -1)
    given["condition"] = torch.zeros(1, 1, 8)
    given["condition"][..., 0] = 8**0.5
    given["latent"] = torch.zeros(1, 4096, 8)
    given["latent"][0, 10 * 64 + 4, 0] = 3000
    got = kernel_cases.expectation_results(case, given, KERNEL_FORMS["heatmap_log_expectation"])
    assert got["value"].item() == pytest.approx(-(55**2) / 8, rel=1e-5)
    assert all(x.isfinite().all() for x in got.values())

    given["latent"] *= 360 / 3000
    got = kernel_cases.expectation_results(case, given, KERNEL_FORMS["heatmap_log_expectation"])
    gradient = got["latent"][0, :, 0] * given["upstream"].item()
    assert gradient.isfinite().all()
    assert gradient.argmin() == 10 * 64 + 4
    assert gradient.argmax() % 64 > 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nan_comes_out_where_it_went_in(dtype: torch.dtype) -> None:
    case = Case(3, 70, 9, 2, 40, dtype)
    given = inputs(case)
    given["log_target"][0, 2, 1] = torch.nan
    given["condition"][0, 1, 0] = torch.nan
    given["latent"][2, 69, 3] = torch.nan
    got = kernel_cases.expectation_results(case, given, KERNEL_FORMS["heatmap_log_expectation"])
    expected = torch.zeros(3, 9, dtype=torch.bool)
    expected[:, 1] = expected[0, 2] = expected[2] = True
    assert torch.equal(got["value"].isnan(), expected)
    assert got["condition"].isnan().any(-1).all(), "every row saw the spoilt crop"
    assert got["latent"][2].isnan().any()

    got = kernel_cases.map_results(case, given, KERNEL_FORMS["correlation_map"])
    expected[0, 2] = False
    assert torch.equal(got["value"].isnan().all(-1), expected)
    assert torch.equal(got["value"].isnan().any(-1), expected)


def test_a_target_of_minus_infinity_everywhere_gives_minus_infinity() -> None:
    case = Case(2, 70, 9, 2, 40, torch.bfloat16)
    given = inputs(case)
    given["log_target"][1, 3] = -torch.inf
    got = kernel_cases.expectation_results(case, given, KERNEL_FORMS["heatmap_log_expectation"])
    expected = torch.zeros(2, 9, dtype=torch.bool)
    expected[1, 3] = True
    assert torch.equal(got["value"] == -torch.inf, expected)
    assert torch.equal(~got["value"].isfinite(), expected)


def test_agrees_with_sdpa_that_carries_the_target_as_value() -> None:
    case = Case(2, 70, 9, 3, 40, torch.float32)
    given = inputs(case)
    q = given["condition"].expand(2, -1, -1).unflatten(-1, (3, 40)).transpose(1, 2)
    k = given["latent"].unflatten(-1, (3, 40)).transpose(1, 2)
    value = given["log_target"].exp().transpose(1, 2)[:, None].expand(-1, 3, -1, -1)
    attended = torch.nn.functional.scaled_dot_product_attention(q, k, value)
    expected = attended.diagonal(dim1=-2, dim2=-1).mean(1).log()
    forward = KERNEL_FORMS["heatmap_log_expectation"][0]
    got, _ = forward(*(given[n] for n in ("condition", "latent", "log_target")), 3, 40**-0.5)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def _replaced(text: str, old: str, new: str, count: int = 1) -> str:
    assert text.count(old) >= 1, f"the source has no {old!r} to spoil"
    return text.replace(old, new, count)


def _without_barrier(kernel: str, number: int):  # type: ignore[no-untyped-def]
    def mutation(text: str) -> str:
        start = text.index(f"DEVICE void {kernel}(")
        end = text.index("\n}\n", start)
        parts = text[start:end].split("__syncthreads();")
        assert number < len(parts) - 1, f"{kernel} has {len(parts) - 1} barriers"
        body = "__syncthreads();".join(parts[: number + 1]) + "".join(
            parts[number + 1 : number + 2]
        )
        rest = parts[number + 2 :]
        return text[:start] + "__syncthreads();".join([body, *rest]) + text[end:]

    return mutation


MUTATIONS = {
    **{
        f"no barrier {i} in {kernel}": (op, _without_barrier(kernel, i))
        for op, kernel, count in (
            ("heatmap_log_expectation", "sum_over_tokens", 2),
            ("correlation_map", "sum_over_heads", 2),
            ("heatmap_log_expectation", "both_gradients", 3),
            ("heatmap_log_expectation", "gradient_of_latent", 2),
        )
        for i in range(count)
    },
    "no barrier in sum_condition_gradient": (
        "heatmap_log_expectation",
        lambda t: _replaced(t, "= sum;\n    __syncthreads();", "= sum;\n"),
    ),
    "a wrong lane in the merge": (
        "heatmap_log_expectation",
        lambda t: _replaced(t, "for (int mask = 4; mask < 32", "for (int mask = 2; mask < 16"),
    ),
    "a wrong lane in a fragment": (
        "correlation_map",
        lambda t: _replaced(t, "{at[0], at[2], at[1], at[3]}", "{at[0], at[1], at[2], at[3]}"),
    ),
    "a wrong keypoint of a lane": (
        "correlation_map",
        lambda t: _replaced(t, "(8 * tile + 2 * q) * PITCH", "(8 * tile + q) * PITCH"),
    ),
    "sums merged without their maximum": (
        "heatmap_log_expectation",
        lambda t: _replaced(
            t, "sum += other_sum * exp2f(other_top - unit());", "sum += other_sum;"
        ),
    ),
    "a sum not rescaled when its maximum rises": (
        "correlation_map",
        lambda t: _replaced(t, "sum *= exp2f(top - to);", ""),
    ),
    "the last tokens not masked": (
        "correlation_map",
        lambda t: _replaced(t, "token + 8 < end ? logits", "true ? logits"),
    ),
    "a split too few": (
        "correlation_map",
        lambda t: _replaced(t, "split < dot_splits", "split < dot_splits - 1"),
    ),
    "float32 products without their small part": (
        "heatmap_log_expectation",
        lambda t: _replaced(t, "c[i] += high[i] + low[i]", "c[i] += high[i]"),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_seeded_error_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, mutation = MUTATIONS[name]
    monkeypatch.setattr(extension, "load", emulator.load_mutated(mutation))
    keypoints = 133 if "gradient_of_latent" in name else 17
    dtype = torch.float32 if "float32" in name else torch.bfloat16
    # Several crops, splits and heads: a race has to be lost only once.
    case = Case(3, 600, keypoints, 2, 40, dtype)
    with pytest.raises((AssertionError, RuntimeError)):
        check(op, case)


def test_without_a_seeded_error_the_same_case_passes() -> None:
    for op, keypoints, dtype in (
        ("heatmap_log_expectation", 17, torch.bfloat16),
        ("heatmap_log_expectation", 133, torch.bfloat16),
        ("heatmap_log_expectation", 17, torch.float32),
        ("correlation_map", 17, torch.bfloat16),
    ):
        check(op, Case(3, 600, keypoints, 2, 40, dtype))


def test_whole_ops_through_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public functions on the kernel's path, from check to autograd, on CPU tensors."""
    from genloc.ops import arguments
    from genloc.ops.correlation_map import cuda as map_cuda
    from genloc.ops.heatmap_log_expectation import cuda as expectation_cuda

    monkeypatch.setattr(arguments, "KERNEL_DEVICE", "cpu")
    monkeypatch.setattr(extension, "is_installed", lambda: True)
    for module in (map_cuda, expectation_cuda):
        for name in ("forward", "backward"):
            monkeypatch.setattr(module, f"torch_{name}", getattr(module, f"kernel_{name}"))
    case = Case(2, 70, 9, 2, 40, torch.float32)
    given = inputs(case)
    c, z = given["condition"].requires_grad_(), given["latent"].requires_grad_()
    t = given["log_target"].nan_to_num(neginf=-30).requires_grad_()
    got = heatmap_log_expectation(c, z, t, heads=2, implementation="cuda")
    maps = correlation_map(c, z, heads=2, implementation="cuda")
    launched = emulator.load.cache_info().currsize
    assert launched, "the kernels ran"
    loss = (got * given["upstream"]).sum() + (maps * given["upstream_map"]).sum()
    gradients = torch.autograd.grad(loss, (c, z, t))
    expected = heatmap_log_expectation_reference(c, z, t, heads=2, scale=40**-0.5)
    expected_maps = correlation_map_reference(c, z, heads=2, scale=40**-0.5)
    loss = (expected * given["upstream"]).sum() + (expected_maps * given["upstream_map"]).sum()
    for mine, true in zip(
        (got, maps, *gradients),
        (expected, expected_maps, *torch.autograd.grad(loss, (c, z, t))),
        strict=True,
    ):
        torch.testing.assert_close(mine, true, rtol=1e-4, atol=1e-5)
    assert math.isfinite(loss.item())
