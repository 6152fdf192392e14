from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from genloc.models import GenLoc, Prior
from genloc.models.attention import attentions, cross_attention_layers
from tests.make_prior import tiny_modules, write_folder
from tests.models.small_model import gaussian, inputs, make

READ_OUTS = ["ckhe", "cross", "cross-renormalised", "cross-background"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp("prior")))


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


@pytest.mark.parametrize("finer", [1, 2, 3])
def test_maps_by_hand(folder, finer):
    """Equations 7 and the merging, from the inputs of diffusers' own layers in its own forward."""
    model = make(folder, lora=None, finer=finer)
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
        logits = k @ q.transpose(2, 3) / q.shape[-1] ** 0.5
        side = int(logits.shape[-1] ** 0.5)
        if finer > 1:  # between the cells, the logits themselves are interpolated
            grid = logits.flatten(0, 1).unflatten(-1, (side, side))
            side *= finer
            grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
            logits = grid.flatten(2).unflatten(0, logits.shape[:2])
        c = torch.softmax(logits, dim=-1).mean(1)
        s = 8 * finer // side
        up = F.interpolate(c.unflatten(-1, (side, side)), scale_factor=s, mode="bilinear")
        merged.append(up / s**2)
    assert {m.shape for m in merged} == {(2, 3, 8 * finer, 8 * finer)} and len(merged) == 4
    assert model.map_size(image) == (8 * finer, 8 * finer)
    torch.testing.assert_close(ours, torch.stack(merged).mean(0).detach())


@pytest.mark.parametrize("context", ["conditions", "null"])
@pytest.mark.parametrize("read_out", ["ckhe", "cross-renormalised"])
@pytest.mark.parametrize(
    ("layers", "finer"), [("mean", 1), ("finest", 1), ("finest-first", 1), ("mean", 2)]
)
def test_log_expectation_agrees_with_the_maps(folder, context, read_out, layers, finer):
    model = make(folder, context=context, read_out=read_out, layers=layers, finer=finer)
    image, condition, points = inputs(per_image=True)
    target = gaussian(points, 8 * finer, 8 * finer, 1.5)
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
    assert value.isfinite().all() and condition.grad is not None
    assert condition.grad.isfinite().all() and condition.grad.any()


def test_a_bare_null_is_the_null_context(folder):
    assert make(folder, context=None).context == make(folder, context="null").context == "null"


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
    first = make(folder, layers="finest-first")
    torch.testing.assert_close(first(image, condition), list(parts.values())[2])
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


def test_copies_and_survives_a_second_load(folder):
    model = make(folder)
    image, condition, _ = inputs()
    assert model.load() is model
    torch.testing.assert_close(copy.deepcopy(model)(image, condition), model(image, condition))


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
    for wrong in (
        {"context": "none"},
        {"read_out": "map"},
        {"timestep": -1},
        {"layers": "last"},
        {"finer": 0},
    ):
        with pytest.raises(ValueError, match=r"context|read_out|timestep|layer|finer"):
            GenLoc(Prior(folder), **wrong)
