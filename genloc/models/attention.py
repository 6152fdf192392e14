"""CKHE as a read-out beside a U-Net's ordinary attention.

`cross_attention_layers` finds the layers by name; `install` gives every attention of the U-Net a
processor of ours, `remove` brings the originals back. A processor updates the latent exactly as
diffusers' own attention does; in the layers that are read it also measures the layer's own
`to_q(latent)` against its own `to_k(condition)` and writes the result into the `Reading` made for
this forward, under the layer's name.

`attn.to_k(x)` is called as a module, never by its weight: LoRA lives in the module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

# (layer name, key [B or 1, K, N*D], query [B, T, N*D], heads, scale) -> what to keep of this layer
Measure = Callable[[str, Tensor, Tensor, int, float], Tensor]

PLAIN_LOGITS = 1024**2  # of a head and a crop, up to which they may lie in memory on a CPU


@dataclass
class Reading:
    """What one forward hands to its attention layers, and what they hand back.

    Attributes:
        measure: called once in each layer to be read.
        layers: names of the layers to read.
        condition: [B or 1, K, C] read in these layers; None reads the U-Net's own context.
        last: after this layer's read-out nothing is needed, its own update included.
        record: what `measure` returned, by layer name.
        hidden: where given, the hidden states [B, T, C_layer] entering the layers to be read, by name.
        closed: set when the forward is over. A backward through checkpoints runs layers again;
            what they measure then belongs to autograd and not into the record.
    """

    measure: Measure
    layers: frozenset[str]
    condition: Tensor | None = None
    last: str | None = None
    record: dict[str, Tensor] = field(default_factory=dict)
    hidden: dict[str, Tensor] | None = None
    closed: bool = False


class CKHEAttnProcessor:
    """Attention as diffusers' `AttnProcessor2_0`, with a read-out. Holds no weights.

    Args:
        name: the layer's name in the U-Net.
        original: the processor that was there before.
        attention: backend of the latent's update, "sdpa" or "xformers".
    """

    def __init__(
        self, name: str, original: Any, attention: Literal["sdpa", "xformers"] = "sdpa"
    ) -> None:
        self.name = name
        self.original = original
        self.attention = attention

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B, T, C_layer]
        encoder_hidden_states: Tensor | None = None,  # [B or 1, L, C]; None: self-attention
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reading: Reading | None = None,
    ) -> Tensor:
        if attention_mask is not None:
            raise ValueError(f"{self.name}: attention masks are not supported here")
        batch, heads = hidden_states.shape[0], attn.heads
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key = attn.to_q(hidden_states), attn.to_k(context)
        if reading is not None and self.name in reading.layers:
            asked = key if reading.condition is None else attn.to_k(reading.condition)
            measured = reading.measure(self.name, asked, query, heads, attn.scale)
            if not reading.closed:
                reading.record[self.name] = measured
                if reading.hidden is not None:
                    reading.hidden[self.name] = hidden_states
            if self.name == reading.last:
                return hidden_states
        value = attn.to_v(context)
        query, key, value = (
            rearrange(x, "b t (n d) -> b t n d", n=heads) for x in (query, key, value)
        )
        if key.shape[0] != batch:  # one context for all crops: projected once, shared by all
            key, value = (x.expand(batch, -1, -1, -1) for x in (key, value))
        if self.attention == "sdpa":
            out = _sdpa(
                query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn.scale
            ).transpose(1, 2)
        else:
            out = _xformers(query, key, value, attn.scale)
        out = attn.to_out[1](attn.to_out[0](rearrange(out, "b t n d -> b t (n d)")))
        if attn.residual_connection:
            out = out + hidden_states
        return out if attn.rescale_output_factor == 1 else out / attn.rescale_output_factor


def _sdpa(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """[B, N, T, D] each -> [B, N, T, D]."""
    few = query.shape[-2] * key.shape[-2] <= PLAIN_LOGITS
    if few and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        # On a CPU the backward pass of torch's fused kernel is five times as slow in bf16 as in fp32.
        return ((query * scale) @ key.transpose(-1, -2)).softmax(-1).to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value, scale=scale)


def _xformers(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """[B, T, N, D] each -> [B, T, N, D]; what no kernel of this build takes is refused."""
    try:
        return _xformers_kernel()(query, key.contiguous(), value.contiguous(), scale=scale)
    except NotImplementedError as error:  # its text lists every kernel and why it cannot run
        raise ValueError(
            f"attention='xformers' refused: it has no kernel for {str(query.dtype).removeprefix('torch.')} on "
            f"{query.device} with {query.shape[-1]} channels a head. Use attention='sdpa'."
        ) from error


def _xformers_kernel() -> Callable[..., Tensor]:
    try:
        from xformers.ops import memory_efficient_attention
    except Exception as error:  # not installed, or built against another torch or CUDA
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"attention='xformers' refused: {type(error).__name__}: {reason}. Use attention='sdpa', or install "
            'what fits this torch: pip install "genloc[xformers]"'
        ) from error
    return memory_efficient_attention


def attentions(unet: nn.Module) -> Iterator[tuple[str, Any]]:
    """(name, module) of every attention of the U-Net, in the order of its modules."""
    for name, module in unet.named_modules():
        if hasattr(module, "set_processor") and hasattr(module, "to_q"):
            yield name, module


def cross_attention_layers(unet: nn.Module, part: Literal["up", "all"] = "up") -> dict[str, Any]:
    """The cross-attention layers by name, in the order in which the U-Net runs them.

    Args:
        part: "up" for the up-blocks (9 layers in SD 1.5), "all" for down, mid and up (16).
    """
    if part not in ("up", "all"):
        raise ValueError(f"part={part!r}: expected 'up' or 'all'")
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    found = [(name, attn) for name, attn in attentions(unet) if attn.is_cross_attention]
    found.sort(
        key=lambda item: order.get(item[0].split(".")[0], 3)
    )  # stable: keeps the order in a part
    return {name: attn for name, attn in found if part == "all" or name.startswith("up_blocks.")}


def install(
    unet: nn.Module, layers: Iterable[str], *, attention: Literal["sdpa", "xformers"] = "sdpa"
) -> None:
    """Give every attention of the U-Net a `CKHEAttnProcessor`; `layers` are those to be read.

    Every one, because diffusers warns on each call of a processor that does not take our arguments.

    Raises:
        RuntimeError: processors are installed already.
        ValueError: a layer that is not there, an attention of another make than Stable Diffusion's, or
            xformers that is not there or does not fit.
    """
    if attention == "xformers":
        _xformers_kernel()
    everything = dict(attentions(unet))
    if any(_is_ours(attn) for attn in everything.values()):
        raise RuntimeError(
            "CKHE processors are installed in this U-Net already: remove(unet) first"
        )
    absent = [name for name in layers if name not in everything]
    if absent or not everything:
        raise ValueError(
            f"layers {absent} are not in this U-Net; it has {list(cross_attention_layers(unet))}"
        )
    for name, attn in everything.items():
        other = [
            part
            for part in (
                "group_norm",
                "spatial_norm",
                "norm_cross",
                "norm_q",
                "norm_k",
                "added_kv_proj_dim",
            )
            if getattr(attn, part, None) is not None
        ]
        if other:
            raise ValueError(f"{name} has {other}: not an attention of Stable Diffusion 1.x or 2.x")
    for name, attn in everything.items():
        attn.set_processor(CKHEAttnProcessor(name, attn.processor, attention))


def remove(unet: nn.Module) -> None:
    """Bring back the processors that `install` found.

    Raises:
        RuntimeError: nothing is installed.
    """
    ours = [attn for _, attn in attentions(unet) if _is_ours(attn)]
    if not ours:
        raise RuntimeError("no CKHE processors are installed in this U-Net")
    for attn in ours:
        attn.set_processor(attn.processor.original)


def check_installed(unet: nn.Module, layers: Iterable[str]) -> None:
    """Refuse to start when a layer that is to be read has lost its processor.

    Raises:
        RuntimeError: names the layers and the processors found there.
    """
    _refuse(unet, layers, [n for n in layers if not _is_ours(unet.get_submodule(n))])


def check_record(unet: nn.Module, reading: Reading) -> None:
    """Refuse to go on when a layer that was to be read wrote nothing.

    Raises:
        RuntimeError: as `check_installed`.
    """
    _refuse(unet, reading.layers, [n for n in reading.layers if n not in reading.record])


def _is_ours(attn: Any) -> bool:
    return isinstance(attn.processor, CKHEAttnProcessor)


def _refuse(unet: nn.Module, layers: Iterable[str], silent: list[str]) -> None:
    if not silent:
        return
    found = {type(unet.get_submodule(name).processor).__name__ for name in silent}
    raise RuntimeError(
        f"no map from {len(silent)} of {len(list(layers))} layers, e.g. {min(silent)}: its processor is "
        f"{', '.join(sorted(found))}, not CKHEAttnProcessor. set_attention_slice, "
        "enable_xformers_memory_efficient_attention and fuse_qkv_projections replace processors without "
        "a word; choose the backend by Prior(attention=...) instead and load the model again."
    )
