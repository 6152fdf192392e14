from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from genloc.models import GenLoc, LoRA, Prior
from genloc.models.attention import attentions, cross_attention_layers
from genloc.models.lora import lora_parameters
from tests.make_prior import tiny_modules, write_folder

READ_OUTS = ["ckhe", "cross", "cross-renormalised", "cross-background"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp("prior")))


def make(folder, **arguments) -> GenLoc:
    torch.manual_seed(0)
    model = GenLoc(Prior(folder), **arguments).load()
    for name, parameter in lora_parameters(model.prior.unet):  # B = 0 would hide half of the paths
        if ".lora_B." in name and parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    return model


def inputs(batch=2, keypoints=3, size=(64, 64), per_image=False):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, *size, generator=generator) * 2 - 1
    condition = torch.randn(batch if per_image else 1, keypoints, 24, generator=generator)
    h, w = size[0] // 8, size[1] // 8
    points = torch.rand(batch, keypoints, 2, generator=generator) * torch.tensor([w, h])
    return image, condition, points


def gaussian(points, h, w, sigma):
    y, x = torch.arange(h)[:, None], torch.arange(w)[None]
    d2 = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return torch.exp(-d2 / (2 * sigma**2))


@pytest.mark.parametrize("context", ["conditions", "null"])
@pytest.mark.parametrize("per_image", [False, True])
def test_maps_sum_to_one(folder, context, per_image):
    model = make(folder, context=context)
    image, condition, _ = inputs(size=(64, 96), per_image=per_image)
    maps = model(image, condition)
    assert maps.shape == (2, 3, 8, 12) and maps.dtype == torch.float32
    assert model.map_size(image) == (8, 12)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))
    assert (maps >= 0).all() and maps.std() > 0
    torch.testing.assert_close(model(None, condition, latent=model.encode(image)), maps)


def test_maps_by_hand(folder):
    """Equations 7 and the merging, from the inputs of diffusers' own layers in its own forward."""
    model = make(folder, lora=None)
    image, condition, _ = inputs()
    ours = model(image, condition)
    modules = tiny_modules()
    unet, vae, seen = modules["unet"], modules["vae"], {}
    layers = cross_attention_layers(unet)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(
            lambda m, args, kw, n=name: seen.update({n: args[0]}), with_kwargs=True
        )
    latent = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
    unet(latent, 1, condition.expand(2, -1, -1))
    merged = []
    for name, layer in layers.items():
        q = layer.to_q(seen[name]).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        k = layer.to_k(condition).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        c = torch.softmax(k @ q.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1).mean(1)
        side = int(c.shape[-1] ** 0.5)
        s = 8 // side
        up = F.interpolate(c.unflatten(-1, (side, side)), scale_factor=s, mode="bilinear")
        merged.append(up / s**2)
    assert {m.shape for m in merged} == {(2, 3, 8, 8)} and len(merged) == 4
    torch.testing.assert_close(ours, torch.stack(merged).mean(0).detach())


@pytest.mark.parametrize("context", ["conditions", "null"])
@pytest.mark.parametrize("read_out", ["ckhe", "cross-renormalised"])
@pytest.mark.parametrize("layers", ["mean", "finest"])
def test_log_expectation_agrees_with_the_maps(folder, context, read_out, layers):
    model = make(folder, context=context, read_out=read_out, layers=layers)
    image, condition, points = inputs(per_image=True)
    target = gaussian(points, 8, 8, 1.5)
    by_map = (model(image, condition) * target).sum((2, 3)).log()
    direct = model.log_expectation(image, condition, points, 1.5)
    assert direct.shape == (2, 3) and direct.dtype == torch.float32
    torch.testing.assert_close(direct, by_map)


def test_log_expectation_is_finite_where_the_product_underflows(folder):
    model = make(folder)
    image, condition, points = inputs()
    condition.requires_grad_(True)
    far = points + 400
    assert (model(image, condition) * gaussian(far, 8, 8, 1.0)).sum() == 0
    value = model.log_expectation(image, condition, far, 1.0)
    value.sum().backward()
    assert value.isfinite().all() and condition.grad.isfinite().all() and condition.grad.any()


@pytest.mark.parametrize("path", ["maps", "log_expectation"])
def test_gradient_by_finite_differences(folder, path):
    model = make(folder)
    image, condition, points = inputs(batch=1)
    latent = model.encode(image)
    weight = torch.randn(3, 8, 8)

    def value():
        if path == "maps":
            return (model(None, condition, latent=latent)[0] * weight).sum()
        return model.log_expectation(None, condition, points, 1.5, latent=latent).sum()

    condition.requires_grad_(True)
    learned = [condition] + [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(value(), learned)
    for parameter, gradient in list(zip(learned, gradients, strict=True))[:4]:
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter += 1e-2 * direction
            up = value()
            parameter -= 2e-2 * direction
            down = value()
            parameter += 1e-2 * direction
        expected = ((up - down) / 2e-2).item()
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=0.02, abs=2e-4)


