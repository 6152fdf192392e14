"""SimplePose: a ResNet, three deconvolutions, one heatmap per keypoint (https://arxiv.org/abs/1804.06208).

Letters: B crops, K keypoints, H, W crop pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

# Of ImageNet's pictures in [0, 1], which published ResNet weights expect taken off.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SimplePose(nn.Module):
    """The published baseline of AP-10K and COCO; the defaults are its ResNet-50.

    Trained with `HeatmapMSE` against unnormalised Gaussians, so its maps are near 0 away from a
    keypoint and near 1 on it; they do not sum to 1 and may be negative. A keypoint's score is the
    map's peak. A half-width ResNet-18 that trains on a CPU at crops of 128 pixels:
    `SimplePose(depths=(2, 2, 2, 2), widths=(32, 64, 128, 256), layer="basic", stem=32, channels=64)`.

    The constructor is light; `load()` makes or reads the ResNet, `build(K)` makes the rest.

    Args:
        depths: blocks of each stage of the ResNet.
        widths: channels of each stage.
        layer: "basic" (ResNet-18, 34) or "bottleneck" (50 and deeper) blocks.
        stem: channels of the first convolution.
        channels: of the three deconvolutions.
        weights: trained ResNet of this shape, a local folder or hub id of transformers' form such as
            "microsoft/resnet-50"; None starts from random weights of torch's global generator.
    """

    mean: Tensor
    std: Tensor
    score: Literal["mass", "peak"] = "peak"
    stride = 4

    def __init__(
        self,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (256, 512, 1024, 2048),
        layer: Literal["basic", "bottleneck"] = "bottleneck",
        stem: int = 64,
        channels: int = 256,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or len(widths) != 4:
            raise ValueError(
                f"depths={tuple(depths)}, widths={tuple(widths)}: expected four stages each, which "
                "reduce a crop 32 times"
            )
        if layer not in ("basic", "bottleneck"):
            raise ValueError(f"layer={layer!r}: expected 'basic' or 'bottleneck'")
        self.shape = {
            "depths": [int(n) for n in depths],
            "hidden_sizes": [int(n) for n in widths],
            "layer_type": str(layer),
            "embedding_size": int(stem),
        }
        self.channels = channels
        self.weights = weights
        self.backbone: Any = None
        self.head: nn.Sequential | None = None
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def load(self) -> SimplePose:
        """Make or read the ResNet; a second call does nothing. Returns self.

        Raises:
            FileNotFoundError: no such weights (what was looked for, what to do).
            ValueError: they are those of a ResNet of another shape.
        """
        if self.backbone is not None:
            return self
        from transformers import ResNetConfig, ResNetModel

        if self.weights is None:
            self.backbone = ResNetModel(ResNetConfig(**self.shape))  # type: ignore[arg-type]
            return self
        try:
            config: Any = ResNetConfig.from_pretrained(self.weights)
            found = {name: getattr(config, name) for name in self.shape}
            if found == self.shape:
                self.backbone = ResNetModel.from_pretrained(self.weights)
        except OSError as error:
            raise FileNotFoundError(
                f"weights={self.weights!r}: no ResNet there as transformers saves it (config.json and "
                f"model.safetensors), locally or on the hub: {error}. Give weights=None to start "
                "from random weights."
            ) from error
        if found != self.shape:
            raise ValueError(
                f"weights={self.weights!r} are those of {found}; depths, widths (hidden_sizes), layer "
                f"and stem (embedding_size) here ask for {self.shape}"
            )
        return self

    def build(self, num_keypoints: int) -> SimplePose:
        """Make deconvolutions and K maps, started as published; a second call does nothing."""
        if self.head is None:
            parts: list[nn.Module] = []
            before = self.shape["hidden_sizes"][-1]  # type: ignore[index]
            for _ in range(3):
                up = nn.ConvTranspose2d(before, self.channels, 4, stride=2, padding=1, bias=False)
                parts += [up, nn.BatchNorm2d(self.channels), nn.ReLU(inplace=True)]
                before = self.channels
            parts.append(nn.Conv2d(before, num_keypoints, 1))
            self.head = nn.Sequential(*parts)
            for part in parts:
                if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                    nn.init.normal_(part.weight, std=0.001)
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)
        return self

    def map_size(self, image: Tensor) -> tuple[int, int]:
        """(h, w) in cells of the maps of crops [B, 3, H, W].

        Raises:
            ValueError: an image of another shape, or H or W no multiple of 32.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % 32 or image.shape[3] % 32:
            raise ValueError(
                f"image has shape {tuple(image.shape)}; expected [B, 3, H, W], H and W multiples of 32"
            )
        return image.shape[2] // self.stride, image.shape[3] // self.stride

    def forward(self, image: Tensor) -> Tensor:
        """image [B, 3, H, W] in [-1, 1], H and W multiples of 32 -> maps [B, K, H/4, W/4] fp32.

        Raises:
            RuntimeError: `load()` or `build(K)` was not called.
            ValueError: an image of another shape.
        """
        if self.backbone is None or self.head is None:
            raise RuntimeError("this SimplePose has no weights yet: call load() and build(K) first")
        self.map_size(image)
        pixels = ((image + 1) / 2 - self.mean) / self.std
        return self.head(self.backbone(pixels).last_hidden_state).float()
