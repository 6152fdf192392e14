"""The map against sums written out by hand, against SDPA, and across the paths of its torch form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.ops import correlation_map
from genloc.ops.correlation_map.reference import correlation_map_reference
from tests.ops.cases import assert_close, attention_inputs

# batch, tokens, keypoints, heads, depth
SHAPES = [
    (4, 1, 1, 1, 8),
    (5, 15, 17, 2, 8),
    (7, 64, 3, 4, 16),
    (1, 255, 133, 2, 8),
    (2, 256, 17, 8, 160),  # larger than a chunk: taken crop by crop without the fixture's help
]


def by_hand(condition: Tensor, latent: Tensor, heads: int) -> Tensor:
    """Equation 7, one number at a time in Python floats."""
    batch, tokens, width = latent.shape
    keypoints, depth = condition.shape[1], width // heads
    out = torch.zeros(batch, keypoints, tokens, dtype=torch.float64)
    for b in range(batch):
        c, z = condition[b % condition.shape[0]].tolist(), latent[b].tolist()
        for i in range(keypoints):
            for n in range(heads):
                span = range(n * depth, (n + 1) * depth)
                e = [
                    math.exp(sum(c[i][k] * z[j][k] for k in span) / depth**0.5)
                    for j in range(tokens)
                ]
                out[b, i] += torch.tensor(
                    [v / math.fsum(e) / heads for v in e], dtype=torch.float64
                )
    return out


@pytest.mark.parametrize("shared", [True, False])
def test_equals_the_sums_written_out(shared: bool) -> None:
    c, z, _ = attention_inputs(3, 6, 4, 2, 5, shared=shared, dtype=torch.float64)
    expected = by_hand(c.detach(), z.detach(), 2)
    assert_close(
        "reference", expected, correlation_map_reference(c, z, heads=2, scale=5**-0.5), 1e-12
    )
    assert_close("op", expected, correlation_map(c, z, heads=2), 1e-12)


def test_equals_sdpa_with_the_identity_as_value() -> None:
    c, z, _ = attention_inputs(2, 9, 4, 3, 8, shared=False, dtype=torch.float64)
    q, k = c.unflatten(-1, (3, 8)).transpose(1, 2), z.unflatten(-1, (3, 8)).transpose(1, 2)
    value = torch.eye(9, dtype=torch.float64).expand(2, 3, 9, 9)
    assert_close(
        "map",
        F.scaled_dot_product_attention(q, k, value).mean(1),
        correlation_map(c, z, heads=3),
        1e-12,
    )


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_form_equals_the_float64_reference(
    shape: tuple[int, int, int, int, int], shared: bool
) -> None:
    c, z, _ = attention_inputs(*shape, shared=shared)
    c64, z64 = c.detach().double().requires_grad_(), z.detach().double().requires_grad_()
    expected = correlation_map_reference(c64, z64, heads=shape[3], scale=shape[4] ** -0.5)
    got = correlation_map(c, z, heads=shape[3])
    assert got.dtype == torch.float32
    assert_close("map", expected, got, 1e-5)
    assert_close("row sums", torch.ones(got.shape[:2]), got.sum(-1), 1e-5)
    with torch.no_grad():
        assert_close("map without gradient", expected, correlation_map(c, z, heads=shape[3]), 1e-5)

    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    dc, dz = torch.autograd.grad(expected, (c64, z64), upstream.double())
    dc_got, dz_got = torch.autograd.grad(got, (c, z), upstream)
    assert_close("condition's gradient", dc, dc_got, 2e-5, terms=1e-2)
    assert_close("latent's gradient", dz, dz_got, 2e-5, terms=1e-2)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("shared", [True, False])
def test_gradcheck_in_float64(shared: bool) -> None:
    c, z, _ = attention_inputs(4, 5, 3, 2, 2, shared=shared, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda c, z: correlation_map(c, z, heads=2), (c, z))


@pytest.mark.usefixtures("chunked")
def test_only_the_gradient_that_is_wanted_is_made() -> None:
    c, z, _ = attention_inputs(4, 5, 3, 2, 2)
    upstream = torch.randn(4, 3, 5)
    both = torch.autograd.grad(correlation_map(c, z, heads=2), (c, z), upstream)
    for wanted, tensor in enumerate((c, z)):
        inputs = [c.detach(), z.detach()]
        inputs[wanted] = tensor
        (alone,) = torch.autograd.grad(correlation_map(*inputs, heads=2), tensor, upstream)
        assert torch.equal(alone, both[wanted])


def test_a_row_does_not_depend_on_the_other_keypoints() -> None:
    c, z, _ = attention_inputs(2, 12, 5, 2, 8, dtype=torch.float64)
    everything = correlation_map(c, z, heads=2)
    assert_close("rows", everything[:, 1:4], correlation_map(c[:, 1:4], z, heads=2), 1e-14)


def test_strided_and_expanded_inputs() -> None:
    c, z, _ = attention_inputs(3, 10, 4, 2, 8)
    expected = correlation_map(c, z, heads=2)
    wide = torch.full((10, 3, 40), torch.nan)
    wide[..., 12:28] = z.detach().transpose(0, 1)
    strided = wide.transpose(0, 1)[..., 12:28]
    assert not strided.is_contiguous()
    assert_close("latent", expected, correlation_map(c, strided, heads=2), 1e-6)
    assert_close("condition", expected, correlation_map(c.expand(3, -1, -1), z, heads=2), 1e-6)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_are_multiplied_and_normalised_in_float32(dtype: torch.dtype) -> None:
    # Logits of a few dozen: rounded to bfloat16 they would be off by 0.1, the map by a tenth.
    c, z, _ = attention_inputs(4, 33, 5, 2, 16, dtype=dtype, magnitude=3.0)
    got = correlation_map(c, z, heads=2)
    assert got.dtype == torch.float32
    expected = correlation_map_reference(c.double(), z.double(), heads=2, scale=0.25)
    assert_close("map", expected, got, 1e-5)
    dc, dz = torch.autograd.grad(got.square().sum(), (c, z))
    dc_expected, dz_expected = torch.autograd.grad(expected.square().sum(), (c, z))
    assert dc.dtype == dz.dtype == dtype
    assert_close("condition's gradient", dc_expected, dc, 1e-2)
    assert_close("latent's gradient", dz_expected, dz, 1e-2)


@pytest.mark.usefixtures("chunked")
def test_autocast_changes_nothing() -> None:
    c, z, _ = attention_inputs(4, 33, 5, 2, 16)
    expected = correlation_map(c, z, heads=2)
    gradients = torch.autograd.grad(expected.square().sum(), (c, z))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = correlation_map(c, z, heads=2)
        assert torch.equal(got, expected)
        for one, other in zip(
            gradients, torch.autograd.grad(got.square().sum(), (c, z)), strict=True
        ):
            assert torch.equal(one, other)


def test_dtypes_may_differ_under_autocast_only() -> None:
    c, z, _ = attention_inputs(2, 6, 3, 2, 4)
    half = z.to(torch.bfloat16)
    with pytest.raises(TypeError, match=r"condition: expected the latent's dtype torch.bfloat16"):
        correlation_map(c, half, heads=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = correlation_map(c, half, heads=2)
    assert torch.equal(got, correlation_map(c.to(torch.bfloat16), half, heads=2))


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("magnitude", [1e-6, 30.0])
def test_tiny_and_huge_logits(magnitude: float) -> None:
    c, z, _ = attention_inputs(4, 20, 3, 2, 8, magnitude=magnitude)
    expected = correlation_map_reference(c.double(), z.double(), heads=2, scale=8**-0.5)
    assert_close("map", expected, correlation_map(c, z, heads=2), 1e-3)


@pytest.mark.usefixtures("chunked")
def test_nan_stays_where_it_belongs() -> None:
    c, z, _ = attention_inputs(4, 6, 3, 2, 4)
    with torch.no_grad():
        c[0, 1, 0] = torch.nan
        assert (
            correlation_map(c, z, heads=2).isnan().all(-1)[:, [0, 1, 2]].tolist()
            == [[False, True, False]] * 4
        )
        c[0, 1, 0], z[2, 5, 7] = 0, torch.nan
        assert correlation_map(c, z, heads=2).isnan().all(-1).all(-1).tolist() == [
            False,
            False,
            True,
            False,
        ]


@pytest.mark.usefixtures("chunked")
def test_empty_batch() -> None:
    c, z, _ = attention_inputs(0, 6, 3, 2, 4)
    got = correlation_map(c, z, heads=2)
    assert got.shape == (0, 3, 6)
    dc, dz = torch.autograd.grad(got.sum(), (c, z))
    assert dz.shape == (0, 6, 8)
    assert torch.equal(dc, torch.zeros(1, 3, 8))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(backend: str) -> None:
    c, z, _ = attention_inputs(3, 12, 4, 2, 8)
    compiled = torch.compile(
        lambda c, z: correlation_map(c, z, heads=2), fullgraph=True, backend=backend
    )
    assert_close("map", correlation_map(c, z, heads=2), compiled(c, z), 1e-5)
    expected = torch.autograd.grad(correlation_map(c, z, heads=2).square().sum(), (c, z))
    got = torch.autograd.grad(compiled(c, z).square().sum(), (c, z))
    assert_close("condition's gradient", expected[0], got[0], 1e-5)
    assert_close("latent's gradient", expected[1], got[1], 1e-5)


def test_errors_name_the_argument() -> None:
    c, z = torch.zeros(1, 3, 8), torch.zeros(2, 6, 8)
    with pytest.raises(TypeError, match=r"latent: expected a torch.Tensor .*got list"):
        correlation_map(c, [1.0], heads=2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"condition: expected float64.*got torch.int64"):
        correlation_map(c.long(), z, heads=2)
    with pytest.raises(ValueError, match=r"latent: expected shape \[B, T, .*got \(6, 8\)"):
        correlation_map(c, z[0], heads=2)
    with pytest.raises(ValueError, match=r"latent: .*divisible by heads = 3, got \(2, 6, 8\)"):
        correlation_map(c, z, heads=3)
    with pytest.raises(ValueError, match=r"latent: .*T >= 1.*got \(2, 0, 8\)"):
        correlation_map(c, z[:, :0], heads=2)
    with pytest.raises(ValueError, match=r"condition: expected \[B or 1, K, 8\].*got \(1, 3, 4\)"):
        correlation_map(c[..., :4], z, heads=2)
    with pytest.raises(ValueError, match=r"condition: .*K >= 1.*got \(1, 0, 8\)"):
        correlation_map(c[:, :0], z, heads=2)
    with pytest.raises(ValueError, match=r"condition: expected a first axis of 1 \(shared\) or 2"):
        correlation_map(c.expand(3, -1, -1), z, heads=2)
    with pytest.raises(ValueError, match="condition: expected it on the latent's device cpu"):
        correlation_map(c.to("meta"), z, heads=2)
    with pytest.raises(ValueError, match="heads: expected a positive int, got 0"):
        correlation_map(c, z, heads=0)
    with pytest.raises(TypeError, match="scale: expected a float or None, got str"):
        correlation_map(c, z, heads=2, scale="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='implementation: expected "auto"'):
        correlation_map(c, z, heads=2, implementation="fast")  # type: ignore[arg-type]


def test_a_refused_kernel_says_every_reason() -> None:
    c, z = torch.zeros(1, 3, 8), torch.zeros(2, 6, 8).double()
    with pytest.raises(RuntimeError) as caught:
        correlation_map(c.double(), z, heads=2, implementation="cuda")
    assert "latent is on cpu" in str(caught.value)
    assert "float64" in str(caught.value)
