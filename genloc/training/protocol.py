"""CapeFormer's evaluation of asking by an example: many pairs, each picture encoded once.

With `context="null"` what the U-Net sees of a picture does not depend on what is asked, so a support
is pooled once, however many pairs it is in, and a query answers all its pairs in one pass.

Letters: N instances, P pairs, K keypoint slots, F channels of what is kept of a support.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from genloc.codecs.heatmap import decode, to_pixels
from genloc.conditions.visual import VisualCondition, gaussian_pool, shots_mean
from genloc.data.categories import CategorySets
from genloc.inference import Decoding, picture_parts
from genloc.metrics.episodes import THRESHOLDS, pair_pck
from genloc.metrics.mean_pose import mean_pose
from genloc.models.features import features, key_maps, support_keys
from genloc.models.genloc import GenLoc

Pairs = Sequence[tuple[tuple[int, ...], int]]  # supports and query, as indices of instances
Seen = dict[str, Tensor]  # `image` or `latent`, each [n, ...]


class Asker(Protocol):
    """How a labelled support becomes maps of a query."""

    def keep(self, seen: Seen, parts: Tensor) -> Tensor:
        """Supports and points [n, K, 2] (parts of the sides) -> what is kept of them, [n, K, F]."""
        ...

    def maps(self, seen: Seen, kept: Tensor) -> Tensor:
        """One query and P questions [P, K, F] -> [P, K, h, w]."""
        ...


@dataclass
class ByCondition:
    """A trained `VisualCondition`."""

    model: GenLoc
    condition: VisualCondition

    def keep(self, seen: Seen, parts: Tensor) -> Tensor:
        """See `Asker`."""
        return self.condition.pool(features(self.model, **_given(seen)), parts)

    def maps(self, seen: Seen, kept: Tensor) -> Tensor:
        """See `Asker`."""
        asked = self.condition.from_pooled(kept).flatten(0, 1)[None]
        given = _given(seen)
        found = self.model(given["image"], asked, latent=given["latent"])
        return found[0].unflatten(0, kept.shape[:2])


@dataclass
class ByCorrelation:
    """Without training: the support's own queries as keys.

    Args:
        model: with its prior as it is (no LoRA trained).
        sigma: of the pooling, in cells.
        temperature: see `key_maps`.
    """

    model: GenLoc
    sigma: float = 1.0
    temperature: float | None = None

    def keep(self, seen: Seen, parts: Tensor) -> Tensor:
        """See `Asker`."""
        pool = partial(gaussian_pool, sigma=self.sigma)
        keys = support_keys(
            self.model, _given(seen)["image"], parts, pool, latent=_given(seen)["latent"]
        )
        self._widths = [keys[name].shape[-1] for name in self.model.layer_names]
        return torch.cat([keys[name] for name in self.model.layer_names], dim=-1)

    def maps(self, seen: Seen, kept: Tensor) -> Tensor:
        """See `Asker`."""
        parts = kept.flatten(0, 1)[None].split(self._widths, dim=-1)
        keys = dict(zip(self.model.layer_names, parts, strict=True))
        given = _given(seen)
        found = key_maps(
            self.model, given["image"], keys, latent=given["latent"], temperature=self.temperature
        )
        return found[0].unflatten(0, kept.shape[:2])


@torch.no_grad()
def questions(
    asker: Asker,
    batches: Callable[[], Iterable[dict[str, Tensor]]],
    pairs: Pairs,
    *,
    crop_size: int,
    at_once: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[list[int], dict[str, Tensor], Tensor]]:
    """Each query with what is kept of the supports of its pairs.

    Args:
        asker: how supports are kept.
        batches: called twice; the plain crops of all N instances in their order, as
            `KeypointBatch` (with `latent` instead of `image`, if at hand), on the model's device.
        pairs: P of them.
        crop_size: side of the crops in pixels.
        at_once: most pairs of one query that come together.
        progress: called with (pictures done, pictures in all).

    Yields:
        Rows of n of the pairs; their one query, a batch of 1; the mean over each one's shots of what is
        kept, [n, K, F].
    """
    kept_parts: list[Tensor] = []
    visible_parts: list[Tensor] = []
    done, total = 0, 0
    for batch in batches():
        parts = picture_parts(batch["points"], crop_size)
        kept_parts.append(asker.keep(batch, parts).cpu())
        visible_parts.append(batch["visible"].cpu())
        done += len(parts)
        if progress:
            progress(done, 2 * max(done, total))
    kept, visible = torch.cat(kept_parts), torch.cat(visible_parts)
    total = 2 * len(kept)

    of_query: defaultdict[int, list[int]] = defaultdict(list)
    for p, (_, query) in enumerate(pairs):
        of_query[query].append(p)
    index = 0
    for batch in batches():
        for row in range(len(batch["points"])):
            mine = of_query.get(index, [])
            one = {name: value[row : row + 1] for name, value in batch.items()}
            for start in range(0, len(mine), at_once):
                rows = mine[start : start + at_once]
                shown = torch.tensor([pairs[p][0] for p in rows])
                yield rows, one, shots_mean(kept[shown], visible[shown]).to(one["points"].device)
            index += 1
            if progress:
                progress(done + index, total)


@torch.no_grad()
def answer(
    asker: Asker,
    batches: Callable[[], Iterable[dict[str, Tensor]]],
    pairs: Pairs,
    *,
    crop_size: int,
    decoding: Decoding = "centroid",
    at_once: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Where each pair's query has the keypoints of its supports.

    Args:
        asker: how.
        decoding: how a map becomes a point.
        batches, pairs, crop_size, at_once, progress: see `questions`.

    Returns:
        float64 [P, K, 2] in image pixels of the query. What no support labels is found anywhere.
    """
    found: np.ndarray | None = None
    asked = questions(
        asker, batches, pairs, crop_size=crop_size, at_once=at_once, progress=progress
    )
    for rows, one, kept in asked:
        maps = asker.maps(one, kept)
        cells, _ = decode(maps, method=decoding)
        affine = one["to_image"][0].cpu().double()
        xy = to_pixels(cells, crop_size / maps.shape[-1]).cpu().double()
        if found is None:
            found = np.full((len(pairs), *xy.shape[1:]), np.nan)
        found[rows] = (xy @ affine[:, :2].mT + affine[:, 2]).numpy()
    return np.empty((0, 0, 2)) if found is None else found


