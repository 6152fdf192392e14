"""LoRA on the U-Net's attention, by peft through diffusers' `unet.add_adapter`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloc.models.attention import attentions, cross_attention_layers

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
BLOCKS = ("down_blocks.", "mid_block.", "up_blocks.")
ADAPTER = "default"
Preset = Literal["cross", "up", "full", "up-all", "all"]


@dataclass(frozen=True)
class LoRA:
    """Which attentions learn, and how.

    Args:
        preset: "cross": cross-attention of the up-blocks (866,304 parameters in SD 1.5 at rank 16);
            "up": self- and cross-attention of the up-blocks (1,726,464); "full": of the whole U-Net
            (3,188,736); "up-all", "all": every linear layer and convolution of the residual blocks and
            transformers in the up-blocks, or in the whole U-Net; None: no LoRA, only the conditions learn.
        rank: r.
        alpha: the update is scaled by alpha / rank.
    """

    preset: Preset | None = "cross"
    rank: int = 16
    alpha: float = 16

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in get_args(Preset):
            known = ", ".join(map(repr, get_args(Preset)))
            raise ValueError(f"preset={self.preset!r}: expected {known} or null")
        if self.rank < 1:
            raise ValueError(f"rank={self.rank}: expected at least 1")


def lora_targets(unet: nn.Module, lora: LoRA) -> list[str]:
    """Names of the layers of a U-Net without LoRA that are to get it, in its order."""
    if lora.preset is None:
        return []
    if lora.preset in ("up-all", "all"):
        blocks = ("up_blocks.",) if lora.preset == "up-all" else BLOCKS
        return [
            name
            for name, module in unet.named_modules()
            # The projection of the time says nothing of the picture: t is one constant.
            if name.startswith(blocks)
            and isinstance(module, nn.Linear | nn.Conv2d)
            and not name.endswith("time_emb_proj")
        ]
    if lora.preset == "cross":
        layers = list(cross_attention_layers(unet, "up"))
    else:
        start = "up_blocks." if lora.preset == "up" else ""
        layers = [name for name, _ in attentions(unet) if name.startswith(start)]
    return [f"{layer}.{projection}" for layer in layers for projection in PROJECTIONS]


def add_lora(unet: Any, lora: LoRA | None, *, unreached: tuple[str, ...] = ()) -> None:
    """Add LoRA (fp32, B = 0: the output is the base's at first) to a frozen U-Net.

    Args:
        lora: None or a preset of None adds nothing.
        unreached: name prefixes of modules that do not run. LoRA there can get no gradient and is
            frozen: plain DDP waits for the gradient of every parameter that asks for one.

    Raises:
        RuntimeError: the U-Net has LoRA already.
    """
    if lora is None or lora.preset is None:
        return
    if getattr(unet, "peft_config", None):
        raise RuntimeError(f"this U-Net has the adapters {list(unet.peft_config)} already")
    from peft import LoraConfig

    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=lora_targets(unet, lora))
    unet.add_adapter(config, adapter_name=ADAPTER)
    for name, parameter in lora_parameters(unet):
        parameter.data = parameter.data.to(torch.float32)
        parameter.requires_grad_(not name.startswith(unreached))
    for layer in unet.modules():
        if _is_narrow(layer):
            layer.forward = partial(_one_product, layer)


def _is_narrow(layer: nn.Module) -> bool:
    """Whether a LoRA layer is so narrow, beside its rank, that one product with W + BA is cheaper than two.

    Per token, forward and backward, W + BA costs about one more product of the size of W (its gradient),
    the branch about 3 r / outputs of one and the launches of two small layers.
    """
    from peft.tuners.lora import LoraLayer

    if not isinstance(layer, LoraLayer):
        return False
    base: Any = layer.get_base_layer()
    plain = base.weight.dtype == torch.float32 and getattr(base, "groups", 1) == 1
    return plain and base.weight.shape[0] <= 4 * layer.r[ADAPTER]


def _one_product(layer: Any, x: Tensor) -> Tensor:
    """A LoRA layer's output (W + BA) x; by peft's own forward wherever LoRA is off, merged or not alone."""
    base = layer.get_base_layer()
    alone = not layer.merged and list(layer.active_adapters) == [ADAPTER]
    if layer.disable_adapters or not alone or base.weight.dtype != torch.float32:
        return type(layer).forward(layer, x)
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    # Not `get_delta_weight`: for convolutions it is a convolution itself, slower than what is saved here.
    update = (b.flatten(1) @ a.flatten(1)).view(base.weight.shape) * layer.scaling[ADAPTER]
    if isinstance(base, nn.Linear):
        return F.linear(x, base.weight + update, base.bias)
    if base.weight.is_contiguous(memory_format=torch.channels_last):
        update = update.contiguous(memory_format=torch.channels_last)
    return F.conv2d(
        x, base.weight + update, base.bias, base.stride, base.padding, base.dilation, base.groups
    )


def lora_layers(unet: nn.Module) -> list[str]:
    """Names of the layers that have LoRA, in the U-Net's order."""
    names = (name.partition(".lora_")[0] for name, _ in lora_parameters(unet))
    return list(dict.fromkeys(names))


def lora_parameters(unet: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """(name, parameter) of all LoRA matrices, the frozen ones of unreached layers included."""
    for name, parameter in unet.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            yield name, parameter


@contextmanager
def without_lora(unet: Any) -> Iterator[None]:
    """The frozen net as it was before LoRA, for as long as this is entered."""
    learns = [(parameter, parameter.requires_grad) for _, parameter in lora_parameters(unet)]
    if learns:
        unet.disable_adapters()
    try:
        yield
    finally:
        if learns:
            unet.enable_adapters()
        for parameter, given in learns:  # peft lets all learn again, the unreached ones, too
            parameter.requires_grad_(given)
