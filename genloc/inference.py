"""From a batch of crops to keypoints in image pixels: maps, flip test, decoding.

Used by evaluation in training and by the predictor alike, so both give the same numbers.
Letters: B crops, K keypoints, h, w cells of the maps, S crop pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from genloc.codecs.heatmap import decode, flip_back, to_pixels
from genloc.conditions.text import ask
from genloc.data.batch import sample_generators
from genloc.data.support import Support
from genloc.keypoints import Keypoints
from genloc.models.features import features
from genloc.skeleton import Skeleton

Decoding = Literal["centroid", "argmax", "quarter"]


class Localizer(Protocol):
    """What a model must do to be trained and used here; `GenLoc` and every baseline do.

    A localizer that looks for given conditions is called as `model(image, condition)`, or with the keyword
    `noise` where its `noise` attribute is true; one without conditions as `model(image)`. A model that says
    points instead (`genloc.language.model.KeypointLM`) has `locate(image)`, see `find`.
    """

    def __call__(self, image: Tensor, *args: Tensor, **kwargs: Tensor) -> Tensor:
        """image [B, 3, S, S] in [-1, 1] -> maps [B, K, h, w]."""
        ...


def heatmaps(
    model: Localizer,
    image: Tensor,
    condition: Tensor | None = None,
    *,
    noise: Tensor | None = None,
    flip: Skeleton | None = None,
) -> Tensor:
    """Maps of a batch of crops, averaged with those of the mirrored crops when asked to.

    Args:
        model: the localizer.
        image: [B, 3, S, S] in [-1, 1].
        condition: [B or 1, K, C], or None for a localizer without conditions.
        noise: [B, 4, S/8, S/8] standard normal, for a model that noises its latent; mirrored with the image.
        flip: the K keypoints; given, the flip test is done, but for a skeleton that does not tell left from right
            (`tells_sides`). A mirrored crop says nothing of those that have a side and no partner (`lone_sides`).

    Returns:
        [B, K, h, w] fp32.
    """
    given = () if condition is None else (condition,)

    def maps_of(image: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            return model(image, *given)
        return model(image, *given, noise=noise)

    maps = maps_of(image, noise)
    if flip is None or not flip.tells_sides:
        return maps
    mirrored = maps_of(image.flip(-1), None if noise is None else noise.flip(-1))
    both = (maps + flip_back(mirrored, flip.flip_index)) / 2
    if flip.lone_sides:
        both[:, list(flip.lone_sides)] = maps[:, list(flip.lone_sides)]
    return both


def find(
    model: Any,
    image: Tensor,
    condition: Tensor | None,
    to_image: Tensor,
    boxes: Tensor,
    *,
    skeleton: Skeleton,
    decoding: Decoding = "centroid",
    noise: Tensor | None = None,
    flip_test: bool = False,
    box_scores: Tensor | None = None,
    keep_heatmaps: bool = False,
) -> Keypoints:
    """From crops to keypoints in the image, by maps or, where the model says points itself, by those.

    Args:
        model: a `Localizer`; or one with `locate(image)` -> points [B, K, 2] in crop pixels and scores
            [B, K], which has no maps to keep.
        image, condition, noise: see `heatmaps`.
        to_image, boxes, skeleton, decoding, box_scores, keep_heatmaps: see `localize`.
        flip_test: average with the maps of the mirrored crops.

    Raises:
        ValueError: a flip test of a model without maps; and as `localize`.
    """
    if callable(locate := getattr(model, "locate", None)):
        if flip_test:
            raise ValueError(
                f"flip_test: {type(model).__name__} says points and has no maps to average; set it to false"
            )
        xy, scores = locate(image)
        return in_picture(xy, scores, to_image, boxes, skeleton=skeleton, box_scores=box_scores)
    return localize(
        heatmaps(model, image, condition, noise=noise, flip=skeleton if flip_test else None),
        to_image,
        boxes,
        crop_size=image.shape[-1],
        skeleton=skeleton,
        decoding=decoding,
        score=getattr(model, "score", "mass"),
        box_scores=box_scores,
        keep_heatmaps=keep_heatmaps,
    )


def latent_noise(
    model: object,
    crop_size: int,
    ids: Sequence[int],
    *,
    seed: int = 0,
    epoch: int | Sequence[int] = 0,
) -> Tensor | None:
    """Noise for a batch of latents, drawn from (seed, epoch, id) alone; None for a model without noise.

    Args:
        model: a `GenLoc`, or anything whose `noise` is not true.
        crop_size: side of the crops in pixels.
        ids: one for each crop: annotation ids, or any numbers that stay the same.
        seed: of the draws.
        epoch: 0 in evaluation; or one for each crop.

    Returns:
        float32 [B, 4, S/8, S/8] standard normal on the CPU, or None.
    """
    if not getattr(model, "noise", False):
        return None
    prior: Any = model.prior  # type: ignore[attr-defined]
    side = crop_size // prior.stride
    shape = (prior.vae.config.latent_channels, side, side)
    generators = sample_generators(seed, epoch, ids, purpose=1)
    draws = [generator.standard_normal(shape, np.float32) for generator in generators]
    return torch.from_numpy(np.stack(draws))


def condition_of(model: Any, condition: Any, batch: Mapping[str, Tensor]) -> Tensor | None:
    """What is looked for in a batch of crops: [B or 1, K, C], or None for a localizer without conditions.

    Args:
        model: the localizer.
        condition: None, one that is the same for all crops, or one that reads supports.
        batch: for the latter `support_image` [B, S, 3, P, P], `support_points` [B, S, K, 2] in crop
            pixels and `support_visible` bool [B, S, K].
    """
    if condition is None:
        return None
    if not getattr(condition, "reads_support", False):
        return condition()
    image = batch["support_image"]
    parts = picture_parts(batch["support_points"], image.shape[-1])
    return condition(features(model, image.flatten(0, 1)), parts, batch["support_visible"])


@torch.no_grad()
def look_like(
    model: Any, condition: Any, supports: Sequence[Support], *, crop_size: int, padding: float
) -> Tensor:
    """What labelled pictures show, as the condition [1, K, C] to look for in others.

    Args:
        model: a `GenLoc` with `context="null"`.
        condition: a trained `VisualCondition`, on the model's device.
        supports: shots of the same keypoints, of `genloc.data.support.read_supports`.
        crop_size, padding: as in training.

    Raises:
        ValueError: a condition that reads no supports, or a point outside every shot's crop.
    """
    if not getattr(condition, "reads_support", False):
        raise ValueError(
            f"this model asks by a {type(condition).__name__}, not by examples; use an adapter trained "
            "with genloc.conditions.visual.VisualCondition (configs/visual.yaml)"
        )
    shown = [support.crop(crop_size, padding) for support in supports]
    image, points, visible = (np.stack([one[i] for one in shown]) for i in range(3))
    lost = np.flatnonzero(~visible.any(0))
    if len(lost):
        names = [supports[0].skeleton.keypoints[k] for k in lost]
        raise ValueError(f"points: {names} lie outside the box in every support; widen the box")
    device = next(condition.parameters()).device
    batch = {"support_image": image, "support_points": points, "support_visible": visible}
    found = condition_of(
        model, condition, {k: torch.from_numpy(v)[None].to(device) for k, v in batch.items()}
    )
    assert found is not None
    return found


def asked_for(
    model: Any,
    condition: Any,
    skeleton: Skeleton,
    like: Sequence[Support] = (),
    phrases: Sequence[str] = (),
    *,
    crop_size: int,
    padding: float,
) -> tuple[Tensor, Skeleton]:
    """What an adapter looks for, [1, K, C], and what the K are: its own, what examples show or phrases say.

    Args:
        model, condition, skeleton: of the adapter.
        like, crop_size, padding: see `look_like`.
        phrases: see `genloc.conditions.text.ask`.

    Raises:
        ValueError: the condition needs examples and there are none, the other way round, or both at once.
        FileNotFoundError: no tokenizer for the phrases.
    """
    if phrases and like:
        raise ValueError("phrases and like: ask by words or by labelled pictures, not by both")
    if phrases or isinstance(phrases, str):  # a bare text is refused, the empty one as well
        words, skeleton = ask(condition, phrases)
        return words(), skeleton
    if like:
        found = look_like(model, condition, like, crop_size=crop_size, padding=padding)
        return found, like[0].skeleton
    if getattr(condition, "reads_support", False):
        raise ValueError(
            "this adapter is asked by examples: give labelled pictures (--like PICTURE --points JSON)"
        )
    return condition(), skeleton


def picture_parts(points: Tensor, size: int) -> Tensor:
    """Crop pixels [..., 2] as parts of the crop's side: 0 is its left or upper edge, 1 the other one."""
    return (points + 0.5) / size


