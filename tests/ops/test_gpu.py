"""The kernels on a GPU: the list of shapes, graphs, compilers, determinism, sanitizers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genloc.ops import correlation_map, extension, heatmap_log_expectation, launches
from tests.ops import kernel_cases
from tests.ops.cases import assert_close, attention_inputs
from tests.ops.kernel_cases import ALL, KERNEL_FORMS, QUICK, RESULTS, Case, check, inputs
from tests.ops.test_kernels import OPS, nan
from tests.ops.test_library import loss_of, truth_of

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def nan_before(monkeypatch: pytest.MonkeyPatch) -> None:
    if not extension.is_installed():
        pytest.skip("cuda-core is not installed")
    monkeypatch.setattr(launches, "empty", nan)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("case", QUICK + ALL, ids=str)
def test_kernel_is_at_most_twice_as_wrong_as_torch(op: str, case: Case) -> None:
    check(op, case, "cuda")


@pytest.mark.parametrize("op", OPS)
def test_every_run_gives_the_same_bits(op: str) -> None:
    case = Case(4, 4096, 17, 8, 40, torch.bfloat16)
    given = inputs(case, "cuda")
    first = RESULTS[op](case, given, KERNEL_FORMS[op])
    for _ in range(5):
        again = RESULTS[op](case, given, KERNEL_FORMS[op])
        assert all(torch.equal(first[name], again[name]) for name in first)


def on_gpu(dtype: torch.dtype = torch.bfloat16) -> tuple[torch.Tensor, ...]:
    c, z, t = attention_inputs(3, 1024, 17, 2, 8, dtype=dtype)
    return tuple(x.detach().cuda().requires_grad_() for x in (c, z, t))


def test_auto_takes_the_kernel_also_in_deterministic_mode() -> None:
    c, z, t = on_gpu()
    torch.use_deterministic_algorithms(True)
    try:
        got = heatmap_log_expectation(c, z, t, heads=2, implementation="cuda")
        gradients = torch.autograd.grad(got.sum(), (c, z, t))
    finally:
        torch.use_deterministic_algorithms(False)
    auto = heatmap_log_expectation(c, z, t, heads=2)
    assert torch.equal(auto, got)
    again = torch.autograd.grad(auto.sum(), (c, z, t))
    assert all(torch.equal(a, b) for a, b in zip(gradients, again, strict=True))


def test_compiles_in_one_graph() -> None:
    c, z, t = on_gpu(torch.float32)
    got = torch.compile(loss_of, fullgraph=True)(c, z, t)
    expected = truth_of(c, z, t)
    assert_close("value", expected, got, 1e-4)
    for name, a, b in zip(
        "czt",
        torch.autograd.grad(expected, (c, z, t)),
        torch.autograd.grad(got, (c, z, t)),
        strict=True,
    ):
        assert_close(name, a, b, 1e-3)


def test_replays_in_a_cuda_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # filling with NaN is no part of what is captured
    c, z, t = (x.detach() for x in on_gpu())
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            correlation_map(c, z, heads=2)
            heatmap_log_expectation(c, z, t, heads=2)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        maps = correlation_map(c, z, heads=2)
        value = heatmap_log_expectation(c, z, t, heads=2)
    for seed in range(2):
        torch.manual_seed(seed)
        z.copy_(torch.randn_like(z))
        graph.replay()
        assert torch.equal(maps, correlation_map(c, z, heads=2))
        assert torch.equal(value, heatmap_log_expectation(c, z, t, heads=2))


def test_a_row_of_minus_infinity_is_an_asynchronous_error() -> None:
    program = (
        "import torch; from genloc.ops import heatmap_log_expectation; "
        "c, z = torch.zeros(1, 2, 16).cuda(), torch.zeros(1, 9, 16).cuda(); "
        "t = torch.full((1, 2, 9), -torch.inf).cuda(); "
        "heatmap_log_expectation(c, z, t, heads=2); torch.cuda.synchronize()"
    )
    # An assertion on the device spoils its context: in a process of its own.
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on the PATH")
    root = Path(__file__).resolve().parents[2]
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9"]
    command += [sys.executable, "-m", "tests.ops.test_gpu"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=500)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


if __name__ == "__main__":  # what compute-sanitizer watches
    for each in QUICK:
        for which in OPS:
            RESULTS[which](each, inputs(each, "cuda"), kernel_cases.KERNEL_FORMS[which])
    torch.cuda.synchronize()
