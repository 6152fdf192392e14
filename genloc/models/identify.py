"""Which of the asked keypoints is at a place: the logits of CKHE, normalised the other way round.

With l[i, j] the logit of condition i and image token j, CKHE reads p(place j | keypoint i) =
softmax_j l[i, j]. If no keypoint is likelier than another beforehand, Bayes gives

    p(keypoint i | place j) = softmax_i (l[i, j] - logsumexp_j l[i, j])

which is not the softmax over i of the logits themselves (ordinary cross-attention, Eq. 6): that one
keeps each keypoint's normaliser, which training with HEL never sees. Heads and layers are merged
before Bayes, as the model merges them: the density of keypoint i is the mean over heads and layers
of their maps, each carried to the finest grid by bilinear upsampling and divided by s^2, and between
the cells' centres it is interpolated bilinearly. All of it in logarithms.

Letters: B crops, P places, K keypoints, N heads, T image tokens, D channels per head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.ops.precision import without_autocast

if TYPE_CHECKING:
    from genloc.models.genloc import GenLoc

Weights = tuple[Tensor, Tensor]  # cell indices [B, P, n] and the logarithms of their weights


def log_density(
    model: GenLoc,
    image: Tensor | None,  # [B, 3, H, W] in [-1, 1]
    points: Tensor,  # [B, P, 2] x, y in cells of the map
    condition: Tensor,  # [B or 1, K, C]
    noise: Tensor | None = None,
    *,
    latent: Tensor | None = None,
) -> Tensor:
    """[B, P, K] fp32: logarithm of each keypoint's map at any places, also between cells' centres.

    Raises:
        ValueError: points of another shape or not finite, or another read-out than "ckhe".
    """
    if model.read_out != "ckhe":
        raise ValueError(f"read_out={model.read_out!r}: identify reads CKHE's logits; use 'ckhe'")
    latent = model._latent(image, latent)
    fits = points.ndim == 3 and points.shape[0] == len(latent) and points.shape[2] == 2
    if not fits or not points.isfinite().all():
        raise ValueError(
            f"points has shape {tuple(points.shape)}; expected finite [{len(latent)}, P, 2]"
        )
    sizes = model._sizes(latent)
    finest = sizes[model.layer_names[-1]]
    weights = {own: cell_weights(points.float(), finest, own) for own in set(sizes.values())}

    def measure(name: str, key: Tensor, query: Tensor, heads: int, scale: float) -> Tensor:
        return layer_log_density(key, query, weights[sizes[name]], heads=heads, scale=scale)

    layers = torch.stack(list(model._read(latent, condition, noise, measure).values()))
    return layers.logsumexp(0) - math.log(len(layers))


def cell_weights(places: Tensor, finest: tuple[int, int], own: tuple[int, int]) -> Weights:
    """Which cells of a layer's grid a place of the finest grid reads, and with what weight.

    Args:
        places: [B, P, 2] x, y in cells of the finest grid; outside it, the border's value counts.
        finest, own: (h, w) of the finest grid and of the layer's, which divides it.

    Returns:
        indices [B, P, 9] into h*w and log weights [B, P, 9] fp32 (-inf for cells that are not read). The
        weights of a place sum to 1 / s^2.
    """
    columns, across = _axis(places[..., 0], finest[1], own[1])
    rows, down = _axis(places[..., 1], finest[0], own[0])
    index = rows[..., :, None] * own[1] + columns[..., None, :]
    weight = down[..., :, None] + across[..., None, :]
    return index.flatten(-2), weight.flatten(-2)


def _axis(place: Tensor, finest: int, own: int) -> Weights:
    """Along one axis: at most three neighbouring cells [B, P, 3] and the logarithms of their weights."""
    s = finest // own
    identity = torch.eye(own, device=place.device)[None]
    carried = F.interpolate(identity, finest, mode="linear", align_corners=False)[0] / s
    place = place.clamp(0, finest - 1)
    low = place.floor().clamp(max=max(finest - 2, 0)).long()
    part = (place - low)[..., None]
    high = (low + 1).clamp(max=finest - 1)
    weight = (1 - part) * carried.T[low] + part * carried.T[high]  # [B, P, own]
    weight, index = weight.topk(min(3, own), dim=-1)
    return index, weight.log()


def layer_log_density(
    key: Tensor,  # [B or 1, K, N*D]
    query: Tensor,  # [B, T, N*D]
    weights: Weights,
    *,
    heads: int,
    scale: float,
) -> Tensor:
    """One layer's log p(place | keypoint), mean over heads, [B, P, K] fp32."""
    index, log_weight = weights
    with without_autocast(query.device):
        q = query.float().unflatten(-1, (heads, -1)).transpose(1, 2)
        k = key.float().unflatten(-1, (heads, -1)).transpose(1, 2)
        log_map = torch.log_softmax((k @ q.transpose(-1, -2)) * scale, dim=-1)  # [B, N, K, T]
    batch, places, cells = index.shape
    wanted = index.reshape(batch, 1, 1, places * cells).expand(-1, *log_map.shape[1:3], -1)
    read = log_map.gather(-1, wanted).unflatten(-1, (places, cells)) + log_weight[:, None, None]
    return (read.logsumexp((1, 4)) - math.log(heads)).transpose(1, 2)
