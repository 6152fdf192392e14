from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from genloc.models.attention import cross_attention_layers
from genloc.models.lora import LoRA, add_lora, lora_parameters, lora_targets, without_lora
from genloc.models.walk import unreached
from genloc.models.weights import ASSETS
from tests.make_prior import tiny_modules


@pytest.fixture(scope="module")
def full_size():
    """Stable Diffusion 1.5's U-Net without memory for its weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(
            UNet2DConditionModel.load_config(str(ASSETS / "sd15"), subfolder="unet")
        )


def test_shipped_configuration_is_stable_diffusion_1_5(full_size):
    assert sum(p.numel() for p in full_size.parameters()) == 859_520_964
    layers = cross_attention_layers(full_size)
    assert len(layers) == 9 and len(cross_attention_layers(full_size, "all")) == 16
    assert [a.inner_dim for a in layers.values()] == [1280] * 3 + [640] * 3 + [320] * 3
    assert {a.heads for a in layers.values()} == {8}


@pytest.mark.parametrize(
    ("preset", "count"), [("cross", 866_304), ("up", 1_726_464), ("full", 3_188_736)]
)
def test_parameters_at_full_size(full_size, preset, count):
    from peft.tuners.lora import LoraLayer

    unet = full_size
    last = list(cross_attention_layers(unet))[-1]
    add_lora(unet, LoRA(preset), unreached=unreached(unet, last))
    try:
        found = dict(lora_parameters(unet))
        assert sum(p.numel() for p in found.values()) == count
        frozen = {name: p for name, p in found.items() if not p.requires_grad}
        assert sum(p.numel() for p in frozen.values()) == 27_648
        assert {name.split(".lora_")[0] for name in frozen} == {f"{last}.to_v", f"{last}.to_out.0"}
        learning = [name for name, p in unet.named_parameters() if p.requires_grad]
        assert learning == [name for name in found if name not in frozen]
        adapted = [name for name, m in unet.named_modules() if isinstance(m, LoraLayer)]
        assert sorted(adapted) == sorted(lora_targets(unet, LoRA(preset)))
    finally:
        unet.delete_adapters("default")
        unet.unload_lora()


@pytest.mark.parametrize("preset", ["up-all", "all"])
def test_wide_presets_take_every_linear_layer_and_convolution(full_size, preset):
    """The number of parameters by hand: r (in + out) of a linear layer, r (in k^2 + out) of a convolution."""
    unet, rank = full_size, 16
    count = 0
    for name, layer in unet.named_modules():
        kind = type(layer).__name__
        wanted = name.split(".")[0] in (
            "up_blocks",
            *(("down_blocks", "mid_block") if preset == "all" else ()),
        )
        if wanted and kind == "Linear" and "time_emb" not in name:
            count += rank * (layer.in_features + layer.out_features)
        if wanted and kind == "Conv2d":
            count += rank * (layer.in_channels * layer.kernel_size[0] ** 2 + layer.out_channels)
    add_lora(unet, LoRA(preset, rank=rank))
    try:
        assert sum(p.numel() for _, p in lora_parameters(unet)) == count
    finally:
        unet.delete_adapters("default")
        unet.unload_lora()


@pytest.mark.parametrize("preset", ["full", "all"])
def test_output_is_the_bases_at_first(preset):
    unet = tiny_modules()["unet"]
    latent, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 24)
    before = unet(latent, 1, context).sample
    unet.requires_grad_(False)
    add_lora(unet, LoRA(preset, rank=4))
    assert torch.equal(unet(latent, 1, context).sample, before)
    for name, parameter in lora_parameters(unet):
        assert parameter.dtype == torch.float32 and parameter.requires_grad
        assert bool(parameter.any()) == (".lora_A." in name)
    with pytest.raises(RuntimeError, match="already"):
        add_lora(unet, LoRA())


def test_one_product_gives_what_pefts_branch_gives():
    """Narrow layers compute (W + BA) x at once: outputs and gradients are those of peft's own forward."""
    from peft.tuners.lora import LoraLayer

    unet = tiny_modules()["unet"].requires_grad_(False)
    add_lora(unet, LoRA("all", rank=16, alpha=8))
    latent, context = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 24)
    for _, parameter in lora_parameters(unet):
        nn.init.normal_(parameter, std=0.1)
    copied = copy.deepcopy(unet)
    layers = [m for m in unet.modules() if isinstance(m, LoraLayer)]
    narrow = [m for m in layers if "forward" in vars(m)]
    assert {type(m.get_base_layer()) for m in narrow} == {nn.Linear, nn.Conv2d}
    assert any(
        m.get_base_layer().stride == (2, 2) for m in narrow if hasattr(m.get_base_layer(), "stride")
    )

    def gradients(net):
        output = net(latent, 1, context).sample
        output.square().sum().backward()
        return [output, *(p.grad for _, p in lora_parameters(net) if p.grad is not None)]

    found = gradients(unet)
    assert all(torch.equal(a, b) for a, b in zip(found, gradients(copied), strict=True))
    for parameter in unet.parameters():
        parameter.grad = None
    for layer in narrow:
        del layer.forward
    for ours, theirs in zip(found, gradients(unet), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_one_product_leaves_merging_and_switching_off_to_peft():
    unet = tiny_modules()["unet"].requires_grad_(False)
    latent, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 24)
    before = unet(latent, 1, context).sample
    add_lora(unet, LoRA("all", rank=16))
    for _, parameter in lora_parameters(unet):
        nn.init.normal_(parameter, std=0.05)
    with_lora = unet(latent, 1, context).sample
    assert not torch.allclose(with_lora, before, atol=1e-3)
    unet.disable_adapters()
    torch.testing.assert_close(unet(latent, 1, context).sample, before)
    unet.enable_adapters()
    unet.fuse_lora()
    torch.testing.assert_close(unet(latent, 1, context).sample, with_lora, rtol=1e-4, atol=1e-4)


