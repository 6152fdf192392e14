from __future__ import annotations

from functools import partial

import pytest
import torch

from genloc.conditions.visual import gaussian_pool
from genloc.models import GenLoc, Prior
from genloc.models.features import (
    feature_layers,
    feature_widths,
    features,
    key_maps,
    support_keys,
)
from tests.make_prior import write_folder
from tests.models.small_model import inputs, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))


@pytest.fixture(scope="module")
def model(folder: str) -> GenLoc:
    return make(folder, context="null")


def test_features_are_what_enters_the_attention(model: GenLoc) -> None:
    """Against a hook of torch on diffusers' own modules."""
    image, condition, _ = inputs()
    seen: dict[str, torch.Tensor] = {}
    unet = model.prior.unet
    hooks = [
        unet.get_submodule(name).register_forward_pre_hook(
            lambda _, args, kwargs, name=name: seen.update({name: args[0]}), with_kwargs=True
        )
        for name in feature_layers(model)
    ]
    with torch.no_grad():
        model(image, condition)
    for hook in hooks:
        hook.remove()
    found = features(model, image)
    assert [level.shape[1] for level in found] == list(feature_widths(model))
    assert [tuple(level.shape[2:]) for level in found] == [(4, 4), (8, 8)]
    for name, level in zip(feature_layers(model), found, strict=True):
        torch.testing.assert_close(level.flatten(2).transpose(1, 2), seen[name])
    latent = model.encode(image)
    assert all(
        torch.equal(a, b) for a, b in zip(features(model, None, latent=latent), found, strict=True)
    )


def test_gradients_reach_lora(model: GenLoc) -> None:
    sum(level.square().sum() for level in features(model, inputs()[0])).backward()  # type: ignore[union-attr]
    named = dict(model.prior.unet.named_parameters())
    moved = [
        n
        for n, p in named.items()
        if p.requires_grad and p.grad is not None and p.grad.abs().max() > 0
    ]
    assert any("lora_A" in name for name in moved)


@pytest.mark.parametrize("finer", [1, 2])
def test_keys_of_conditions_give_the_models_own_maps(folder: str, finer: int) -> None:
    model = make(folder, context="null", finer=finer)
    image, condition, _ = inputs(per_image=True)
    unet = model.prior.unet
    keys = {name: unet.get_submodule(name).to_k(condition) for name in model.layer_names}
    torch.testing.assert_close(key_maps(model, image, keys), model(image, condition))


def test_projecting_and_pooling_may_change_places(model: GenLoc) -> None:
    """to_q is linear and the Gaussian sums to 1."""
    image = inputs()[0]
    points, pool = torch.rand(2, 3, 2), partial(gaussian_pool, sigma=0.7)
    keys = support_keys(model, image, points, pool)
    assert keys.keys() == set(model.layer_names)
    for level, name in zip(features(model, image), feature_layers(model), strict=True):
        if name in keys:
            pooled = model.prior.unet.get_submodule(name).to_q(pool(level, points))
            torch.testing.assert_close(keys[name], pooled, atol=1e-5, rtol=1e-4)


def test_a_point_is_found_again_in_its_own_picture(model: GenLoc) -> None:
    image = inputs(batch=1)[0]
    cells = torch.tensor([[[1, 6], [5, 2], [3, 3]]])
    keys = support_keys(model, image, (cells + 0.5) / 8, partial(gaussian_pool, sigma=0.05))
    maps = key_maps(model, image, keys, temperature=0.01)
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(1, 3))
    best = maps.flatten(2).argmax(-1)
    assert torch.equal(torch.stack([best % 8, best // 8], -1), cells)


def test_a_model_that_would_compare_the_wrong_thing_is_refused(folder: str) -> None:
    image = inputs()[0]
    with pytest.raises(ValueError, match="context='conditions'"):
        features(make(folder), image)
    with pytest.raises(ValueError, match="noise=True"):
        features(make(folder, context="null", noise=True), image)
    with pytest.raises(RuntimeError, match="load"):
        features(GenLoc(Prior(folder), context="null"), image)
    with pytest.raises(ValueError, match="not both"):
        features(make(folder, context="null"), None)
