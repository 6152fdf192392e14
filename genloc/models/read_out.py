"""From one attention layer's queries and keys to where each keypoint is.

Letters: B crops, K keypoints, N heads, T image tokens, D channels per head.

CKHE ("ckhe", Eq. 7) asks "where is keypoint i": softmax over the image tokens. Ordinary
cross-attention ("cross", Eq. 6) asks "which keypoint is here": softmax over the conditions; read as
a map it does not sum to 1 over the tokens, hence its two variants "cross-renormalised" (divided by
that sum) and "cross-background" (one more condition that takes the tokens of no keypoint).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.models.attention import Measure
from genloc.ops import correlation_map, heatmap_log_expectation
from genloc.ops.precision import without_autocast

ReadOutName = Literal["ckhe", "cross", "cross-renormalised", "cross-background"]
READ_OUTS = ("ckhe", "cross", "cross-renormalised", "cross-background")
SUMS_TO_ONE = ("ckhe", "cross-renormalised")


def read_map(
    read_out: ReadOutName,
    key: Tensor,  # [B or 1, K, N*D], with one more row for the background where it is used
    query: Tensor,  # [B, T, N*D]
    *,
    heads: int,
    scale: float,
) -> Tensor:
    """[B, K, T] fp32: the layer's map of each keypoint, mean over its heads."""
    if read_out == "ckhe":
        return correlation_map(key, query, heads=heads, scale=scale)
    return _log_cross(read_out, key, query, heads, scale).exp()


def read_log_expectation(
    read_out: ReadOutName,
    key: Tensor,
    query: Tensor,
    log_target: Tensor,  # [B, K, T]
    *,
    heads: int,
    scale: float,
) -> Tensor:
    """[B, K] fp32: log of the sum over tokens of map times target; no map in memory for CKHE."""
    if read_out == "ckhe":
        return heatmap_log_expectation(key, query, log_target, heads=heads, scale=scale)
    return torch.logsumexp(_log_cross(read_out, key, query, heads, scale) + log_target, dim=-1)


def merge_layers(maps: Sequence[Tensor], *, sums_to_one: bool) -> Tensor:
    """The mean of the layers' maps [B, K, h_layer, w_layer] on the grid of the last and finest, [B, K, h, w].

    Each is upsampled bilinearly, `sums_to_one` divided by s^2 as well: for whole s its sum stays exactly 1.
    """
    h, w = maps[-1].shape[-2:]
    merged = []
    for layer_map in maps:
        s = h // layer_map.shape[-2]
        if s > 1:
            layer_map = F.interpolate(layer_map, (h, w), mode="bilinear", align_corners=False)
            if sums_to_one:
                layer_map = layer_map / s**2
        merged.append(layer_map)
    return torch.stack(merged).mean(0) if len(merged) > 1 else merged[0]


def on_finer_grids(measure: Measure, sizes: Mapping[str, tuple[int, int]], times: int) -> Measure:
    """`measure`, with each layer's queries interpolated to a grid so many `times` as fine.

    Bicubically, so that between two cells whose logits are equal the logit is higher than in either
    (linear interpolation has its maxima at the cells). The logits are linear in the queries, so it is
    they that are interpolated. https://arxiv.org/abs/2312.00065 does so before `to_q`.

    Args:
        sizes: (h, w) of the finer grid, by layer name.
    """

    def finer(name: str, key: Tensor, query: Tensor, heads: int, scale: float) -> Tensor:
        return measure(name, key, finer_queries(query, sizes[name], times), heads, scale)

    return finer


def finer_queries(query: Tensor, size: tuple[int, int], times: int) -> Tensor:
    """Queries [B, T, N*D] of a grid, interpolated bicubically to one `times` as fine, `size` = (h, w)."""
    h, w = size
    with without_autocast(query.device):
        grid = query.float().unflatten(1, (h // times, w // times))  # [B, h, w, N*D]
        grid = torch.einsum("yi,bijc->byjc", _bicubic(h // times, h, query.device), grid)
        grid = torch.einsum("xj,byjc->byxc", _bicubic(w // times, w, query.device), grid)
    return grid.flatten(1, 2).to(query.dtype)


def _bicubic(cells: int, finer: int, device: torch.device) -> Tensor:
    """[finer, cells]: what each finer cell takes of each cell, along one side.

    Two products with it cost a quarter of torch's bicubic interpolation and its gradient on a CPU.
    """
    one = torch.eye(cells, device=device)[None, None]
    return F.interpolate(one, (finer, cells), mode="bicubic", align_corners=False)[0, 0]


def _log_cross(
    read_out: ReadOutName, key: Tensor, query: Tensor, heads: int, scale: float
) -> Tensor:
    """Logarithm of the ordinary cross-attention map, [B, K, T]."""
    with without_autocast(query.device):
        q = query.float().unflatten(-1, (heads, -1)).transpose(1, 2)
        k = key.float().unflatten(-1, (heads, -1)).transpose(1, 2)
        logits = (k @ q.transpose(-1, -2)) * scale  # [B, N, K, T]
    log_map = torch.log_softmax(logits, dim=2)
    if read_out == "cross-background":
        log_map = log_map[:, :, :-1]
    log_map = torch.logsumexp(log_map, dim=1) - math.log(heads)
    if read_out == "cross-renormalised":
        log_map = torch.log_softmax(log_map, dim=-1)
    return log_map
