"""The U-Net's forward, walked by hand so that it can stop after the last map.

The same modules in the same order as diffusers' `UNet2DConditionModel.forward` for U-Nets that
are conditioned by cross-attention alone. After the last read-out its remaining
half block, output convolutions and, for an early layer, whole blocks are not run. Walking needs no
exception to stop, so it compiles, exports and can be checkpointed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genloc.models.attention import Reading


class Place(NamedTuple):
    """Where a cross-attention layer of the up-blocks sits."""

    block: int
    attention: int
    transformer_block: int


def place(name: str) -> Place:
    """ "up_blocks.3.attentions.2.transformer_blocks.0.attn2" -> Place(3, 2, 0)."""
    parts = name.split(".")
    if len(parts) != 7 or parts[0] != "up_blocks" or parts[6] != "attn2":
        raise ValueError(f"layer {name!r} is not a cross-attention of the up-blocks")
    return Place(int(parts[1]), int(parts[3]), int(parts[5]))


LAYERS = ("mean", "finest", "finest-first")  # choices of layers that are no layer's name


def chosen(names: list[str], layers: str) -> list[str]:
    """Which of the up-blocks' cross-attention layers, in the order they run, are read.

    Args:
        layers: "mean" for all, "finest" for those of the last block's grid, "finest-first" for the first of
            these, or the name of one.

    Raises:
        ValueError: there is none of that name.
    """
    if layers == "mean":
        return names
    if layers in LAYERS:
        block = place(names[-1]).block
        finest = [name for name in names if place(name).block == block]
        return finest if layers == "finest" else finest[:1]
    if layers not in names:
        raise ValueError(f"layers={layers!r}: this U-Net has {names}")
    return [layers]


def unreached(unet: Any, last: str) -> tuple[str, ...]:
    """Name prefixes of the modules that do not run, when the walk stops after reading `last`."""
    block, attention, inner = place(last)
    up = f"up_blocks.{block}."
    at = f"{up}attentions.{attention}."
    names = [
        f"{at}transformer_blocks.{inner}.{part}."
        for part in ("attn2.to_v", "attn2.to_out", "norm3", "ff")
    ]
    count = len(unet.up_blocks[block].attentions)
    depth = len(unet.up_blocks[block].attentions[attention].transformer_blocks)
    names += [f"{at}transformer_blocks.{i}." for i in range(inner + 1, depth)]
    names += [f"{at}proj_out."]
    names += [
        f"{up}{kind}.{i}."
        for i in range(attention + 1, count)
        for kind in ("resnets", "attentions")
    ]
    names += [f"{up}upsamplers."]
    names += [f"up_blocks.{i}." for i in range(block + 1, len(unet.up_blocks))]
    return (*names, "conv_norm_out.", "conv_out.")


def grids(unet: Any, size: tuple[int, int]) -> list[tuple[int, int]]:
    """(h, w) in cells of each up-block's tokens, for a latent of `size` cells.

    Raises:
        ValueError: a side that the U-Net cannot halve as often as it does.
    """
    levels = [size]
    for down in unet.down_blocks:
        h, w = levels[-1]
        if down.downsamplers is not None:
            if h % 2 or w % 2:
                times = 2 ** sum(block.downsamplers is not None for block in unet.down_blocks)
                raise ValueError(
                    f"the latent is {size[0]}x{size[1]} cells; both sides must be multiples of {times}"
                )
            h, w = h // 2, w // 2
        levels.append((h, w))
    found, current = [], levels[-1]
    for up in unet.up_blocks:
        found.append(current)
        if up.upsamplers is not None:
            current = (current[0] * 2, current[1] * 2)
    return found


def walk_front(
    unet: Any,
    latent: Tensor,  # [B, 4, h, w]
    timestep: int,
    context: Tensor,  # [B or 1, L, C]
    reading: Reading | None = None,
) -> list[Tensor]:
    """Run the down-blocks and the mid-block: their outputs, which the up-blocks start from.

    Without gradient where nothing in them learns and their inputs do not either (context "null"
    with LoRA in the up-blocks only); the outputs are then constant per latent.

    Returns:
        every output that is handed across to the up-blocks, in order, and the mid-block's last.
    """
    dtype = unet.conv_in.weight.dtype
    sample, context = latent.to(dtype), context.to(dtype)
    kwargs: dict[str, Any] = {"reading": reading}
    learns = sample.requires_grad or context.requires_grad or front_learns(unet)
    with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
        emb = _time_embedding(unet, timestep, sample)
        sample = unet.conv_in(sample)
        outputs = [sample]
        for block in unet.down_blocks:
            sample, more = _block(block, sample, emb, context, kwargs)
            outputs.extend(more)
        if unet.mid_block is not None:
            sample = _block(unet.mid_block, sample, emb, context, kwargs)
    return [*outputs, sample]


def walk(
    unet: Any,
    latent: Tensor,  # [B, 4, h, w]
    timestep: int,
    context: Tensor,  # [B or 1, L, C]
    reading: Reading,
    front: Sequence[Tensor] | None = None,
) -> None:
    """Run the U-Net up to the read-out of `reading.last`; the result is in `reading.record`.

    Args:
        front: what `walk_front` returned for this latent, timestep and context, run before.
    """
    if reading.last is None:
        raise ValueError("reading.last is None; expected the name of the last layer to read")
    dtype = unet.conv_in.weight.dtype
    context = context.to(dtype)
    kwargs: dict[str, Any] = {"reading": reading}
    if front is None:
        front = walk_front(unet, latent, timestep, context, reading)
    *skips, sample = (x.to(dtype) for x in front)
    with torch.set_grad_enabled(torch.is_grad_enabled() and _learns(unet.time_embedding)):
        emb = _time_embedding(unet, timestep, sample)

    stop = place(reading.last)
    for index, block in enumerate(unet.up_blocks):
        count = len(block.resnets)
        own, skips = skips[-count:], skips[:-count]
        if index < stop.block:
            sample = _block(block, sample, emb, context, kwargs, res_hidden_states_tuple=tuple(own))
            continue
        for j, resnet in enumerate(block.resnets):
            sample = _run(block, resnet, torch.cat([sample, own[-1 - j]], dim=1), emb)
            if j == stop.attention:
                _read_inside(block.attentions[j], sample, context, kwargs, stop.transformer_block)
                return
            sample = block.attentions[j](
                sample,
                encoder_hidden_states=context,
                cross_attention_kwargs=kwargs,
                return_dict=False,
            )[0]


def _block(
    block: Any, sample: Tensor, emb: Tensor, context: Tensor, kwargs: dict[str, Any], **more: Any
) -> Any:
    if getattr(block, "has_cross_attention", False):
        more.update(encoder_hidden_states=context, cross_attention_kwargs=kwargs)
    return block(hidden_states=sample, temb=emb, **more)


def _run(block: Any, function: Any, *args: Any) -> Any:
    """`function(*args)`, checkpointed where diffusers would."""
    if torch.is_grad_enabled() and block.gradient_checkpointing:
        return block._gradient_checkpointing_func(function, *args)
    return function(*args)


def _read_inside(
    transformer: Any, sample: Tensor, context: Tensor, kwargs: dict[str, Any], inner: int
) -> None:
    """The transformer of the last layer up to its read-out (its processor returns right after)."""
    x = transformer.norm(sample)
    if transformer.use_linear_projection:
        x = transformer.proj_in(x.flatten(2).transpose(1, 2))
    else:
        x = transformer.proj_in(x).flatten(2).transpose(1, 2)
    for block in transformer.transformer_blocks[:inner]:
        x = _run(transformer, block, x, None, context, None, None, kwargs)
    block = transformer.transformer_blocks[inner]

    def read(x: Tensor, context: Tensor) -> None:
        x = x + block.attn1(block.norm1(x), **kwargs)
        block.attn2(block.norm2(x), encoder_hidden_states=context, **kwargs)

    _run(transformer, read, x, context)


def _time_embedding(unet: Any, timestep: int, like: Tensor) -> Tensor:
    """[1, .]: one timestep for all crops."""
    time = torch.full((1,), timestep, device=like.device)
    return unet.time_embedding(unet.time_proj(time).to(like.dtype))


def _learns(module: Any) -> bool:
    return module is not None and any(p.requires_grad for p in module.parameters())


def front_learns(unet: Any) -> bool:
    """Whether anything learns in what `walk_front` runs."""
    parts = (unet.conv_in, unet.time_embedding, unet.down_blocks, unet.mid_block)
    return any(_learns(part) for part in parts)
