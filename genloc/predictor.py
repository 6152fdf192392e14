"""`KeypointPredictor`: keypoints in one's own pictures.

Letters: N boxes, K keypoints, C condition channels, S crop pixels, H, W picture pixels. Pixels:
(0, 0) is the centre of the top-left pixel. Boxes: x, y, width, height in picture pixels.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from genloc.adapter import FACTS_FILE, load_adapter
from genloc.codecs.heatmap import to_cells
from genloc.data.crops import Boxes, Crops, cut_crops, for_each
from genloc.data.picture import as_picture
from genloc.data.support import Support
from genloc.hub import fetch_adapter
from genloc.inference import Decoding, Localizer, asked_for, find, latent_noise
from genloc.keypoints import Keypoints
from genloc.models.device import usable_device
from genloc.models.prior import Prior
from genloc.recipe import read_recipe
from genloc.skeleton import Skeleton


class KeypointPredictor:
    """A trained localizer for one's own pictures. Keeps nothing from call to call.

    Args:
        model: the localizer.
        condition: what to look for, float [1, K, C], whatever made it; None for a localizer without
            conditions.
        skeleton: the K keypoints.
        crop_size: S, as in training.
        padding: side of a crop over the longer side of its box, as in training.
        decoding: how a map becomes a point; see `genloc.codecs.heatmap.decode`.
        flip_test: average with the maps of the mirrored crop: twice the work, a little better. Off, with
            a warning, where nothing tells left from right (`Skeleton.tells_sides`).
        batch_size: crops that go through the model at once.
        device: "auto" is a CUDA device where there is one, else the CPU.
        seed: of the noise, for a model that wants noise.

    Raises:
        ValueError: condition is not [1, K, C], batch_size or crop_size is not above 0, or a device that
            cannot be used here.
    """

    def __init__(
        self,
        model: Localizer,
        condition: Tensor | None,
        skeleton: Skeleton,
        *,
        crop_size: int = 512,
        padding: float = 1.25,
        decoding: Decoding = "centroid",
        flip_test: bool = False,
        batch_size: int = 8,
        device: str | torch.device = "auto",
        seed: int = 0,
    ) -> None:
        if condition is not None and (
            condition.ndim != 3 or condition.shape[:2] != (1, skeleton.num_keypoints)
        ):
            raise ValueError(
                f"condition has shape {list(condition.shape)}, expected [1, K, C] for the "
                f"{skeleton.num_keypoints} keypoints of {skeleton.name!r}"
            )
        for name, value in (("batch_size", batch_size), ("crop_size", crop_size)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        self.device = usable_device(device)
        self.model = model
        if isinstance(model, torch.nn.Module):
            self.model = model.to(self.device).eval()
        self.condition = None if condition is None else condition.detach().to(self.device)
        self.skeleton = skeleton
        self.crop_size = crop_size
        self.padding = padding
        self.decoding: Decoding = decoding
        self.flip_test = flip_test and skeleton.tells_sides
        if flip_test and not self.flip_test:
            off = f"flip_test: off, as no flip pairs of {skeleton.name!r} are known"
            warnings.warn(off, stacklevel=2)
        self.batch_size = batch_size
        self.seed = seed

    @classmethod
    def from_pretrained(
        cls,
        folder_or_hub_id: str | Path,
        *,
        prior: Prior | str | None = None,
        phrases: Sequence[str] = (),
        like: Sequence[Support] = (),
        flip_test: bool | None = None,
        batch_size: int = 8,
        device: str | torch.device = "auto",
    ) -> Self:
        """Read an adapter and the prior it belongs to.

        Args:
            folder_or_hub_id: the folder that training wrote (`runs/<name>/adapter`), or "owner/name".
            prior: where its prior's weights are, if not where the adapter says.
            phrases: what to look for instead of the adapter's keypoints, in words ("the left front paw");
                the adapter must have been trained with words.
            like: labelled pictures that show what to look for (`genloc.data.support.read_supports`), for an
                adapter trained to be asked by examples, and for no other.
            flip_test: None: as the adapter was evaluated.
            batch_size, device: see the class.

        Raises:
            FileNotFoundError: no such adapter, no weights of its prior, or no tokenizer for the phrases.
            AdapterError: it is damaged, or belongs to another prior.
            ValueError: phrases or pictures that its conditions cannot be asked for, or both at once.
        """
        folder = fetch_adapter(folder_or_hub_id)
        adapter = load_adapter(folder, prior)
        recipe = read_recipe(adapter.recipe, folder / FACTS_FILE, adapter.model)
        own = adapter.model, adapter.condition, adapter.skeleton
        crop: dict[str, Any] = {"crop_size": recipe.crop_size, "padding": recipe.padding}
        condition, skeleton = asked_for(*own, like, phrases, **crop)
        if flip_test is None:
            flip_test = recipe.flip_test and skeleton.tells_sides
        return cls(
            adapter.model,
            condition,
            skeleton,
            **crop,
            decoding=recipe.decoding,
            flip_test=flip_test,
            batch_size=batch_size,
            device=device,
            seed=recipe.seed,
        )

    @property
    def fingerprint(self) -> str:
        """A short hash of everything that a result depends on besides the picture and its boxes: what learned,
        the prior, the skeleton and how crops and maps are made; not of batch size and device."""
        digest = hashlib.sha256()
        facts = (self.crop_size, self.padding, self.decoding, self.seed, self.skeleton)
        digest.update(repr(facts).encode())
        if isinstance(prior := getattr(self.model, "prior", None), Prior):
            digest.update(prior.digest().encode())
        learned = [] if self.condition is None else [self.condition]
        if isinstance(self.model, torch.nn.Module):
            named = self.model.named_parameters()
            learned += [p for name, p in named if p.requires_grad or ".lora_" in name]
        for tensor in learned:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def looking_for(self, condition: Tensor, skeleton: Skeleton) -> KeypointPredictor:
        """The same model looking for something else: conditions made of words or of examples, say.

        Args:
            condition: [1, K, C]. skeleton: what the K are.
        """
        names = ("crop_size", "padding", "decoding", "flip_test", "batch_size", "device", "seed")
        own = {name: getattr(self, name) for name in names}
        own["flip_test"] = self.flip_test and skeleton.tells_sides
        return KeypointPredictor(self.model, condition, skeleton, **own)

    def identify(
        self, image: Any, points: Any, box: Boxes | None = None, *, name: str = "image"
    ) -> list[dict[str, float]]:
        """Which of the keypoints looked for is at a place: "what is here?" instead of "where is it?".

        Args:
            image: one picture; see `genloc.data.picture.as_picture`.
            points: [P, 2] or [2], x, y in pixels of the picture.
            box: [4], where to look; None for the whole picture. name: what errors call the picture.

        Returns:
            for each point the names with their probabilities, which sum to 1, the likeliest first.

        Raises:
            ValueError: points of another shape or outside of the box and its margin, several boxes, a model that
                names no places. And as a call does.
        """
        inside = (crops := self.crops(image, box, name=name)).inside(points, name).float()
        model: Any = self.model
        if not callable(getattr(model, "identify", None)):
            raise ValueError(f"{type(model).__name__} cannot say what is at a place; GenLoc can")
        cells = to_cells(inside, self.crop_size / model.map_size(crops.image)[1]).to(self.device)
        given = crops.image.to(self.device), cells[None], self.condition, self._noise(crops)
        with torch.inference_mode():
            chances = model.identify(*given)[0]
        rows = [zip(self.skeleton.keypoints, row, strict=True) for row in chances.tolist()]
        return [dict(sorted(row, key=lambda named: -named[1])) for row in rows]

    def __call__(
        self,
        images: Any,
        boxes: Any = None,
        *,
        box_scores: Any = None,
        keep_heatmaps: bool = False,
    ) -> Keypoints:
        """Find the keypoints in one picture or in many.

        Args:
            images: one picture, or a list of them: see `genloc.data.picture.as_picture` for what a picture
                may be. Arrays [n, H, W, 3] and tensors [n, 3, H, W] are n pictures.
            boxes: where to look. For one picture [N, 4] or [4]; for many a list with one of these, or None,
                for each. None: the whole picture.
            box_scores: as boxes, [N] for each picture; 1 where left out.
            keep_heatmaps: keep the maps [N, K, h, w] in the result.

        Returns:
            All instances, pictures in order and boxes in order. `image_index` says which picture each is in,
            `of_image(i)` takes those of one.

        Raises:
            TypeError, ValueError: something that is no picture, or no box in it.
            FileNotFoundError, OSError: a picture file that is absent or damaged.
        """
        one = not (isinstance(images, list | tuple) or getattr(images, "ndim", 0) == 4)
        pictures = [images] if one else list(images)
        given = [
            for_each(name, [values] if one else values, len(pictures))
            for name, values in (("boxes", boxes), ("box_scores", box_scores))
        ]
        names = ["image"] if one else [f"images[{i}]" for i in range(len(pictures))]
        cut = (
            self.crops(picture, where, scores, name=name)
            for picture, where, scores, name in zip(pictures, *given, names, strict=True)
        )
        parts = []
        for i, found in enumerate(self.locate(cut, keep_heatmaps=keep_heatmaps)):
            found.image_index = np.full(len(found), i)
            parts.append(found)
        # One without boxes knows no size of maps and would take them from the others.
        return Keypoints.concatenate(
            [p for p in parts if len(p)] or [Keypoints.none(self.skeleton)]
        )

    def crops(
        self,
        image: Any,
        boxes: Boxes | None = None,
        box_scores: Sequence[float] | np.ndarray | None = None,
        *,
        ids: Sequence[int] | None = None,
        name: str = "image",
    ) -> Crops:
        """The first half of a call: cut the crops of one picture.

        Args:
            image: see `genloc.data.picture.as_picture`.
            boxes: [N, 4] or [4]; None for the whole picture.
            box_scores: [N].
            ids: N numbers that noise is drawn by, such as annotation ids.
            name: what errors call the picture.

        Raises:
            As a call does.
        """
        return cut_crops(
            as_picture(image, name),
            boxes,
            box_scores,
            size=self.crop_size,
            padding=self.padding,
            ids=ids,
            name=name,
        )

    def locate(
        self, pictures: Iterable[Crops], *, keep_heatmaps: bool = False
    ) -> Iterator[Keypoints]:
        """The second half: the keypoints of each picture's crops, in order, as soon as they are known.

        Batches are filled across pictures, and no more than that is held.
        """
        counts: deque[int] = deque()  # crops of the pictures still to come out
        fresh: list[Crops] = []
        found = Keypoints.none(self.skeleton)

        def run(crops: Crops) -> None:
            nonlocal found
            more = self._run(crops, keep_heatmaps)
            found = Keypoints.concatenate([found, more]) if len(found) else more

        for crops in pictures:
            counts.append(len(crops))
            fresh.append(crops)
            # A long row of pictures without boxes must not wait for a batch to fill.
            while (n := sum(map(len, fresh))) >= self.batch_size or (
                n and len(counts) > 4 * self.batch_size
            ):
                joined = Crops.join(fresh)
                run(joined[: self.batch_size])
                fresh = [joined[self.batch_size :]]
            while counts and counts[0] <= len(found):
                n = counts.popleft()
                yield found[:n]
                found = found[n:]
        if sum(map(len, fresh)):
            run(Crops.join(fresh))
        for n in counts:
            yield found[:n]
            found = found[n:]

    @torch.inference_mode()
    def _run(self, crops: Crops, keep_heatmaps: bool) -> Keypoints:
        return find(
            self.model, crops.image.to(self.device), self.condition, crops.to_image, crops.boxes,
            skeleton=self.skeleton, decoding=self.decoding, noise=self._noise(crops),
            flip_test=self.flip_test, box_scores=crops.box_scores, keep_heatmaps=keep_heatmaps,
        )  # fmt: skip

    def _noise(self, crops: Crops) -> Tensor | None:
        noise = latent_noise(self.model, self.crop_size, crops.ids, seed=self.seed)
        return None if noise is None else noise.to(self.device)
