"""The log-expectation against SDPA, by hand, far from the target, and across its paths."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from genloc.ops import correlation_map, gaussian_log_target, heatmap_log_expectation
from genloc.ops.heatmap_log_expectation.reference import heatmap_log_expectation_reference
from tests.ops.cases import assert_close, attention_inputs
from tests.ops.test_correlation_map import SHAPES


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("shared", [True, False])
def test_equals_sdpa_with_the_target_as_value(shared: bool) -> None:
    c, z, log_target = attention_inputs(4, 9, 5, 3, 8, shared=shared, dtype=torch.float64)
    q = c.expand(4, -1, -1).unflatten(-1, (3, 8)).transpose(1, 2)
    k = z.unflatten(-1, (3, 8)).transpose(1, 2)
    value = log_target.exp().transpose(1, 2)[:, None].expand(-1, 3, -1, -1)  # [B, N, T, K]
    attended = F.scaled_dot_product_attention(q, k, value)  # [B, N, K, K]: query i, target i'
    expected = attended.diagonal(dim1=-2, dim2=-1).mean(1).log()
    assert_close("op", expected, heatmap_log_expectation(c, z, log_target, heads=3), 1e-12)


@pytest.mark.usefixtures("chunked")
def test_is_the_log_of_the_expectation_under_the_map() -> None:
    c, z, log_target = attention_inputs(4, 30, 5, 2, 8, dtype=torch.float64)
    expected = (correlation_map(c, z, heads=2) * log_target.exp()).sum(-1).log()
    assert_close("op", expected, heatmap_log_expectation(c, z, log_target, heads=2), 1e-12)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_form_equals_the_float64_reference(
    shape: tuple[int, int, int, int, int], shared: bool
) -> None:
    c, z, log_target = attention_inputs(*shape, shared=shared)
    c64, z64 = c.detach().double().requires_grad_(), z.detach().double().requires_grad_()
    expected = heatmap_log_expectation_reference(
        c64, z64, log_target.double(), heads=shape[3], scale=shape[4] ** -0.5
    )
    got = heatmap_log_expectation(c, z, log_target, heads=shape[3])
    assert got.dtype == torch.float32
    assert_close("value", expected, got, 1e-5)
    with torch.no_grad():
        alone = heatmap_log_expectation(c, z, log_target, heads=shape[3])
    assert_close("value without gradient", expected, alone, 1e-5)

    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    dc, dz = torch.autograd.grad(expected, (c64, z64), upstream.double())
    dc_got, dz_got = torch.autograd.grad(got, (c, z), upstream)
    assert_close("condition's gradient", dc, dc_got, 2e-5, terms=1e-2)
    assert_close("latent's gradient", dz, dz_got, 2e-5, terms=1e-2)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("shared", [True, False])
def test_gradcheck_in_float64(shared: bool) -> None:
    c, z, log_target = attention_inputs(4, 5, 3, 2, 2, shared=shared, dtype=torch.float64)
    log_target = log_target / 5

    def op(c: torch.Tensor, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return heatmap_log_expectation(c, z, t, heads=2)

    assert torch.autograd.gradcheck(op, (c, z, log_target))
    assert torch.autograd.gradcheck(op, (c, z, log_target.requires_grad_()))


def test_the_reference_can_be_differentiated_twice() -> None:
    c, z, log_target = attention_inputs(2, 4, 2, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(
        lambda c, z: heatmap_log_expectation_reference(c, z, log_target, heads=2, scale=0.7), (c, z)
    )


@pytest.mark.usefixtures("chunked")
def test_gradient_in_the_logits_is_c_times_one_minus_target_over_expectation() -> None:
    # One head of one channel and a condition of 1: the latent is the logits.
    logits = torch.randn(2, 49, 1, dtype=torch.float64).requires_grad_()
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    points = torch.tensor([[[2.3, 4.1]], [[6.0, -1.0]]], dtype=torch.float64)
    log_target = gaussian_log_target(points, (7, 7), 1.5, (7, 7))
    loss = -heatmap_log_expectation(one, logits, log_target, heads=1)
    (got,) = torch.autograd.grad(loss.sum(), logits)
    c, h = logits.detach()[..., 0].softmax(-1), log_target[:, 0].exp()
    expectation = (c * h).sum(-1, keepdim=True)
    assert_close("gradient", c * (1 - h / expectation), got[..., 0], 1e-12)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize(
    ("cells", "sigma", "loss"), [(64, 2, 5.094), (32, 2, 3.707), (32, 1, 5.094)]
)
def test_uniform_map(cells: int, sigma: float, loss: float) -> None:
    condition, latent = torch.zeros(1, 2, 8), torch.randn(1, cells**2, 8)
    points = torch.tensor([[[cells / 2, cells / 2], [0.4 * cells, 0.6 * cells]]])
    log_target = gaussian_log_target(points, (cells, cells), sigma, (cells, cells))
    got = -heatmap_log_expectation(condition, latent, log_target, heads=2)
    assert got[0].tolist() == pytest.approx([loss, loss], abs=5e-4)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_confident_map_55_cells_off_gives_a_finite_loss_and_gradient(dtype: torch.dtype) -> None:
    # All mass on cell (4, 10), the point at (59, 10), on a grid of 64 x 64 with sigma 2.
    latent = torch.zeros(1, 64 * 64, 1, dtype=dtype)
    latent[0, 10 * 64 + 4] = 3000
    latent.requires_grad_()
    condition = torch.ones(1, 1, 1, dtype=dtype, requires_grad=True)
    log_target = gaussian_log_target(torch.tensor([[[59.0, 10.0]]]), (64, 64), 2.0, (64, 64))
    value = heatmap_log_expectation(condition, latent, log_target, heads=1)
    linear = (correlation_map(condition, latent, heads=1) * log_target.exp()).sum(-1)
    assert linear.item() == 0, "the linear form underflows here, so that this case is a test"
    # The other cells hold exp(-3000) each: nothing beside the target's exp(-378) at the mass.
    assert value.item() == pytest.approx(-(55**2) / 8, rel=1e-5)
    dc, dz = torch.autograd.grad(value.sum(), (condition, latent))
    assert dc.isfinite().all()
    assert dz.isfinite().all()

    # Less confident, and the gradient says where to: away from the mass, towards the point.
    latent = latent.detach() / 3000 * 360
    value = heatmap_log_expectation(condition, latent.requires_grad_(), log_target, heads=1)
    (dz,) = torch.autograd.grad(value.sum(), latent)
    assert value.isfinite().all()
    assert dz.float().argmin() == 10 * 64 + 4
    assert dz.float().argmax() % 64 > 50


@pytest.mark.usefixtures("chunked")
def test_backward_twice_through_one_graph_gives_the_same() -> None:
    c, z, log_target = attention_inputs(4, 6, 3, 2, 4)
    value = heatmap_log_expectation(c, z, log_target, heads=2)
    first = torch.autograd.grad(value.sum(), (c, z), retain_graph=True)
    second = torch.autograd.grad(value.sum(), (c, z))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.usefixtures("chunked")
def test_log_targets_of_any_dtype_and_stride() -> None:
    c, z, log_target = attention_inputs(4, 6, 3, 2, 4)
    expected = heatmap_log_expectation(c, z, log_target, heads=2)
    double = heatmap_log_expectation(c, z, log_target.double(), heads=2)
    assert double.dtype == torch.float32
    assert_close("float64 target", expected, double, 1e-6)
    strided = log_target.transpose(0, 2).contiguous().transpose(0, 2)
    assert_close("strided", expected, heatmap_log_expectation(c, z, strided, heads=2), 1e-6)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_are_multiplied_and_normalised_in_float32(dtype: torch.dtype) -> None:
    c, z, log_target = attention_inputs(4, 33, 5, 2, 16, dtype=dtype, magnitude=3.0)
    got = heatmap_log_expectation(c, z, log_target, heads=2)
    assert got.dtype == torch.float32
    expected = heatmap_log_expectation_reference(
        c.double(), z.double(), log_target.double(), heads=2, scale=0.25
    )
    assert_close("value", expected, got, 1e-5)
    dc_expected, dz_expected = torch.autograd.grad(expected.sum(), (c, z))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dc, dz = torch.autograd.grad(got.sum(), (c, z))
    assert dc.dtype == dz.dtype == dtype
    assert_close("condition's gradient", dc_expected, dc, 1e-2)
    assert_close("latent's gradient", dz_expected, dz, 1e-2)


@pytest.mark.usefixtures("chunked")
def test_autocast_changes_nothing() -> None:
    c, z, log_target = attention_inputs(4, 33, 5, 2, 16)
    expected = heatmap_log_expectation(c, z, log_target, heads=2)
    gradients = torch.autograd.grad(expected.sum(), (c, z), retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = heatmap_log_expectation(c, z, log_target, heads=2)
        assert torch.equal(got, expected)
        inside = torch.autograd.grad(got.sum(), (c, z))
    assert all(torch.equal(a, b) for a, b in zip(gradients, inside, strict=True))


@pytest.mark.usefixtures("chunked")
def test_nan_stays_where_it_belongs() -> None:
    c, z, log_target = attention_inputs(4, 6, 3, 2, 4)
    log_target[0, 2, 1] = torch.nan
    with torch.no_grad():
        c[0, 1, 0], z[3, 5, 7] = torch.nan, torch.nan
    got = heatmap_log_expectation(c, z, log_target, heads=2)
    assert got.isnan().tolist() == [
        [False, True, True],
        [False, True, False],
        [False, True, False],
        [True, True, True],
    ]


@pytest.mark.usefixtures("chunked")
def test_a_target_of_minus_infinity() -> None:
    c, z, log_target = attention_inputs(4, 6, 3, 2, 4)
    log_target[2, 1, 1:] = -torch.inf
    value = heatmap_log_expectation(c, z, log_target, heads=2)
    expected = correlation_map(c, z, heads=2)[2, 1, 0].log() + log_target[2, 1, 0]
    assert value[2, 1].item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(g.isfinite().all() for g in torch.autograd.grad(value.sum(), (c, z)))
    log_target[2, 1, 0] = -torch.inf
    with pytest.raises(ValueError, match=r"log_target: .*only minus infinity in \[2, 1, :\]"):
        heatmap_log_expectation(c, z, log_target, heads=2)
    # A spoilt input is no empty target.
    log_target[2, 1, 0] = torch.nan
    assert heatmap_log_expectation(c, z, log_target, heads=2)[2, 1].isnan()


@pytest.mark.usefixtures("chunked")
def test_empty_batch() -> None:
    c, z, log_target = attention_inputs(0, 6, 3, 2, 4)
    got = heatmap_log_expectation(c, z, log_target, heads=2)
    assert got.shape == (0, 3)
    dc, dz = torch.autograd.grad(got.sum(), (c, z))
    assert dz.shape == (0, 6, 8)
    assert torch.equal(dc, torch.zeros(1, 3, 8))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(backend: str) -> None:
    c, z, log_target = attention_inputs(3, 12, 4, 2, 8)
    compiled = torch.compile(
        lambda c, z, t: heatmap_log_expectation(c, z, t, heads=2), fullgraph=True, backend=backend
    )
    expected = heatmap_log_expectation(c, z, log_target, heads=2)
    got = compiled(c, z, log_target)
    assert_close("value", expected, got, 1e-5)
    gradients = torch.autograd.grad(expected.sum(), (c, z))
    for name, a, b in zip("cz", gradients, torch.autograd.grad(got.sum(), (c, z)), strict=True):
        assert_close(name, a, b, 1e-5)
    with pytest.raises(RuntimeError, match="only minus infinity"):
        compiled(c, z, log_target - torch.inf)


def test_errors_name_the_argument() -> None:
    c, z, t = torch.zeros(1, 3, 8), torch.zeros(2, 6, 8), torch.zeros(2, 3, 6)
    with pytest.raises(ValueError, match=r"log_target: expected \[B, K, T\] = \[2, 3, 6\], got"):
        heatmap_log_expectation(c, z, t.transpose(1, 2), heads=2)
    with pytest.raises(ValueError, match=r"log_target: expected \[B, K, T\] = \[2, 3, 6\], got"):
        heatmap_log_expectation(c, z, t[:1], heads=2)
    with pytest.raises(TypeError, match=r"log_target: expected float64.*got torch.bool"):
        heatmap_log_expectation(c, z, t.bool(), heads=2)
    with pytest.raises(ValueError, match="log_target: expected it on the latent's device cpu"):
        heatmap_log_expectation(c, z, t.to("meta"), heads=2)
    with pytest.raises(ValueError, match=r"latent: .*divisible by heads = 3"):
        heatmap_log_expectation(c, z, t, heads=3)
    with pytest.raises(RuntimeError, match=r"refused: .*latent is on cpu"):
        heatmap_log_expectation(c, z, t, heads=2, implementation="cuda")
