from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor2_0

from genloc.models.attention import (
    CKHEAttnProcessor,
    Reading,
    _sdpa,
    attentions,
    check_installed,
    check_record,
    cross_attention_layers,
    install,
    remove,
)
from tests.make_prior import tiny_modules

UP = [
    f"up_blocks.{block}.attentions.{i}.transformer_blocks.0.attn2"
    for block in (1, 2)
    for i in range(2)
]


@pytest.fixture
def unet():
    return tiny_modules()["unet"]


def run(unet, reading=None, context=None):
    torch.manual_seed(0)
    latent = torch.randn(2, 4, 16, 12)
    context = torch.randn(2, 5, 24) if context is None else context
    kwargs = None if reading is None else {"reading": reading}
    return unet(latent, 1, context, cross_attention_kwargs=kwargs).sample


def keep_logits(name, key, query, heads, scale):
    return torch.einsum("bkc,btc->bkt", key.expand(len(query), -1, -1), query) * scale


def test_layers_are_found_by_name_in_the_order_of_running(unet):
    assert list(cross_attention_layers(unet)) == UP
    everything = list(cross_attention_layers(unet, "all"))
    assert [n.split(".")[0] for n in everything] == (
        ["down_blocks"] * 2 + ["mid_block"] + ["up_blocks"] * 4
    )
    assert all(n.endswith("attn2") for n in everything)
    ran = []
    for name, attn in cross_attention_layers(unet, "all").items():
        attn.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    run(unet)
    assert ran == everything
    with pytest.raises(ValueError, match="'up' or 'all'"):
        cross_attention_layers(unet, "down")  # type: ignore[arg-type]


def test_latent_is_updated_as_by_diffusers(unet, caplog):
    stock = run(unet)
    install(unet, UP)
    caplog.set_level(logging.WARNING)
    reading = Reading(keep_logits, frozenset(UP))
    assert torch.equal(run(unet, reading), stock)  # reading changes nothing, to the last bit
    assert torch.equal(run(unet), stock)
    assert not caplog.records  # every processor takes the argument; diffusers warns otherwise
    assert list(reading.record) == UP
    assert reading.record[UP[0]].shape == (2, 5, 8 * 6)


def test_one_context_for_all_equals_copies_of_it(unet):
    install(unet, UP)
    context = torch.randn(1, 5, 24)
    shared = run(unet, context=context)
    torch.testing.assert_close(shared, run(unet, context=context.expand(2, -1, -1)))


@pytest.mark.parametrize("tokens", [40, 1100])  # product by product, and torch's own kernel
def test_attention_in_bf16_on_a_cpu_is_attention(tokens):
    torch.manual_seed(0)
    q, k, v, upstream = (torch.randn(1, 2, tokens, 8, dtype=torch.bfloat16) for _ in range(4))

    def answers(attend: Any, dtype: torch.dtype) -> list[torch.Tensor]:
        q2, k2, v2 = (x.detach().to(dtype).requires_grad_() for x in (q, k, v))
        out = attend(q2, k2, v2, scale=0.4)
        return [out, *torch.autograd.grad(out, (q2, k2, v2), upstream.to(dtype))]

    truth = answers(F.scaled_dot_product_attention, torch.float64)
    found = answers(_sdpa, torch.bfloat16)
    assert found[0].dtype == torch.bfloat16
    for is_, should in zip(found, truth, strict=True):
        assert (is_.double() - should).abs().max() < 0.03 * should.abs().max()


def test_read_out_uses_the_layers_own_projections(unet):
    install(unet, UP)
    seen: dict[str, torch.Tensor] = {}
    layer = cross_attention_layers(unet)[UP[1]]
    layer.register_forward_pre_hook(lambda m, args, kw: seen.update(x=args[0]), with_kwargs=True)
    asked = torch.randn(1, 3, 24)
    reading = Reading(keep_logits, frozenset(UP), condition=asked)
    run(unet, reading)
    q, k = seen["x"] @ layer.to_q.weight.T, asked @ layer.to_k.weight.T
    truth = keep_logits("", k, q, 2, q.shape[-1] ** -0.5 * 2**0.5)
    torch.testing.assert_close(reading.record[UP[1]], truth)


