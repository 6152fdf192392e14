"""ViTPose: a plain vision transformer and a light heatmap head (https://arxiv.org/abs/2204.12484).

Letters: B crops, K keypoints, S crop pixels, D channels.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloc.models.baselines.simple_pose import MEAN, STD

POSITIONS = (
    "backbone.embeddings.position_embeddings"  # [1, 1 + patches, D]; the first is added to all
)


class ViTPose(nn.Module):
    """The network of ViTPose in transformers' classes; the defaults are ViTPose-B with the simple head.

    Trained with `HeatmapMSE` against unnormalised Gaussians, as SimplePose is, and scored by the
    map's peak. One for a CPU and crops of 128 pixels is in `configs/baseline/vit_small.yaml`.
    Published training drops whole layers at random, which these classes do not.

    The constructor is light; `load()` makes or reads the network, `build(K)` makes the head.

    Args:
        crop_size: S, the side of the crops in pixels; position embeddings are made for it, and
            those of trained weights are resized to it.
        hidden, depth, heads: D, layers, and heads of each.
        patch: pixels of a token along each axis; `crop_size` is a multiple.
        upsample: cells of the map per token along each axis (simple head; the classic one has 4).
        head: "simple" (ReLU, upsampling, one 3x3 convolution) or "classic" (two deconvolutions).
        weights: trained ViTPose as transformers saves it, a local folder or hub id such as
            "usyd-community/vitpose-base-simple" or "usyd-community/vitpose-plus-base". They say all
            of the above but `crop_size` and the number of keypoints; None starts from random weights
            of torch's global generator.
        keep_head: keep the head of `weights` as well, to score them as they are: their keypoints
            must be the data's, in its order. Otherwise a new head is made.
        expert: which expert of ViTPose++ weights reads the crops (0 COCO, 3 AP-10K).

    Raises:
        ValueError: sizes that do not fit, or another head.
    """

    mean: Tensor
    std: Tensor
    score: Literal["mass", "peak"] = "peak"

    def __init__(
        self,
        crop_size: int,
        *,
        hidden: int = 768,
        depth: int = 12,
        heads: int = 12,
        patch: int = 16,
        upsample: int = 4,
        head: Literal["simple", "classic"] = "simple",
        weights: str | None = None,
        keep_head: bool = False,
        expert: int = 0,
    ) -> None:
        super().__init__()
        if head not in ("simple", "classic"):
            raise ValueError(f"head={head!r}: expected 'simple' or 'classic'")
        if weights is None and (patch < 1 or crop_size < patch or crop_size % patch):
            raise ValueError(f"crop_size={crop_size} is not a multiple of patch={patch}")
        if weights is None and (depth < 1 or upsample < 1 or heads < 1 or hidden % heads):
            raise ValueError(
                f"hidden={hidden}, depth={depth}, heads={heads}, upsample={upsample}: expected at "
                "least 1 of each, and as many channels in every head"
            )
        if keep_head and weights is None:
            raise ValueError("keep_head=True keeps the head of weights, but weights is None")
        self.crop_size = crop_size
        self.shape = {
            "hidden_size": hidden,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "patch_size": (patch, patch),
        }
        self.upsample = upsample
        self.head = head
        self.weights = weights
        self.keep_head = keep_head
        self.expert = expert
        self.net: Any = None
        self._built = False
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def load(self) -> ViTPose:
        """Make or read the network; a second call does nothing. Returns self.

        Raises:
            FileNotFoundError: no such weights (what was looked for, what to do).
            ValueError: crops that are no multiple of the weights' patches.
        """
        if self.net is None:
            self.net = self._new() if self.weights is None else self._trained(self.weights)
        return self

    def _new(self) -> Any:
        from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

        size = (self.crop_size, self.crop_size)
        last = [self.shape["num_hidden_layers"]]
        body = VitPoseBackboneConfig(image_size=size, out_indices=last, **self.shape)  # type: ignore[arg-type]
        return VitPoseForPoseEstimation(
            VitPoseConfig(
                backbone_config=body,
                scale_factor=self.upsample,
                use_simple_decoder=self.head == "simple",
            )
        )

    def _trained(self, weights: str) -> Any:
        from transformers import VitPoseForPoseEstimation

        try:
            read: Any = VitPoseForPoseEstimation.from_pretrained(weights, dtype=torch.float32)
        except OSError as error:
            raise FileNotFoundError(
                f"weights={weights!r}: no ViTPose there as transformers saves it (config.json and "
                f"model.safetensors), locally or on the hub: {error}. Give weights=None to start from "
                "random weights."
            ) from error
        body = read.config.backbone_config
        old = tuple(
            s // p for s, p in zip(_pair(body.image_size), _pair(body.patch_size), strict=True)
        )
        if any(self.crop_size % p for p in _pair(body.patch_size)):
            raise ValueError(
                f"crop_size={self.crop_size} is not a multiple of the patches of weights={weights!r}, "
                f"which are {_pair(body.patch_size)} pixels"
            )
        state = read.state_dict()
        body.image_size = [self.crop_size, self.crop_size]
        new = tuple(self.crop_size // p for p in _pair(body.patch_size))
        state[POSITIONS] = resize_positions(state[POSITIONS], old, new)  # type: ignore[arg-type]
        net: Any = VitPoseForPoseEstimation(read.config)
        net.load_state_dict(state)
        return net

    def build(self, num_keypoints: int) -> ViTPose:
        """Make the head for K maps, of torch's global generator; a second call does nothing.

        Raises:
            RuntimeError: `load()` was not called.
            ValueError: a kept head has another number of keypoints.
        """
        if self._built:
            return self
        if self.net is None:
            raise RuntimeError("this ViTPose has no weights yet: call load() first")
        config = self.net.config
        if not self.keep_head:
            config.num_labels = num_keypoints
            self.net.head = type(self.net.head)(config)
            for part in self.net.head.modules():  # as SimplePose: maps start near 0
                if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                    nn.init.normal_(part.weight, std=0.001)
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)
        elif config.num_labels != num_keypoints:
            raise ValueError(
                f"keep_head=True: weights={self.weights!r} find {config.num_labels} keypoints, the "
                f"data has {num_keypoints}"
            )
        self._built = True
        return self

    def forward(self, image: Tensor) -> Tensor:
        """image [B, 3, S, S] in [-1, 1] -> maps [B, K, h, w] fp32, h = w = S / patch x upsample.

        Raises:
            RuntimeError: `load()` or `build(K)` was not called.
            ValueError: an image of another shape.
        """
        if self.net is None or not self._built:
            raise RuntimeError("this ViTPose has no weights yet: call load() and build(K) first")
        side = self.crop_size
        if image.ndim != 4 or image.shape[1:] != (3, side, side):
            raise ValueError(
                f"image has shape {tuple(image.shape)}; expected [B, 3, {side}, {side}] (crop_size)"
            )
        pixels = ((image + 1) / 2 - self.mean) / self.std
        expert = None
        if self.net.config.backbone_config.num_experts > 1:
            expert = torch.full((len(image),), self.expert, device=image.device)
        return self.net(pixels, dataset_index=expert).heatmaps.float()


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Position embeddings [1, 1 + h w, D] of a grid (h, w) for another grid, bicubic.

    Raises:
        ValueError: they are not those of the old grid.
    """
    first, rest = positions[:, :1], positions[:, 1:]
    if rest.shape[1] != old[0] * old[1]:
        raise ValueError(f"positions: {rest.shape[1]} are not those of a grid {old}")
    if old == new:
        return positions
    grid = rest.unflatten(1, old).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, new, mode="bicubic", align_corners=False)
    return torch.cat([first, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _pair(size: Any) -> tuple[int, int]:
    """transformers' sizes are a number or two."""
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))