@pytest.mark.parametrize("preset", ["cross", "up", "full", None])
@pytest.mark.parametrize("context", ["conditions", "null"])
@pytest.mark.parametrize(
    "layers", ["mean", "finest", "up_blocks.1.attentions.1.transformer_blocks.0.attn2"]
)
def test_every_learning_parameter_gets_a_gradient(folder, preset, context, layers):
    """Plain DDP hangs or raises otherwise."""
    model = make(folder, context=context, layers=layers, lora=LoRA(preset, rank=2))
    image, condition, points = inputs()
    condition.requires_grad_(True)
    model.log_expectation(image, condition, points, 1.5).sum().backward()
    assert condition.grad.any()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert any(p.requires_grad for p in model.parameters()) == (preset is not None)


@pytest.mark.parametrize("context", ["conditions", "null"])
def test_frozen_parts_stay_bit_identical(folder, context):
    model = make(folder, context=context, lora=LoRA("full"))
    before = {name: p.clone() for name, p in model.state_dict().items()}
    image, condition, points = inputs()
    condition.requires_grad_(True)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam([condition, *learned], lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        (-model.log_expectation(image, condition, points, 1.5)).mean().backward()
        optimiser.step()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    after = model.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (name not in trained), name


def test_it_learns_to_point(folder):
    model = make(folder)
    image, condition, points = inputs(batch=1)
    condition.requires_grad_(True)
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [condition], "lr": 3e-2}, {"params": learned, "lr": 3e-3}]
    optimiser = torch.optim.Adam(groups)
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        loss = -model.log_expectation(image, condition, points, 1.0).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.9 and losses[-1] < 0.6
    peaks = model(image, condition).flatten(2).argmax(-1)
    found = torch.stack([peaks % 8, peaks // 8], -1)
    assert (found - points).abs().max() < 1


def test_null_context_maps_do_not_depend_on_what_else_is_asked(folder):
    image, condition, _ = inputs(keypoints=4)
    null = make(folder, context="null")
    torch.testing.assert_close(null(image, condition)[:, :2], null(image, condition[:, :2]))
    one = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"
    cross = make(folder, context="null", layers=one, read_out="cross")
    assert not torch.allclose(cross(image, condition)[:, :2], cross(image, condition[:, :2]))
    mixed = make(folder)
    assert not torch.allclose(
        mixed(image, condition)[:, :2], mixed(image, condition[:, :2]), atol=1e-6
    )


def test_per_image_conditions_are_each_images_own(folder):
    for context in ("conditions", "null"):
        model = make(folder, context=context)
        image, condition, _ = inputs(per_image=True)
        both = model(image, condition)
        for i in range(2):
            torch.testing.assert_close(
                both[i : i + 1], model(image[i : i + 1], condition[i : i + 1])
            )


def test_null_context_saves_the_front_its_gradient(folder, monkeypatch):
    """Same gradients as with the whole net under autograd, and less kept for the backward pass."""
    image, condition, points = inputs()
    results = {}
    for name in ("frozen front", "whole"):
        model = make(folder, context="null")
        if name == "whole":
            monkeypatch.setattr("genloc.models.walk._front_learns", lambda unet: True)
            model.prior.unet.conv_in.weight.requires_grad_(True)
        kept = [0]

        def pack(tensor, kept=kept):
            kept[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = model.log_expectation(image, condition, points, 1.5).sum()
        value.backward()
        gradients = {
            n: p.grad for n, p in model.named_parameters() if "lora_" in n and p.requires_grad
        }
        results[name] = (kept[0], gradients)
    (less, a), (more, b) = results.values()
    assert less < 0.85 * more
    assert a.keys() == b.keys() and len(a) > 0
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name)


@pytest.mark.parametrize("context", ["conditions", "null"])
def test_gradient_checkpointing_changes_nothing_but_memory(folder, context):
    image, condition, points = inputs(per_image=True)
    results = []
    for checkpointing in (False, True):
        model = make(
            folder, context=context, lora=LoRA("full"), gradient_checkpointing=checkpointing
        )
        asked = condition.clone().requires_grad_(True)
        kept = [0]

        def pack(tensor, kept=kept):
            kept[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = model.log_expectation(image, asked, points, 1.5)
        value.sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        results.append((value, {"condition": asked.grad} | gradients, kept[0]))
    (value, plain, more), (again, recomputed, less) = results
    torch.testing.assert_close(again, value)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)
    assert less < 0.7 * more


@pytest.mark.parametrize(
    ("context", "checkpointing", "backend"),
    [
        ("conditions", False, "eager"),
        pytest.param("null", False, "aot_eager", marks=pytest.mark.slow),
        pytest.param("conditions", True, "aot_eager", marks=pytest.mark.slow),
        pytest.param("null", True, "aot_eager", marks=pytest.mark.slow),
    ],
)
def test_compiles(tmp_path, context, checkpointing, backend):
    """Traced and differentiated by torch.compile; whole where nothing is checkpointed."""
    folder = str(write_folder(tmp_path, tiny_modules(depth=1)))
    image, condition, points = inputs(per_image=True)
    model = make(folder, context=context, gradient_checkpointing=checkpointing)
    latent = model.encode(image)
    results = []
    torch.compiler.reset()
    for compiled in (False, True):
        call = model.log_expectation
        if compiled:
            call = torch.compile(call, backend=backend, fullgraph=not checkpointing)
        model.zero_grad(set_to_none=True)
        value = call(None, condition, points, 1.5, latent=latent)
        value.sum().backward()
        learned = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        results.append((value, learned))
    (value, plain), (again, compiled_gradients) = results
    torch.testing.assert_close(again, value)
    for name, gradient in plain.items():
        torch.testing.assert_close(
            compiled_gradients[name], gradient, msg=name, atol=1e-5, rtol=1e-4
        )


@pytest.mark.slow
def test_compiled_maps_by_inductor(tmp_path):
    model = make(str(write_folder(tmp_path, tiny_modules(depth=1))))
    image, condition, _ = inputs()
    latent = model.encode(image)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(model)(None, condition, latent=latent)
        torch.testing.assert_close(compiled, model(None, condition, latent=latent))


def test_noise_is_the_schedulers(folder):
    from diffusers import DDPMScheduler

    image, condition, points = inputs()
    scheduler = DDPMScheduler.from_pretrained(f"{folder}/scheduler")
    for t in (21, 601):
        noisy, clean = make(folder, timestep=t, noise=True), make(folder, timestep=t)
        latent = clean.encode(image)
        noise = torch.randn_like(latent)
        mixed = scheduler.add_noise(latent, noise, torch.tensor([t]))
        torch.testing.assert_close(
            noisy(image, condition, noise), clean(None, condition, latent=mixed)
        )
        torch.testing.assert_close(clean(image, condition, noise), clean(image, condition))
        torch.testing.assert_close(
            noisy.log_expectation(image, condition, points, 1.5, noise),
            clean.log_expectation(None, condition, points, 1.5, latent=mixed),
        )
    with pytest.raises(ValueError, match=r"noise is None.*\(2, 4, 8, 8\)"):
        noisy(image, condition)
    with pytest.raises(ValueError, match="0 to 999"):
        make(folder, timestep=1000)


def test_cross_attention_read_as_a_map(folder):
    one = "up_blocks.2.attentions.0.transformer_blocks.0.attn2"
    image, condition, points = inputs()
    maps = {
        name: make(folder, read_out=name, layers=one, lora=None)(image, condition)
        for name in READ_OUTS
    }
    torch.testing.assert_close(maps["cross"].sum(1), torch.ones(2, 8, 8))  # which keypoint is here
    renormalised = maps["cross"] / maps["cross"].sum((2, 3), keepdim=True)
    torch.testing.assert_close(maps["cross-renormalised"], renormalised)
    assert (maps["cross-background"].sum(1) < 1).all()
    assert (maps["cross-background"] < maps["cross"]).all()
    with pytest.raises(ValueError, match=r"does not sum to 1.*HeatmapMSE"):
        make(folder, read_out="cross").log_expectation(image, condition, points, 1.0)


def test_read_outs_differ_by_the_side_of_the_softmax(folder):
    """The logits of Eq. 6 and Eq. 7 are the same: with one head, either gives the other."""
    model = make(folder, lora=None, layers="up_blocks.2.attentions.1.transformer_blocks.0.attn2")
    layer = next(a for n, a in attentions(model.prior.unet) if n == model.layer_names[0])
    layer.heads, layer.scale = 1, layer.to_q.out_features**-0.5
    image, condition, _ = inputs()
    ckhe = model(image, condition)
    model.read_out = "cross"
    cross = model(image, condition)
    ratio = (cross / ckhe).log()  # log of token sum over condition sum: separable
    centred = (
        ratio
        - ratio.mean((2, 3), keepdim=True)
        - ratio.mean(1, keepdim=True)
        + ratio.mean((1, 2, 3), True)
    )
    torch.testing.assert_close(centred, torch.zeros_like(centred), atol=2e-5, rtol=0)


def test_single_layers_have_their_own_grid(folder):
    image, condition, _ = inputs()
    everything = make(folder)
    parts = everything.layer_maps(image, condition)
    assert [tuple(m.shape[-2:]) for m in parts.values()] == [(4, 4), (4, 4), (8, 8), (8, 8)]
    for name, own in parts.items():
        model = make(folder, layers=name)
        assert model.map_size(image) == tuple(own.shape[-2:])
        torch.testing.assert_close(model(image, condition), own, atol=1e-6, rtol=1e-4)
    finest = make(folder, layers="finest")
    torch.testing.assert_close(
        finest(image, condition), torch.stack(list(parts.values())[2:]).mean(0)
    )
    with pytest.raises(ValueError, match="this U-Net has"):
        make(folder, layers="up_blocks.3.attentions.0.transformer_blocks.0.attn2")


def test_silent_replacement_of_processors_is_refused(folder):
    model = make(folder)
    image, condition, points = inputs()
    model.prior.unet.set_attention_slice("auto")
    with pytest.raises(RuntimeError, match="no map from 4 of 4 layers"):
        model(image, condition)
    with pytest.raises(RuntimeError, match="no map from 4 of 4 layers"):
        model.log_expectation(image, condition, points, 1.5)


def test_all_weights_can_learn_instead(folder):
    model = make(folder, lora=None, train_unet=True)
    image, condition, points = inputs()
    condition.requires_grad_(True)
    model.log_expectation(image, condition, points, 1.5).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    learning = {name for name, p in model.prior.unet.named_parameters() if p.requires_grad}
    assert "conv_in.weight" in learning and "conv_out.weight" not in learning
    assert not any(p.requires_grad for p in model.prior.vae.parameters())
    with pytest.raises(ValueError, match="lora=None"):
        GenLoc(Prior(folder), train_unet=True)


def test_half_precision_net(folder):
    full, half = make(folder), GenLoc(Prior(folder, dtype="bf16")).load()
    half.prior.unet.load_state_dict(
        {n: p for n, p in full.prior.unet.state_dict().items() if "lora_" in n}, strict=False
    )
    image, condition, points = inputs()
    condition.requires_grad_(True)
    maps = half(image, condition)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))
    torch.testing.assert_close(maps, full(image, condition), rtol=0.3, atol=0.01)
    half.log_expectation(image, condition, points, 1.5).sum().backward()
    gradients = [condition.grad, *(p.grad for p in half.parameters() if p.requires_grad)]
    assert {g.dtype for g in gradients} == {torch.float32}
    assert all(g.isfinite().all() for g in gradients)
    assert half.prior.unet.conv_in.weight.dtype == torch.bfloat16


