from __future__ import annotations

import pytest
import torch

from genloc.models.attention import Reading, cross_attention_layers, install
from genloc.models.walk import grids, place, unreached, walk
from tests.make_prior import tiny_modules


def keep_logits(name, key, query, heads, scale):
    return torch.einsum("bkc,btc->bkt", key.expand(len(query), -1, -1), query) * scale


@pytest.fixture(params=[False, True], ids=["conv", "linear"])
def unet(request):
    unet = tiny_modules()["unet"]
    if request.param:  # Stable Diffusion 2's projections
        config = dict(unet.config, use_linear_projection=True)
        torch.manual_seed(0)
        unet = type(unet).from_config(config)
    install(unet, cross_attention_layers(unet))
    return unet.requires_grad_(False)


def readings(unet, last=None):
    names = frozenset(cross_attention_layers(unet))
    return Reading(keep_logits, names, last=last)


@pytest.mark.parametrize("size", [(16, 16), (8, 12)])
def test_records_what_the_whole_forward_records(unet, size):
    latent, context = torch.randn(2, 4, *size), torch.randn(2, 5, 24)
    whole = readings(unet)
    unet(latent, 7, context, cross_attention_kwargs={"reading": whole})
    for last in whole.record:
        short = readings(unet, last)
        walk(unet, latent, 7, context, short)
        names = list(whole.record)
        assert list(short.record) == names[: names.index(last) + 1]  # and nothing after it
        for name, value in short.record.items():
            torch.testing.assert_close(value, whole.record[name], msg=name)


def test_modules_called_unreached_do_not_run_and_the_others_do(unet):
    for last in cross_attention_layers(unet):
        ran: set[str] = set()
        hooks = [
            module.register_forward_hook(lambda *_, name=name, ran=ran: ran.add(name))
            for name, module in unet.named_modules()
            if not list(module.children())
        ]
        walk(unet, torch.randn(1, 4, 8, 8), 1, torch.randn(1, 5, 24), readings(unet, last))
        for hook in hooks:
            hook.remove()
        leaves = {
            name
            for name, module in unet.named_modules()
            if not list(module.children()) and list(module.parameters())
        }
        not_run = unreached(unet, last)
        assert leaves - ran == {name for name in leaves if f"{name}.".startswith(not_run)}


def test_grids_are_those_of_the_tokens(unet):
    reading = readings(unet)
    unet(
        torch.randn(1, 4, 16, 8),
        1,
        torch.randn(1, 5, 24),
        cross_attention_kwargs={"reading": reading},
    )
    found = grids(unet, (16, 8))
    assert found == [(4, 2), (8, 4), (16, 8)]
    for name, value in reading.record.items():
        h, w = found[place(name).block]
        assert value.shape[-1] == h * w
    with pytest.raises(ValueError, match="multiples of 4"):
        grids(unet, (16, 10))


def test_front_runs_without_gradient_where_nothing_learns(unet):
    last = list(cross_attention_layers(unet))[-1]
    states = {}
    for name, module in (("mid", unet.mid_block), ("up", unet.up_blocks[0])):
        module.register_forward_pre_hook(
            lambda *_, name=name: states.update({name: torch.is_grad_enabled()})
        )
    latent, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 24)
    walk(unet, latent, 1, context, readings(unet, last))
    assert states == {"mid": False, "up": True}
    walk(unet, latent, 1, context.requires_grad_(), readings(unet, last))
    assert states == {"mid": True, "up": True}
    next(unet.down_blocks[0].parameters()).requires_grad_(True)
    walk(unet, latent, 1, context.detach(), readings(unet, last))
    assert states == {"mid": True, "up": True}


def test_names_of_other_layers_are_refused():
    with pytest.raises(ValueError, match="not a cross-attention of the up-blocks"):
        place("down_blocks.0.attentions.0.transformer_blocks.0.attn2")
    with pytest.raises(ValueError, match="last is None"):
        walk(None, torch.zeros(1), 1, torch.zeros(1), Reading(keep_logits, frozenset()))
