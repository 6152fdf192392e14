"""`KeypointBatch`: what a model is trained and evaluated on, and the dataset that makes it.

Letters: B crops, K keypoints, S crop pixels. Pixels: (0, 0) is the centre of the top-left pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from genloc.data.coco import CocoKeypoints
from genloc.data.picture import FilePicture
from genloc.data.transforms import Augmentation, square_crop


class KeypointBatch(TypedDict):
    """B crops and their labels. A sample is the same without the B axis."""

    image: Tensor  # float32 [B, 3, S, S], RGB in [-1, 1], 0 is middle grey; outside the image -1
    points: Tensor  # float32 [B, K, 2], crop pixels; (0, 0) where not labelled
    visible: Tensor  # bool [B, K], labelled (v > 0) and inside the crop
    annotation_id: Tensor  # int64 [B]
    image_id: Tensor  # int64 [B]
    category_id: Tensor  # int64 [B]
    to_image: Tensor  # float64 [B, 2, 3], crop pixels to image pixels
    box: Tensor  # float32 [B, 4], x, y, width, height in image pixels


def sample_generator(
    seed: int, epoch: int, annotation_id: int, purpose: int = 0
) -> np.random.Generator:
    """The source of chance of one annotation in one epoch.

    A function of its arguments alone, so that the number of workers, the order of the samples and
    resuming change nothing. `purpose` (0 is augmentation) keeps draws for different ends apart.
    """
    key = [value & 0xFFFFFFFFFFFFFFFF for value in (purpose, seed, epoch, annotation_id)]
    return np.random.default_rng(key)


def sample_generators(
    seed: int, epoch: int | Sequence[int], annotation_ids: Sequence[int], purpose: int = 0
) -> list[np.random.Generator]:
    """`sample_generator` of each annotation, in one epoch or each in its own."""
    epochs = [epoch] * len(annotation_ids) if isinstance(epoch, int) else epoch
    return [
        sample_generator(seed, e, i, purpose) for e, i in zip(epochs, annotation_ids, strict=True)
    ]


class KeypointDataset(Dataset[KeypointBatch]):
    """The instances of a set as crops.

    Args:
        source: the labels.
        crop_size: S.
        padding: of the box; see `square_crop`.
        augmentation: None for the plain crop of each box.
        seed: of the augmentation.

    Raises:
        ValueError: the set has no instances.
    """

    def __init__(
        self,
        source: CocoKeypoints,
        *,
        crop_size: int = 512,
        padding: float = 1.25,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        if not source.instances:
            raise ValueError(f"no instances to make crops of:\n{source.summary()}")
        if source.images is None:
            raise ValueError(f"{source.annotations} was read without its `images` folder")
        self.source = source
        self.crop_size = crop_size
        self.padding = padding
        self.augmentation = augmentation
        self.seed = seed
        # Shared, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch whose draws are made."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Make the draws of another epoch, in every worker."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.source.instances)

    def __getitem__(self, index: int) -> KeypointBatch:
        """One sample of the current epoch, see `sample`."""
        return self.sample(index, self.epoch)

    def sample(self, index: int, epoch: int) -> KeypointBatch:
        """One sample: the tensors of `KeypointBatch` without the B axis, with the draws of an epoch.

        Raises:
            OSError: the picture is absent, truncated or not a picture; names the file.
        """
        if get_worker_info() is not None:
            cv2.setNumThreads(
                0
            )  # the workers are the parallelism; OpenCV's threads hang after fork
        annotation = self.source.instances[index].annotation_id
        return self.crop(index, sample_generator(self.seed, epoch, annotation))

    def crop(self, index: int, rng: np.random.Generator) -> KeypointBatch:
        """One instance as `__getitem__` gives it, augmented by the draws of `rng`."""
        instance = self.source.instances[index]
        skeleton = self.source.skeleton
        colour = None
        if self.augmentation is None:
            crop = square_crop(instance.box, self.crop_size, padding=self.padding)
        else:
            crop, colour = self.augmentation.draw(
                instance, skeleton, self.crop_size, self.padding, rng
            )
        pixels = FilePicture(instance.file, instance.image_size).crop(crop)
        if colour is not None:
            pixels = colour(pixels)

        labels = instance.keypoints
        if crop.flipped:
            labels = labels[list(skeleton.flip_index)]
            labels[list(skeleton.lone_sides), 2] = 0
        points = crop.points(labels[:, :2])
        inside = ((points >= -0.5) & (points <= self.crop_size - 0.5)).all(axis=1)
        # A mirrored picture would show a keypoint that is held out, by the labels of its partner.
        labelled = (labels[:, 2] > 0) & self.source.counted
        return KeypointBatch(
            image=torch.from_numpy(normalised(pixels)),
            points=torch.from_numpy(np.where(labelled[:, None], points, 0).astype(np.float32)),
            visible=torch.from_numpy(inside & labelled),
            annotation_id=torch.tensor(instance.annotation_id),
            image_id=torch.tensor(instance.image_id),
            category_id=torch.tensor(instance.category_id),
            to_image=torch.from_numpy(crop.inverse),
            box=torch.tensor(instance.box, dtype=torch.float32),
        )


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A batch on a device, but for `to_image`: Apple's GPUs have no float64, and it is used on the CPU."""
    fast = device.type == "cuda"  # from pinned memory; elsewhere it would not be waited for
    return {
        name: value if name == "to_image" else value.to(device, non_blocking=fast)
        for name, value in batch.items()
    }


def normalised(pixels: np.ndarray) -> np.ndarray:
    """uint8 [S, S, 3] to float32 [3, S, S] in [-1, 1].

    Plane by plane: several times faster than permuting and converting the whole with torch.
    """
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for c in range(3):
        np.divide(pixels[..., c], np.float32(127.5), out=planes[c])
    planes -= 1
    return planes


def collate(samples: list[KeypointBatch]) -> KeypointBatch:
    """Samples to a batch."""
    stacked = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}  # type: ignore[literal-required]
    return KeypointBatch(**stacked)  # type: ignore[typeddict-item]
