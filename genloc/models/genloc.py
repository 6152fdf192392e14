"""GenLoc: keypoints from the attention of an image generator, given what to look for.

Letters: B crops, K keypoints, N heads, T image tokens (= h*w), D channels per head, C condition
channels, H, W crop pixels, h, w cells of the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genloc.models.attention import (
    Measure,
    Reading,
    check_installed,
    check_record,
    cross_attention_layers,
    install,
)
from genloc.models.identify import log_density
from genloc.models.lora import LoRA, add_lora
from genloc.models.prior import Prior
from genloc.models.read_out import (
    READ_OUTS,
    SUMS_TO_ONE,
    ReadOutName,
    merge_layers,
    on_finer_grids,
    read_log_expectation,
    read_map,
)
from genloc.models.walk import (
    LAYERS,
    chosen,
    front_learns,
    grids,
    place,
    unreached,
    walk,
    walk_front,
)
from genloc.ops import gaussian_log_target


class GenLoc(nn.Module):
    """The model of the paper. The constructor is light; `load()` reads the prior and adds LoRA.

    Args:
        prior: the frozen image generator.
        context: what updates the latent: "conditions" (exactly the K conditions), or "null" (the
            frozen empty prompt; conditions are only read, so a map does not depend on which other
            keypoints are asked).
        read_out: "ckhe", or ordinary cross-attention as a map: "cross", "cross-renormalised",
            "cross-background" (see `read_out.py`; the background token is the begin token of the
            empty prompt).
        layers: "mean" over all cross-attention layers of the up-blocks, "finest" (those of the finest
            grid), "finest-first" (the first of these: nothing behind it runs), or the name of one.
        finer: queries are interpolated to a grid so many times as fine (`read_out.on_finer_grids`): small
            maps can then say, and training with HEL teaches, what lies between their layer's cells.
        timestep: at which the U-Net reads the latent.
        noise: add the scheduler's noise of that timestep; the noise itself is given by the caller.
        lora: None: only the conditions learn.
        gradient_checkpointing: recompute activations in the backward pass.
        train_unet: all weights of the U-Net learn, in fp32, instead of LoRA (a baseline; its weights
            do not fit in an adapter).
    """

    def __init__(
        self,
        prior: Prior,
        *,
        context: Literal["conditions", "null"] | None = "conditions",
        read_out: ReadOutName = "ckhe",
        layers: str = "mean",
        finer: int = 1,
        timestep: int = 1,
        noise: bool = False,
        lora: LoRA | None = LoRA(),  # noqa: B008 (frozen, so a shared default is safe)
        gradient_checkpointing: bool = False,
        train_unet: bool = False,
    ) -> None:
        super().__init__()
        context = context or "null"  # YAML and the command line read a bare null as None
        if context not in ("conditions", "null"):
            raise ValueError(f"context={context!r}: expected 'conditions' or 'null'")
        if read_out not in READ_OUTS:
            raise ValueError(f"read_out={read_out!r}: expected one of {READ_OUTS}")
        if layers not in LAYERS:
            place(layers)
        if finer < 1:
            raise ValueError(f"finer={finer}: expected 1 or more")
        if timestep < 0:
            raise ValueError(f"timestep={timestep}: expected 0 or more")
        if train_unet and lora is not None and lora.preset is not None:
            raise ValueError("train_unet=True trains all weights; give lora=None with it")
        self.prior = prior
        self.context = context
        self.read_out = read_out
        self.layers = layers
        self.finer = finer
        self.timestep = timestep
        self.noise = noise
        self.lora = lora
        self.gradient_checkpointing = gradient_checkpointing
        self.train_unet = train_unet
        self.layer_names: tuple[str, ...] = ()

    def load(self) -> GenLoc:
        """Load the prior, install the read-out and add LoRA; a second call does nothing."""
        if not self.layer_names:
            with torch.device("cpu"):  # whatever a trainer made the default
                self._load()
        return self

    def _load(self) -> None:
        unet = self.prior.load().unet
        steps = self.prior.alphas_cumprod.shape[0]
        if self.timestep >= steps:
            raise ValueError(
                f"timestep={self.timestep}: this prior has {steps} steps, 0 to {steps - 1}"
            )
        names = chosen(list(cross_attention_layers(unet, "up")), self.layers)
        install(unet, names, attention=self.prior.attention)
        not_run = unreached(unet, names[-1])
        if self.train_unet:
            for name, parameter in unet.named_parameters():
                parameter.data = parameter.data.float()
                parameter.requires_grad_(not name.startswith(not_run))
        else:
            add_lora(unet, self.lora, unreached=not_run)
        if self.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        if self.context == "null" or self.read_out == "cross-background":
            self.prior.null_context()
        self.layer_names = tuple(names)

    def forward(
        self,
        image: Tensor | None,  # [B, 3, H, W] in [-1, 1]
        condition: Tensor,  # [B or 1, K, C]
        noise: Tensor | None = None,  # [B, 4, H/8, W/8] standard normal
        *,
        latent: Tensor | None = None,  # [B, 4, H/8, W/8], instead of the image
        front: Sequence[Tensor] | None = None,  # of this latent, from `front()`
    ) -> Tensor:
        """[B, K, h, w] fp32: one map per keypoint; it sums to 1 ("cross" and "cross-background" do not).

        Raises:
            ValueError: an argument of another shape than stated, or noise that is missing.
            RuntimeError: a layer gave no map, since something replaced its attention processor.
        """
        maps = self.layer_maps(image, condition, noise, latent=latent, front=front)
        return merge_layers(list(maps.values()), sums_to_one=self.read_out in SUMS_TO_ONE)

    def log_expectation(
        self,
        image: Tensor | None,
        condition: Tensor,
        points: Tensor,  # [B, K, 2] x, y in cells of the map (cell j has its centre at j)
        sigma: float,  # cells
        noise: Tensor | None = None,
        *,
        latent: Tensor | None = None,
        front: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """[B, K] fp32: log of sum_j map[j] * exp(-|j - point|^2 / 2 sigma^2), without the map in memory.

        Works in logarithms from end to end, so it stays finite where the product underflows: the
        target is carried down to each layer's grid by the transpose of the upsampling, and layers
        are merged by logsumexp.

        Raises:
            ValueError: a read-out whose map does not sum to 1: its expectation grows without finding
                anything, so it cannot be trained this way.
        """
        if self.read_out not in SUMS_TO_ONE:
            raise ValueError(
                f"read_out={self.read_out!r} does not sum to 1 over the image, so log_expectation (HEL) "
                "is not defined for it; train it with HeatmapMSE, or use 'cross-renormalised'"
            )
        latent = self._latent(image, latent)
        sizes = self._sizes(latent)
        finest = sizes[self.layer_names[-1]]
        targets: dict[tuple[int, int], Tensor] = {}
        for size in sizes.values():
            if size not in targets:
                targets[size] = gaussian_log_target(points.float(), finest, sigma, size)

        def measure(name: str, key: Tensor, query: Tensor, heads: int, scale: float) -> Tensor:
            target = targets[sizes[name]]
            return read_log_expectation(self.read_out, key, query, target, heads=heads, scale=scale)

        record = self._read(latent, condition, noise, measure, front)
        layers = torch.stack([record[name] for name in self.layer_names])
        return torch.logsumexp(layers, dim=0) - math.log(len(self.layer_names))

    def layer_maps(
        self,
        image: Tensor | None,
        condition: Tensor,
        noise: Tensor | None = None,
        *,
        latent: Tensor | None = None,
        front: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Each read layer's map on its own grid, [B, K, h_layer, w_layer] fp32, by layer name."""
        latent = self._latent(image, latent)
        sizes = self._sizes(latent)

        def measure(name: str, key: Tensor, query: Tensor, heads: int, scale: float) -> Tensor:
            if self.read_out == "cross-background":
                key = torch.cat(
                    [key, self._background_key(name).to(key.dtype).expand(len(key), 1, -1)], 1
                )
            return read_map(self.read_out, key, query, heads=heads, scale=scale)

        record = self._read(latent, condition, noise, measure, front)
        return {name: record[name].unflatten(-1, sizes[name]) for name in self.layer_names}

    def identify(
        self,
        image: Tensor | None,
        points: Tensor,  # [B, P, 2] x, y in cells of the map, any number of places
        condition: Tensor,
        noise: Tensor | None = None,
        *,
        latent: Tensor | None = None,
    ) -> Tensor:
        """[B, P, K] fp32: which of the K keypoints is at each place; probabilities that sum to 1.

        `softmax_i (l_ij - logsumexp_j l_i)` of CKHE's logits; see `identify.py` for how heads and layers
        are merged. With `context="conditions"` the answer also depends on which candidates are given.

        Raises:
            ValueError: points of another shape or not finite, or another read-out than "ckhe".
        """
        return log_density(self, image, points, condition, noise, latent=latent).softmax(-1)

    def map_size(self, image: Tensor) -> tuple[int, int]:
        """(h, w) in cells of the maps that `forward` gives for crops [B, 3, H, W]."""
        return self._sizes(torch.Size(self.prior.latent_size(image)))[self.layer_names[-1]]

    def encode(self, image: Tensor) -> Tensor:
        """The clean latents of crops, [B, 4, H/8, W/8] fp32: constant per crop, so they can be cached."""
        return self.prior.encode_image(image)

    def constant_front(self) -> bool:
        """Whether down- and mid-blocks give the same for a crop whatever is learned."""
        unet = self.prior.unet
        return self.context == "null" and not self.noise and not front_learns(unet)

    @torch.no_grad()
    def front(self, latent: Tensor) -> list[Tensor]:
        """Outputs of the down- and mid-blocks, in the frozen net's dtype; constant per latent.

        Raises:
            ValueError: they depend on what is learned or drawn.
        """
        if not self.constant_front():
            raise ValueError(
                "the outputs of the down- and mid-blocks are constant only with context='null', "
                "noise=False and nothing that learns in them (LoRA preset 'cross' or 'up')"
            )
        return walk_front(self.prior.unet, latent, self.timestep, self.prior.null_context())

    def _read(
        self,
        latent: Tensor,
        condition: Tensor,
        noise: Tensor | None,
        measure: Measure,
        front: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """One pass of the U-Net over the latent; what `measure` returned, by layer name."""
        unet = self.prior.unet
        channels = self.prior.condition_channels
        fits = condition.ndim == 3 and condition.shape[0] in (1, latent.shape[0])
        if not fits or condition.shape[2] != channels:
            raise ValueError(
                f"condition has shape {tuple(condition.shape)}; expected [{latent.shape[0]} or 1, K, {channels}]"
            )
        if self.noise:
            if noise is None or noise.shape != latent.shape:
                got = None if noise is None else tuple(noise.shape)
                raise ValueError(
                    f"noise is {got}; give standard normal numbers {tuple(latent.shape)}"
                )
            kept = self.prior.alphas_cumprod[self.timestep]
            latent = kept.sqrt() * latent + (1 - kept).sqrt() * noise
        if self.finer > 1:
            measure = on_finer_grids(measure, self._sizes(latent), self.finer)
        reading = Reading(measure, frozenset(self.layer_names), last=self.layer_names[-1])
        if self.context == "conditions":
            context = condition
        else:
            context = self.prior.null_context()
            reading.condition = condition.to(unet.conv_in.weight.dtype)
        check_installed(unet, self.layer_names)
        walk(unet, latent, self.timestep, context, reading, front)
        reading.closed = True
        check_record(unet, reading)
        return reading.record

    def _latent(self, image: Tensor | None, latent: Tensor | None) -> Tensor:
        if not self.layer_names:
            raise RuntimeError("this GenLoc has no weights yet: call load() first")
        if (image is None) == (latent is None):
            raise ValueError("give either image or latent, not both and not neither")
        if latent is not None:
            return latent
        assert image is not None
        return self.prior.encode_image(image)

    def _sizes(self, latent: Tensor | torch.Size) -> dict[str, tuple[int, int]]:
        """(h, w) of each read layer's map for a latent, or a latent of these sides, by layer name."""
        h, w = (latent.shape if isinstance(latent, Tensor) else latent)[-2:]
        found = grids(self.prior.unet, (h, w))
        sizes = {name: found[place(name).block] for name in self.layer_names}
        return {name: (self.finer * h, self.finer * w) for name, (h, w) in sizes.items()}

    def _background_key(self, name: str) -> Tensor:
        to_k = self.prior.unet.get_submodule(name).to_k
        return to_k(self.prior.null_context()[:, :1].to(self.prior.unet.conv_in.weight.dtype))