def localize(
    maps: Tensor,
    to_image: Tensor,
    boxes: Tensor,
    *,
    crop_size: int,
    skeleton: Skeleton,
    decoding: Decoding = "centroid",
    score: Literal["mass", "peak"] = "mass",
    box_scores: Tensor | None = None,
    keep_heatmaps: bool = False,
) -> Keypoints:
    """Decode maps and carry the points into the image.

    Args:
        maps: [B, K, h, w].
        to_image: [B, 2, 3] affine from crop pixels to image pixels.
        boxes: [B, 4] x, y, width, height in image pixels: where each crop was taken.
        crop_size: S, the side of the crops in pixels.
        skeleton: what the K maps are.
        decoding: how a map becomes a point; see `genloc.codecs.heatmap.decode`.
        score: what a keypoint's score is; the model's own `score` where it has one.
        box_scores: [B]; ones when left out, as for ground-truth boxes.
        keep_heatmaps: keep the maps in the result, for pictures.

    Raises:
        ValueError: the number of maps is not the skeleton's number of keypoints.
    """
    if maps.shape[1] != skeleton.num_keypoints:
        raise ValueError(
            f"maps: the model gives {maps.shape[1]} maps but the skeleton {skeleton.name!r} has "
            f"{skeleton.num_keypoints} keypoints"
        )
    cells, scores = decode(maps, method=decoding, score=score)
    crop_xy = to_pixels(cells, crop_size / maps.shape[-1])
    return in_picture(
        crop_xy, scores, to_image, boxes, skeleton=skeleton, box_scores=box_scores,
        maps=maps if keep_heatmaps else None,
    )  # fmt: skip


def in_picture(
    crop_xy: Tensor,
    scores: Tensor,
    to_image: Tensor,
    boxes: Tensor,
    *,
    skeleton: Skeleton,
    box_scores: Tensor | None = None,
    maps: Tensor | None = None,
) -> Keypoints:
    """Carry points of crops into the image.

    Args:
        crop_xy: [B, K, 2] in crop pixels. scores: [B, K].
        to_image, boxes, skeleton, box_scores: see `localize`. maps: [B, K, h, w], to be kept.
    """
    # On the CPU: Apple's GPUs have no float64.
    crop_xy = crop_xy.detach().cpu().double()
    affine = to_image.cpu().double()
    image_xy = crop_xy @ affine[:, :, :2].mT + affine[:, None, :, 2]
    count = len(crop_xy)
    return Keypoints(
        xy=_numpy(image_xy),
        scores=_numpy(scores),
        boxes=_numpy(boxes),
        box_scores=np.ones(count, np.float32) if box_scores is None else _numpy(box_scores),
        skeleton=skeleton,
        heatmaps=None if maps is None else _numpy(maps),
        crops=affine.numpy(),
    )


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()