def score(source: CategorySets, pairs: Pairs, found: np.ndarray) -> np.ndarray:
    """PCK of each pair at `genloc.metrics.episodes.THRESHOLDS`, float64 [P, 5].

    Args:
        source: the labels. found: [P, K, 2] in image pixels.
    """
    labels = np.stack([instance.keypoints for instance in source.instances])
    side = np.array([max(instance.box[2:]) for instance in source.instances])
    query = np.array([q for _, q in pairs])
    shown = np.array([s for s, _ in pairs])
    counted = (labels[query, :, 2] > 0) & (labels[shown, :, 2] > 0).all(axis=1)
    return pair_pck(
        np.nan_to_num(found, nan=1e9), labels[query, :, :2], counted, side[query], THRESHOLDS
    )


def place_of_supports(source: CategorySets, pairs: Pairs) -> np.ndarray:
    """The answer of somebody who never looks at the query: the supports' mean place in their boxes,
    carried into the query's box, [P, K, 2]."""
    labels = np.stack([instance.keypoints for instance in source.instances]).astype(np.float64)
    boxes = np.array([instance.box for instance in source.instances])
    inside = (labels[..., :2] - boxes[:, None, :2]) / boxes[:, None, 2:]
    shown = np.array([s for s, _ in pairs])
    query = np.array([q for _, q in pairs])
    weight = (labels[..., 2:] > 0).astype(float)[shown]
    mean = (inside[shown] * weight).sum(1) / np.maximum(weight.sum(1), 1)
    return boxes[query, None, :2] + mean * boxes[query, None, 2:]


def place_of_category(source: CategorySets, pairs: Pairs) -> np.ndarray:
    """The same with the mean place over *all* labelled pictures of the category, the query among
    them: more than any k shots can know, [P, K, 2]."""
    poses = {
        category: mean_pose([source.instances[i] for i in rows])
        for category, rows in source.by_category.items()
    }
    placed = []
    for _, query in pairs:
        instance = source.instances[query]
        box = np.array(instance.box)
        placed.append(box[:2] + poses[instance.category_id] * box[2:])
    return np.array(placed)


def _given(seen: Seen) -> dict[str, Any]:
    latent = seen.get("latent")
    return {"image": None if latent is not None else seen["image"], "latent": latent}