def test_without_lora_it_is_the_frozen_net_and_afterwards_as_it_was():
    unet = tiny_modules()["unet"].requires_grad_(False)
    latent, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 24)
    before = unet(latent, 1, context).sample
    with without_lora(unet):  # there is none yet
        assert torch.equal(unet(latent, 1, context).sample, before)
    add_lora(unet, LoRA("all", rank=16), unreached=("up_blocks.3",))
    for _, parameter in lora_parameters(unet):
        nn.init.normal_(parameter, std=0.05)
    with_lora = unet(latent, 1, context).sample
    learns = {name: parameter.requires_grad for name, parameter in unet.named_parameters()}
    with without_lora(unet):
        torch.testing.assert_close(unet(latent, 1, context).sample, before)
    assert torch.equal(unet(latent, 1, context).sample, with_lora)
    assert {name: p.requires_grad for name, p in unet.named_parameters()} == learns


def test_layers_much_wider_than_the_rank_keep_the_branch():
    unet = tiny_modules()["unet"].requires_grad_(False)
    add_lora(unet, LoRA("all", rank=1))
    assert not [m for m in unet.modules() if "forward" in vars(m)]


def test_alpha_scales_the_update():
    outputs = []
    for alpha in (4, 8):
        unet = tiny_modules()["unet"].requires_grad_(False)
        torch.manual_seed(0)
        add_lora(unet, LoRA("cross", rank=4, alpha=alpha))
        layer = next(iter(cross_attention_layers(unet).values()))
        layer.to_q.lora_B["default"].weight.data.fill_(1)
        x = torch.ones(1, 32)
        outputs.append(layer.to_q(x) - layer.to_q.base_layer(x))
    torch.testing.assert_close(outputs[1], 2 * outputs[0])


def test_half_precision_net_keeps_lora_in_fp32():
    unet = tiny_modules()["unet"].to(torch.bfloat16).requires_grad_(False)
    add_lora(unet, LoRA("up"))
    assert {p.dtype for _, p in lora_parameters(unet)} == {torch.float32}
    assert unet.conv_in.weight.dtype == torch.bfloat16


def test_no_lora():
    unet = tiny_modules()["unet"].requires_grad_(False)
    add_lora(unet, None)
    add_lora(unet, LoRA(None))
    assert not list(lora_parameters(unet)) and lora_targets(unet, LoRA(None)) == []
    with pytest.raises(ValueError, match="preset='everything'"):
        LoRA("everything")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rank=0"):
        LoRA(rank=0)