def test_copies_and_survives_a_second_load(folder):
    model = make(folder)
    image, condition, _ = inputs()
    assert model.load() is model
    torch.testing.assert_close(copy.deepcopy(model)(image, condition), model(image, condition))


def test_trains_after_a_first_pass_in_inference_mode(folder):
    """And is loaded while another device is the default, as a trainer does it."""
    for context in ("conditions", "null"):
        with torch.device("meta"):
            model = GenLoc(Prior(folder), context=context).load()
        assert not any(t.is_meta for t in model.state_dict().values())
        image, condition, points = inputs()
        condition.requires_grad_(True)
        with torch.inference_mode():
            model(image, condition)
        model.log_expectation(image, condition, points, 1.5).sum().backward()
        assert condition.grad is not None and condition.grad.isfinite().all()


def test_wrong_arguments_are_named(folder):
    model = make(folder)
    image, condition, _ = inputs()
    with pytest.raises(ValueError, match=r"condition has shape \(1, 3, 8\).*2 or 1, K, 24"):
        model(image, condition[..., :8])
    with pytest.raises(ValueError, match="2 or 1"):
        model(image, condition.expand(3, -1, -1))
    with pytest.raises(ValueError, match="image or latent"):
        model(None, condition)
    with pytest.raises(ValueError, match="multiples of 4"):
        model(torch.zeros(1, 3, 48, 48), condition)
    with pytest.raises(RuntimeError, match=r"load\(\)"):
        GenLoc(Prior(folder))(image, condition)
    for wrong in ({"context": "none"}, {"read_out": "map"}, {"timestep": -1}, {"layers": "last"}):
        with pytest.raises(ValueError, match=r"context|read_out|timestep|layer"):
            GenLoc(Prior(folder), **wrong)