def test_install_twice_is_refused_and_remove_restores(unet):
    before = {name: attn.processor for name, attn in attentions(unet)}
    with pytest.raises(RuntimeError, match="no CKHE processors"):
        remove(unet)
    install(unet, UP)
    with pytest.raises(RuntimeError, match="already"):
        install(unet, UP)
    assert all(isinstance(a.processor, CKHEAttnProcessor) for _, a in attentions(unet))
    remove(unet)
    assert all(attn.processor is before[name] for name, attn in attentions(unet))
    install(unet, UP)


def test_unknown_layers_and_other_attentions_are_refused(unet):
    with pytest.raises(ValueError, match="not in this U-Net"):
        install(unet, ["up_blocks.9.attn2"])
    layer = cross_attention_layers(unet)[UP[0]]
    layer.norm_cross = torch.nn.LayerNorm(24)
    with pytest.raises(ValueError, match="norm_cross"):
        install(unet, UP)
    assert not any(isinstance(a.processor, CKHEAttnProcessor) for _, a in attentions(unet))


@pytest.mark.parametrize(
    "silent", ["set_attention_slice", "fuse_qkv_projections", "set_attn_processor"]
)
def test_silent_replacement_of_processors_is_noticed(unet, silent):
    install(unet, UP)
    if silent == "set_attention_slice":
        unet.set_attention_slice("auto")
    elif silent == "fuse_qkv_projections":
        unet.fuse_qkv_projections()
    else:
        unet.set_attn_processor(AttnProcessor2_0())
    reading = Reading(keep_logits, frozenset(UP))
    run(unet, reading)
    words = "no map from 4 of 4 layers.*Processor.*set_attention_slice"
    with pytest.raises(RuntimeError, match=words):
        check_record(unet, reading)
    with pytest.raises(RuntimeError, match=words):
        check_installed(unet, UP)


def test_one_silent_layer_is_named(unet):
    install(unet, UP)
    layer = cross_attention_layers(unet)[UP[2]]
    layer.set_processor(copy.copy(layer.processor.original))
    reading = Reading(keep_logits, frozenset(UP))
    run(unet, reading)
    with pytest.raises(RuntimeError, match=f"1 of 4 layers, e.g. {UP[2]}.*AttnProcessor2_0"):
        check_record(unet, reading)


def test_masks_are_refused(unet):
    install(unet, UP)
    layer = cross_attention_layers(unet)[UP[0]]
    with pytest.raises(ValueError, match="masks"):
        layer(torch.zeros(1, 4, 32), torch.zeros(1, 5, 24), attention_mask=torch.ones(1, 5))


def test_xformers_where_it_does_not_fit_is_refused_with_the_reason(unet):
    try:
        import xformers.ops  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match=r"refused: ModuleNotFoundError.*sdpa"):
            install(unet, UP, attention="xformers")
        return
    install(unet, UP, attention="xformers")
    with pytest.raises(ValueError, match=r"^attention='xformers' refused: .*sdpa"):
        run(unet)  # it has no kernels for the CPU


def test_a_kernel_that_refuses_is_said_in_a_line(unet, monkeypatch):
    import sys
    import types

    def refused(q, k, v, scale):
        raise NotImplementedError("No operator found for these inputs:\n  query: ...\n  key: ...")

    ops = types.ModuleType("xformers.ops")
    ops.memory_efficient_attention = refused  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xformers", types.ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    install(unet, UP, attention="xformers")
    with pytest.raises(
        ValueError, match=r"no kernel for float32 on cpu with \d+ channels.*sdpa"
    ) as e:
        run(unet)
    assert "\n" not in str(e.value)


def test_xformers_is_called_inside_our_processor(unet, monkeypatch):
    """With a stand-in for its kernel: the layout handed over and taken back is right."""
    import sys
    import types

    def memory_efficient_attention(q, k, v, scale):  # [B, T, N, D]
        weights = torch.softmax(torch.einsum("btnd,bknd->bntk", q, k) * scale, -1)
        return torch.einsum("bntk,bknd->btnd", weights, v)

    ops = types.ModuleType("xformers.ops")
    ops.memory_efficient_attention = memory_efficient_attention  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xformers", types.ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    stock = run(unet)
    install(unet, UP, attention="xformers")
    torch.testing.assert_close(run(unet), stock)
