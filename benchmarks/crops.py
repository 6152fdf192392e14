"""Crops of a set drawn once and kept on disk, for benchmarks that train many small models on the same crops.

Letters: N instances, V views (augmentations) of each, K keypoints, S crop pixels.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from genloc.data.batch import KeypointDataset
from genloc.data.coco import CocoKeypoints
from genloc.data.transforms import Augmentation
from genloc.models import Prior
from genloc.skeleton import load_skeleton

LABELS = ("points", "visible", "annotation_id", "image_id", "category_id", "to_image", "box")

# As configs/zoo.yaml: the zoo's animals stand upright and fill their boxes.
ZOO_PADDING = 1.0
ZOO_AUGMENTATION = Augmentation(rotation=15, scale=0.2, half_body=0)


class Crops:
    """V crops of each instance of a set, drawn by `KeypointDataset` in its epochs 0 to V - 1.

    Args:
        source: the set.
        folder: where crops are kept; a second call with the same set and arguments reads them there.
        size: S. padding: of the box.
        views: V; 1 without augmentation is what is evaluated.
        augmentation: None for the plain crop.
        seed: of the augmentation.

    Attributes:
        image: uint8 [N, V, S, S, 3], mapped from disk.
        labels: the labels of `KeypointBatch`, each [N, V, ...].
        latent: float32 [N, V, 4, S/8, S/8] after `encode`.
    """

    def __init__(
        self,
        source: CocoKeypoints,
        folder: Path,
        *,
        size: int,
        padding: float = ZOO_PADDING,
        views: int = 1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.size, self.padding = size, padding
        self.latent: Tensor | None = None
        facts = {
            "annotations": source.checksum,
            "instances": [instance.annotation_id for instance in source.instances],
            # Wherever they lie: pictures drawn anew under the same annotations hardly keep their sizes.
            "bytes": [instance.file.stat().st_size for instance in source.instances],
            "size": size,
            "padding": padding,
            "views": views,
            "augmentation": None if augmentation is None else asdict(augmentation),
            "seed": seed,
        }
        self.key = short_hash(facts)
        self.folder = folder / f"{source.annotations.stem}-{self.key}"
        with self.alone():
            if not (self.folder / "labels.pt").is_file():
                crops = KeypointDataset(
                    source, crop_size=size, padding=padding, augmentation=augmentation, seed=seed
                )
                self._draw(crops, views)
        self.image = np.load(self.folder / "image.npy", mmap_mode="r")
        self.labels: dict[str, Tensor] = torch.load(self.folder / "labels.pt", weights_only=True)

    def __len__(self) -> int:
        return len(self.source.instances)

    @property
    def views(self) -> int:
        return self.image.shape[1]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Calls side by side want the same crops: one makes them, the others wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _draw(self, crops: KeypointDataset, views: int) -> None:
        shape = (len(crops), views, self.size, self.size, 3)
        part = self.folder / "image.part"
        image = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        labels: dict[str, list[Tensor]] = {name: [] for name in LABELS}
        for view in track(range(views), description=f"crops of {len(crops)} instances"):
            crops.set_epoch(view)
            samples: list[Any] = [crops[i] for i in range(len(crops))]
            for i, sample in enumerate(samples):
                pixels = ((sample["image"] + 1) * 127.5).round().to(torch.uint8)
                image[i, view] = pixels.permute(1, 2, 0).numpy()
            for name in LABELS:
                labels[name].append(torch.stack([sample[name] for sample in samples]))
        image.flush()
        part.replace(self.folder / "image.npy")
        part = self.folder / "labels.part"
        torch.save({name: torch.stack(values, 1) for name, values in labels.items()}, part)
        part.replace(self.folder / "labels.pt")

    @torch.no_grad()
    def encode(self, prior: Prior, batch: int = 32) -> None:
        """Fill `latent`; on disk by the encoder's weights, since they depend on nothing else."""
        file = self.folder / f"latent-{weights_hash(prior.load().vae)}.npy"
        with self.alone():
            if not file.is_file():
                self._encode(prior, batch, file)
        self.latent = torch.from_numpy(np.load(file))

    def _encode(self, prior: Prior, batch: int, file: Path) -> None:
        device = prior.alphas_cumprod.device
        flat = self.image.reshape(-1, *self.image.shape[2:])
        parts = [
            prior.encode_image(to_image(flat[i : i + batch]).to(device)).cpu()
            for i in track(range(0, len(flat), batch), description="latents")
        ]
        found = torch.cat(parts).unflatten(0, self.image.shape[:2])
        np.save(file.with_suffix(".part.npy"), found.numpy())
        file.with_suffix(".part.npy").replace(file)

    def batch(self, items: np.ndarray, views: np.ndarray, device: str, *, latent: bool) -> dict:
        """Labels [B, ...] and `image` [B, 3, S, S] or `latent` [B, 4, S/8, S/8] on a device."""
        index = torch.from_numpy(items), torch.from_numpy(views)
        found = {name: values[index] for name, values in self.labels.items()}
        if latent:
            assert self.latent is not None, "call encode() first"
            found["latent"] = self.latent[index]
        else:
            found["image"] = to_image(self.image[items, views])
        return {name: value.to(device) for name, value in found.items()}


def order(count: int, views: int, batch: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches (instances, views): every epoch a permutation, every instance its next view."""
    offset = np.random.default_rng([seed, 1]).integers(views, size=count)
    items, turns = np.empty(0, np.int64), np.empty(0, np.int64)
    epoch = 0
    while True:
        while len(items) < batch:
            drawn = np.random.default_rng([seed, 0, epoch]).permutation(count)
            items = np.concatenate([items, drawn])
            turns = np.concatenate([turns, (offset[drawn] + epoch) % views])
            epoch += 1
        yield items[:batch], turns[:batch]
        items, turns = items[batch:], turns[batch:]


def to_image(pixels: np.ndarray) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S] in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def short_hash(facts: Any) -> str:
    """10 hex digits of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]


def weights_hash(module: torch.nn.Module) -> str:
    """10 hex digits of a module's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:10]


def zoo_set(zoo: Path, split: str, shots: int | None = None) -> CocoKeypoints:
    """A split of a zoo folder (`genloc zoo OUT`).

    Args:
        zoo: the folder.
        split: train, val or test.
        shots: only the first so many pictures of each species by id, all animals in them; None for all.

    Raises:
        FileNotFoundError: no such folder.
    """
    annotations = zoo / "annotations" / f"ap10k-{split}-split1.json"
    if not annotations.is_file():
        raise FileNotFoundError(
            f"no zoo in {zoo}: no {annotations}; draw one with `genloc zoo {zoo}`"
        )
    skeleton = load_skeleton("ap10k")
    source = CocoKeypoints(annotations, zoo / "data", skeleton=skeleton)
    if shots is None:
        return source
    pictures: defaultdict[int, set[int]] = defaultdict(set)
    for instance in source.instances:
        pictures[instance.category_id].add(instance.image_id)
    ids = {i for found in pictures.values() for i in sorted(found)[:shots]}
    return CocoKeypoints(annotations, zoo / "data", skeleton=skeleton, image_ids=ids)
