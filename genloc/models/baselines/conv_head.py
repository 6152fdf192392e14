"""A plain convolutional head on the frozen prior's features: what the prior's attention is worth beside them.

Letters: B crops, K keypoints, H, W crop pixels, h, w cells of the map.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloc.models.prior import Prior
from genloc.ops import gaussian_log_target


class ConvHead(nn.Module):
    """Two 3x3 convolutions over what the up-blocks of the frozen U-Net put out for a clean latent.

    The U-Net reads the latent with the empty prompt. The outputs of all up-blocks are resized to the
    finest grid and stacked; the head is convolution, normalisation, ReLU, optional upsampling,
    convolution, ReLU, and one linear map per keypoint. Only the head learns.

    Args:
        prior: the frozen image generator; `load()` reads its weights.
        channels: of the two convolutions.
        upsample: cells of the map per cell of the finest features along each axis.
        output: "softmax" over the cells: maps sum to 1 and are trained with `HEL`; "linear": trained
            with `HeatmapMSE` as SimplePose is.
        timestep: at which the U-Net reads the latent.

    Raises:
        ValueError: another output, or sizes below 1.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        channels: int = 128,
        upsample: int = 1,
        output: Literal["softmax", "linear"] = "softmax",
        timestep: int = 1,
    ) -> None:
        super().__init__()
        if output not in ("softmax", "linear"):
            raise ValueError(f"output={output!r}: expected 'softmax' or 'linear'")
        if channels < 1 or upsample < 1 or timestep < 0:
            raise ValueError(
                f"channels={channels}, upsample={upsample}, timestep={timestep}: expected at least 1, 1 and 0"
            )
        self.prior = prior
        self.channels = channels
        self.upsample = upsample
        self.output = output
        self.timestep = timestep
        self.score: Literal["mass", "peak"] = "mass" if output == "softmax" else "peak"
        self.norms: nn.ModuleList | None = None
        self.head: Any = None

    def load(self) -> ConvHead:
        """Load the prior; a second call does nothing. Returns self."""
        self.prior.load()
        self.prior.null_context()
        return self

    def build(self, num_keypoints: int) -> ConvHead:
        """Make the head for K keypoints, of torch's global generator; a second call does nothing.

        Raises:
            RuntimeError: the prior is not loaded.
        """
        if self.head is not None:
            return self
        if not self.prior.loaded:
            raise RuntimeError("the prior has no weights yet: call load() first")
        widths = [block.resnets[-1].out_channels for block in self.prior.unet.up_blocks]
        # Their scales differ, so that without this the loudest block alone would be heard.
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.head = nn.Sequential(
            nn.Conv2d(sum(widths), self.channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.channels),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=self.upsample, mode="bilinear", align_corners=False),
            nn.Conv2d(self.channels, self.channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.channels, num_keypoints, 1),
        )
        if self.output == "linear":  # as SimplePose: maps start near 0, where most of a target is
            nn.init.normal_(self.head[-1].weight, std=0.001)
            nn.init.zeros_(self.head[-1].bias)
        return self

    def forward(self, image: Tensor | None, *, latent: Tensor | None = None) -> Tensor:
        """Maps [B, K, h, w] fp32, with output "softmax" each sums to 1.

        Args:
            image: [B, 3, H, W] in [-1, 1].
            latent: [B, 4, H/8, W/8], instead of the image.

        Raises:
            ValueError: neither image nor latent, or both.
            RuntimeError: `load()` or `build(K)` was not called.
        """
        logits = self._logits(image, latent)
        if self.output == "linear":
            return logits
        return torch.softmax(logits.flatten(2), dim=-1).view_as(logits)

    def log_expectation(
        self,
        image: Tensor | None,
        points: Tensor,  # [B, K, 2] x, y in cells of the map
        sigma: float,  # cells
        *,
        latent: Tensor | None = None,
    ) -> Tensor:
        """[B, K] fp32: log of sum_j map[j] * exp(-|j - point|^2 / 2 sigma^2), as GenLoc's.

        Raises:
            ValueError: a linear head has no expectation.
        """
        if self.output == "linear":
            raise ValueError("output='linear' has no expectation; train it with HeatmapMSE")
        logits = self._logits(image, latent)
        grid = (logits.shape[-2], logits.shape[-1])
        target = gaussian_log_target(points.float(), grid, sigma, grid)
        return torch.logsumexp(torch.log_softmax(logits.flatten(2), dim=-1) + target, dim=-1)

    def map_size(self, image: Tensor) -> tuple[int, int]:
        """(h, w) in cells of the maps of crops [B, 3, H, W]."""
        h, w = self.prior.latent_size(image)
        return h * self.upsample, w * self.upsample

    def encode(self, image: Tensor) -> Tensor:
        """The clean latents of crops, [B, 4, H/8, W/8] fp32: constant per crop, so they can be cached."""
        return self.prior.encode_image(image)

    @torch.no_grad()
    def features(self, latent: Tensor) -> list[Tensor]:
        """What each up-block puts out, coarse to fine, fp32, without gradient."""
        unet: Any = self.prior.unet
        found: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _, __, out: found.append(out.float()))
            for block in unet.up_blocks
        ]
        try:
            dtype = unet.conv_in.weight.dtype
            context = self.prior.null_context().to(dtype).expand(len(latent), -1, -1)
            unet(latent.to(dtype), self.timestep, context)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _logits(self, image: Tensor | None, latent: Tensor | None) -> Tensor:
        if (image is None) == (latent is None):
            raise ValueError("give either image or latent, not both and not neither")
        if self.head is None or self.norms is None:
            raise RuntimeError("this ConvHead has no weights yet: call load() and build(K) first")
        if latent is None:
            assert image is not None
            latent = self.prior.encode_image(image)
        features = self.features(latent)
        size = features[-1].shape[-2:]
        stacked = [
            F.interpolate(norm(feature), size, mode="bilinear", align_corners=False)
            for norm, feature in zip(self.norms, features, strict=True)
        ]
        return self.head(torch.cat(stacked, dim=1)).float()
