"""The ops as torch.library and torch.compile see them; on a CPU they are filled by torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genloc.ops import arguments, correlation_map, extension, heatmap_log_expectation
from genloc.ops.correlation_map import cuda as map_cuda
from genloc.ops.correlation_map.reference import correlation_map_reference
from genloc.ops.heatmap_log_expectation import cuda as expectation_cuda
from genloc.ops.heatmap_log_expectation.reference import heatmap_log_expectation_reference
from tests.ops.cases import assert_close, attention_inputs

# The backward ops have no gradient of their own.
WITHOUT_GRADIENT = ("test_schema", "test_faketensor")


@pytest.fixture
def kernel_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU tensors go the way of CUDA tensors, up to the op that torch.library knows."""
    monkeypatch.setattr(arguments, "KERNEL_DEVICE", "cpu")
    monkeypatch.setattr(extension, "is_installed", lambda: True)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("dtype", "shared"), [(torch.float32, True), (torch.bfloat16, False)], ids=str
)
def test_opcheck(dtype: torch.dtype, shared: bool) -> None:
    c, z, t = attention_inputs(2, 9, 3, 2, 8, shared=shared, dtype=dtype)
    torch.library.opcheck(expectation_cuda.forward_op, (c, z, t.requires_grad_(), 2, 0.3))
    torch.library.opcheck(map_cuda.forward_op, (c, z, 2, 0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck_of_the_backward_ops(dtype: torch.dtype) -> None:
    c, z, t = (x.detach() for x in attention_inputs(2, 9, 3, 2, 8, dtype=dtype))
    out, statistics = expectation_cuda.forward_op(c, z, t, 2, 0.3)
    up = torch.ones_like(out)
    for wanted in ([True, True, True], [True, False, False], [False, True, True]):
        torch.library.opcheck(
            expectation_cuda.backward_op,
            (up, c, z, t, statistics, 2, 0.3, wanted),
            test_utils=WITHOUT_GRADIENT,
        )
    maps, statistics = map_cuda.forward_op(c, z, 2, 0.3)
    up = torch.ones_like(maps)
    for wanted in ([True, True], [True, False], [False, True]):
        torch.library.opcheck(
            map_cuda.backward_op,
            (up, c, z, statistics, 2, 0.3, wanted),
            test_utils=WITHOUT_GRADIENT,
        )


def test_opcheck_of_an_empty_batch() -> None:
    c, z, t = attention_inputs(0, 9, 3, 2, 8)
    for op, given in ((expectation_cuda.forward_op, (c, z, t)), (map_cuda.forward_op, (c, z))):
        torch.library.opcheck(op, (*given, 2, 0.3), test_utils=WITHOUT_GRADIENT)


def test_gradcheck() -> None:
    c, z, t = attention_inputs(2, 5, 3, 2, 8, dtype=torch.float64)
    t.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c, z, t: expectation_cuda.forward_op(c, z, t, 2, 0.3)[0], (c, z, t)
    )
    assert torch.autograd.gradcheck(lambda c, z: map_cuda.forward_op(c, z, 2, 0.3)[0], (c, z))


def loss_of(c: Tensor, z: Tensor, t: Tensor) -> Tensor:
    value = heatmap_log_expectation(c, z, t, heads=2)
    return value.sum() + correlation_map(c, z, heads=2).square().sum()


def truth_of(c: Tensor, z: Tensor, t: Tensor) -> Tensor:
    value = heatmap_log_expectation_reference(c, z, t, heads=2, scale=8**-0.5)
    return value.sum() + correlation_map_reference(c, z, heads=2, scale=8**-0.5).square().sum()


@pytest.mark.usefixtures("kernel_path")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(backend: str) -> None:
    c, z, t = attention_inputs(3, 12, 4, 2, 8)
    t.requires_grad_()
    graphs: list[torch.fx.GraphModule] = []

    def spy(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append(graph)
        return torch._dynamo.lookup_backend(backend)(graph, inputs)

    got = torch.compile(loss_of, fullgraph=True, backend=spy)(c, z, t)
    (graph,) = graphs
    called = {str(node.target) for node in graph.graph.nodes}
    assert any("genloc.heatmap_log_expectation" in name for name in called), called
    assert any("genloc.correlation_map" in name for name in called), called
    expected = truth_of(c, z, t)
    assert_close("value", expected, got, 1e-5)
    for name, a, b in zip(
        "czt",
        torch.autograd.grad(expected, (c, z, t)),
        torch.autograd.grad(got, (c, z, t)),
        strict=True,
    ):
        assert_close(name, a, b, 1e-4)


@pytest.mark.usefixtures("kernel_path")
def test_autocast_brings_both_to_one_dtype_and_changes_nothing_else() -> None:
    c, z, t = attention_inputs(3, 12, 4, 2, 8)
    half = z.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss_of(c, half, t)
        gradients = torch.autograd.grad(got, (c, half))
    expected = truth_of(c.bfloat16(), half, t)
    assert_close("value", expected, got, 1e-5)
    assert [g.dtype for g in gradients] == [torch.float32, torch.bfloat16]
    for name, a, b in zip("cz", torch.autograd.grad(expected, (c, half)), gradients, strict=True):
        assert_close(name, a, b, 1e-2)


@pytest.mark.usefixtures("kernel_path")
def test_the_kernel_path_is_taken_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    c, z, t = attention_inputs(2, 12, 4, 2, 8)
    assert arguments.takes_kernel("auto", expectation_cuda.OP, c, z, 2)
    assert not arguments.takes_kernel("torch", expectation_cuda.OP, c, z, 2)
    assert not arguments.takes_kernel("auto", expectation_cuda.OP, c.double(), z.double(), 2)
    name = type(heatmap_log_expectation(c, z, t, heads=2, implementation="cuda").grad_fn).__name__
    assert "heatmap_log_expectation" in name


@pytest.mark.usefixtures("kernel_path")
def test_statistics_carry_no_gradient() -> None:
    c, z, t = attention_inputs(2, 12, 4, 2, 8)
    out, statistics = expectation_cuda.forward_op(c, z, t, 2, 0.3)
    assert out.requires_grad
    assert not statistics.requires_grad
