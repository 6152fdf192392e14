"""The way published code reads attention maps, as the rival of the benchmarks of whole steps.

Every attention forms its probabilities (diffusers' stock arithmetic), every cross-attention keeps a
map per head in the graph until the loss is made, and the U-Net runs to its end, so that a gradient
goes through all of it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.models import GenLoc
from genloc.models.attention import attentions


class StoringProcessor:
    """diffusers' `AttnProcessor` that also keeps a map of each head, normalised over the image."""

    def __init__(self, name: str, store: dict[str, Tensor]) -> None:
        self.name = name
        self.store = store
        self.condition: Tensor | None = None  # None: the context holds what is looked for

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(context))
        if encoder_hidden_states is not None:
            read = key
            if self.condition is not None:
                asked = self.condition.expand(len(hidden_states), -1, -1)
                read = attn.head_to_batch_dim(attn.to_k(asked))
            logits = read.float() @ query.float().transpose(1, 2) * attn.scale
            self.store[self.name] = logits.softmax(-1).unflatten(0, (-1, attn.heads))
        probabilities = attn.get_attention_scores(query, key)
        out = torch.bmm(probabilities, attn.head_to_batch_dim(attn.to_v(context)))
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(out)))


class Naive:
    """A loaded `GenLoc` read in that way; the same weights, the same result."""

    def __init__(self, model: GenLoc) -> None:
        self.model = model
        self.store: dict[str, Tensor] = {}
        self.processors = [
            StoringProcessor(name, self.store) for name, _ in attentions(model.prior.unet)
        ]
        for (_, attn), processor in zip(attentions(model.prior.unet), self.processors, strict=True):
            attn.set_processor(processor)

    def maps(self, image: Tensor, condition: Tensor) -> Tensor:
        """[B, K, h, w], as `GenLoc.forward`."""
        model, unet = self.model, self.model.prior.unet
        dtype = unet.conv_in.weight.dtype
        latent = model.encode(image)
        context = condition
        if model.context == "null":
            context = model.prior.null_context()
            for processor in self.processors:
                processor.condition = condition.to(dtype)
        self.store.clear()
        context = context.to(dtype).expand(len(image), -1, -1)
        unet(latent.to(dtype), model.timestep, context, return_dict=False)
        h, w = model.map_size(image)
        merged = []
        for name in model.layer_names:
            layer = self.store[name].mean(1)
            side = round(layer.shape[-1] ** 0.5)
            layer = layer.unflatten(-1, (side, side))
            scale = h // side
            merged.append(F.interpolate(layer, (h, w), mode="bilinear") / scale**2)
        return torch.stack(merged).mean(0)
