"""What GenLoc sees in a picture, whatever it is asked for: features of the up-blocks.

With `context="null"` the U-Net's hidden states depend on the picture alone. They are read where the
maps are read: entering the last cross-attention of each up-block. `support_keys` and `key_maps` find
points without any training: the support's own queries serve as keys (as DIFT compares features,
https://arxiv.org/abs/2306.03881, but in the space that the attention layers compare in).

Letters: B crops, K keypoints, N heads, D channels per head, C_l, h_l, w_l channels and cells of a grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from genloc.models.attention import Reading, check_installed, cross_attention_layers
from genloc.models.genloc import GenLoc
from genloc.models.read_out import finer_queries, merge_layers
from genloc.models.walk import grids, place, walk
from genloc.ops import correlation_map

Pool = Callable[[Tensor, Tensor], Tensor]  # features [B, C, h, w], points [B, K, 2] -> [B, K, C]


TEMPERATURE = 0.1
"""Of `key_maps` where nothing is trained: of none, 0.2, 0.1, 0.05 and 0.02 the best on zoo animals of one species."""


def feature_layers(model: GenLoc) -> tuple[str, ...]:
    """Names of the layers whose hidden states are the features, from the coarsest grid to the finest.

    Raises:
        RuntimeError: the model is not loaded.
        ValueError: as `features`.
    """
    _check(model)
    last = {place(name).block: name for name in cross_attention_layers(model.prior.unet, "up")}
    return tuple(last.values())


def feature_widths(model: GenLoc) -> tuple[int, ...]:
    """C_l of each grid, (1280, 640, 320) for SD 1.5. Raises as `feature_layers`."""
    unet = model.prior.unet
    return tuple(unet.get_submodule(name).query_dim for name in feature_layers(model))


def features(model: GenLoc, image: Tensor | None, *, latent: Tensor | None = None) -> list[Tensor]:
    """Features of crops, from the coarsest grid to the finest: 16x16, 32x32, 64x64 for crops of 512.

    Args:
        model: loaded, with `context="null"` and without noise.
        image: [B, 3, H, W] in [-1, 1]; or None, and `latent` [B, 4, H/8, W/8] instead.

    Returns:
        [B, C_l, h_l, w_l] for each grid, in the U-Net's dtype.

    Raises:
        ValueError: a model whose hidden states depend on what it is asked for, or on noise.
    """
    hidden, sizes = _read(model, image, latent, feature_layers(model))
    return [
        tokens.transpose(1, 2).unflatten(2, size)
        for tokens, size in zip(hidden, sizes, strict=True)
    ]


def support_keys(
    model: GenLoc, image: Tensor | None, points: Tensor, pool: Pool, *, latent: Tensor | None = None
) -> dict[str, Tensor]:
    """The support's own projected features at its points: keys that need no training.

    Args:
        model, image, latent: as in `features`.
        points: [B, K, 2] in what `pool` takes.
        pool: such as `genloc.conditions.visual.gaussian_pool` with its sigma.

    Returns:
        Layer name -> [B, K, N*D], for the layers that the model reads. Mean them over shots.
    """
    hidden, sizes = _read(model, image, latent, model.layer_names)
    unet = model.prior.unet
    keys = {}
    for name, tokens, size in zip(model.layer_names, hidden, sizes, strict=True):
        query = unet.get_submodule(name).to_q(tokens)
        keys[name] = pool(query.transpose(1, 2).unflatten(2, size), points)
    return keys


def key_maps(
    model: GenLoc,
    image: Tensor | None,
    keys: dict[str, Tensor],
    *,
    latent: Tensor | None = None,
    temperature: float | None = None,
) -> Tensor:
    """Maps of crops for given keys, merged over the layers as the model merges its own.

    Args:
        model, image, latent: as in `features`.
        keys: of `support_keys`, each [B or 1, K, N*D].
        temperature: None compares as the attention does; a number divides cosines by it instead.

    Returns:
        [B, K, h, w] fp32 of the size that `GenLoc.forward` gives; each map sums to 1.
    """
    hidden, sizes = _read(model, image, latent, model.layer_names)
    merged: list[Tensor] = []
    for name, tokens, (h, w) in zip(model.layer_names, hidden, sizes, strict=True):
        attn = model.prior.unet.get_submodule(name)
        query, key, scale = attn.to_q(tokens).float(), keys[name].float(), attn.scale
        size = (model.finer * h, model.finer * w)
        if model.finer > 1:
            query = finer_queries(query, size, model.finer)
        if temperature is not None:
            query, key = (
                F.normalize(x.unflatten(-1, (attn.heads, -1)), dim=-1).flatten(-2)
                for x in (query, key)
            )
            scale = 1 / temperature
        found = correlation_map(key, query, heads=attn.heads, scale=scale)
        merged.append(found.unflatten(-1, size))
    return merge_layers(merged, sums_to_one=True)


def _check(model: GenLoc) -> None:
    if not model.layer_names:
        raise RuntimeError("this GenLoc has no weights yet: call load() first")
    if model.context != "null" or model.noise:
        raise ValueError(
            f"model has context={model.context!r}, noise={model.noise}: features that depend on what is "
            'asked for or on noise cannot be compared; use GenLoc(context="null", noise=False)'
        )


def _read(
    model: GenLoc, image: Tensor | None, latent: Tensor | None, layers: tuple[str, ...]
) -> tuple[list[Tensor], list[tuple[int, int]]]:
    """Hidden states [B, h*w, C] entering each layer, and the (h, w) of each."""
    _check(model)
    if (image is None) == (latent is None):
        raise ValueError("give either image or latent, not both and not neither")
    unet = model.prior.unet
    if latent is None:
        assert image is not None
        latent = model.prior.encode_image(image)
    check_installed(unet, layers)
    hidden: dict[str, Tensor] = {}
    reading = Reading(lambda *_: latent, frozenset(layers), last=layers[-1], hidden=hidden)
    walk(unet, latent, model.timestep, model.prior.null_context(), reading)
    reading.closed = True
    found = grids(unet, (latent.shape[-2], latent.shape[-1]))
    return [hidden[name] for name in layers], [found[place(name).block] for name in layers]
