"""`KeypointData`: annotated crops for `genloc fit`, `validate` and `test`."""

from __future__ import annotations

import hashlib
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from genloc.data.batch import KeypointDataset, collate, to_device
from genloc.data.categories import CategorySets, slots
from genloc.data.coco import CocoKeypoints
from genloc.data.episodes import EpisodeDataset, Episodes
from genloc.data.transforms import Augmentation
from genloc.skeleton import load_skeleton
from genloc.training.drawn import DrawnCrops, collate_draws
from genloc.training.episodes import EpisodeScores
from genloc.training.own import own_sets
from genloc.training.scores import Scores
from genloc.training.sets import (
    SetSpec,
    check_before_training,
    lay_over,
    load_set,
    open_split,
)
from genloc.training.windows import Turns, Windows


def _start_worker(_: int) -> None:
    # The main process decides when to stop: a signal to the whole process group must not kill the loaders
    # under it before the last complete step is saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)


class KeypointData(pl.LightningDataModule):
    """Sets of annotated crops.

    Args:
        skeleton: name of a known skeleton, or a json or yaml file that says it; see `load_skeleton`.
        train: what is trained on; its instances also give the mean pose that every table is set beside.
        val: watched while training.
        test: for `genloc test`.
        split: a file of `genloc split`: its parts are laid over the sets of the same names (train, val, test),
            and sets without a part stay as they are.
        annotations: one json of labels of one's own instead of `train` and, where that is not given, `val`,
            which then gets some of its images (see `genloc.training.own`).
        images: folder that the file names in `annotations` start from; looked for around the file by default.
        val_fraction: part of the images of `annotations` that `val` gets, at least one.
        root: folder that all paths of the sets start from.
        crop_size: side of a square crop in pixels.
        padding: side of the crop over the longer side of the box.
        batch_size: most crops on one device at once.
        effective_batch: crops per optimiser step over all devices, reached by accumulating gradients.
        least_steps: optimiser steps of an epoch at least: a small set is gone through several times in one.
        num_workers: processes that read and crop; the result does not depend on it.
        augmentation: random changes of training crops; null for none.
        views: how many crops of each instance are drawn and then seen in turns, epoch by epoch, so that
            `model.cache` can keep what the frozen net makes of them; null for a new one in every epoch.
        seed: of order and augmentation.
        episodes: show each crop with labelled pictures of its category (for `VisualCondition`). The sets
            are then read category by category, each with its own keypoints in the slots of `skeleton`
            (`slots:100`); null for ordinary training.
    """

    def __init__(
        self,
        skeleton: str,
        train: SetSpec | None = None,
        val: SetSpec | None = None,
        test: SetSpec | None = None,
        split: str | None = None,
        annotations: str | None = None,
        images: str | None = None,
        val_fraction: float = 0.2,
        root: str = ".",
        crop_size: int = 512,
        padding: float = 1.25,
        batch_size: int = 8,
        effective_batch: int = 200,
        least_steps: int = 1,
        num_workers: int = 2,
        augmentation: Augmentation | None = Augmentation(),  # noqa: B008 - frozen
        views: int | None = None,
        seed: int = 0,
        episodes: Episodes | None = None,
    ) -> None:
        super().__init__()
        if views is not None and views < 1:
            raise ValueError(f"data.views is {views}; expected at least 1, or null")
        if crop_size < 1:
            raise ValueError(f"data.crop_size is {crop_size}; expected at least 1")
        self.views = views
        self.root = Path(root)
        if annotations is not None:
            train, val = own_sets(
                annotations,
                images,
                self.root,
                given={"train": train, "val": val},
                fraction=val_fraction,
            )
        self.specs = lay_over(split, {"train": train, "val": val, "test": test}, self.root)
        self.episodes = episodes
        if episodes is None:
            self.skeleton = load_skeleton(_skeleton_path(skeleton, self.root))
        else:
            self.skeleton = slots(skeleton)
        self.crop_size = crop_size
        self.padding = padding
        self.batch_size = batch_size
        self.effective_batch = effective_batch
        self.least_steps = least_steps
        self.num_workers = num_workers
        self.augmentation = augmentation
        self.seed = seed
        self.sources: dict[str, CocoKeypoints] = {}
        self.windows: Windows | None = None

    def setup(self, stage: str) -> None:
        """Read the sets of a stage (`fit`, `validate` or `test`).

        Raises:
            FileNotFoundError: a file or folder is missing.
            ValueError: a set that the stage needs is not given or cannot work.
        """
        stage = str(getattr(stage, "value", stage))  # Lightning's is an enum
        needed = {"fit": "train", "validate": "val", "test": "test"}[stage]
        if self.specs[needed] is None:
            raise ValueError(f"data.{needed}: {stage} needs it, but the configuration has null")
        if stage == "fit":
            check_before_training(self.specs, self.root)
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[stage]:
            spec = self.specs[name]
            if spec is None or name in self.sources:
                continue
            kind = CocoKeypoints if self.episodes is None else CategorySets
            self.sources[name] = load_set(name, spec, self.skeleton, self.root, kind=kind)
        if stage == "fit" and self.windows is None:
            self.windows = Windows(
                [instance.annotation_id for instance in self.sources["train"].instances],
                effective_batch=self.effective_batch,
                batch_size=self.batch_size,
                least_steps=self.least_steps,
                rank=self.trainer.global_rank if self.trainer else 0,
                world_size=self.trainer.world_size if self.trainer else 1,
                seed=self.seed,
            )
            if self.views is not None and self.windows.turns > 1:
                raise ValueError(
                    f"data.views is {self.views}, but an epoch of {self.least_steps} steps (data.least_steps) "
                    f"goes {self.windows.turns} times through the crops, each time with other draws; "
                    "leave one of the two out"
                )

    def training_source(self) -> CocoKeypoints | None:
        """The training set's labels, where they are there: evaluation needs their mean pose."""
        spec = self.specs["train"]
        if spec is None or not (self.root / spec.annotations).is_file():
            return None
        if "train" not in self.sources:
            self.sources["train"] = load_set("train", spec, self.skeleton, self.root, images=False)
        return self.sources["train"]

    def held_out(self) -> tuple[str, ...]:
        """Keypoints that the training set's split has labels of for the test alone.

        Raises:
            ValueError: the split says nothing of val, whose labels would choose the checkpoint by them.
        """
        spec = self.specs["train"]
        if spec is None or spec.split is None:
            return ()
        parts = open_split(spec.split, self.root).parts
        named = [part.keypoints for name in ("train", "test") if (part := parts.get(name))]
        if len(named) < 2 or None in named:
            return ()
        train, test = named
        held = tuple(name for name in test or () if name not in (train or ()))
        if held and "val" not in parts and self.specs["val"] is not None:
            raise ValueError(
                f"data.split: {spec.split} holds out {', '.join(held)} but has no part val, so the checkpoint would "
                "be chosen by them; make it with --val FILE, or give data.val null"
            )
        return held

    def facts(self) -> dict[str, Any]:
        """What the order of training depends on; a run goes on only with the same."""
        assert self.windows is not None
        source = self.sources["train"]
        views = {} if self.views is None else {"views": self.views}
        return {
            "annotations": source.checksum,
            "crops": len(source.instances),
            "of them": _digest([instance.annotation_id for instance in source.instances]),
            "effective_batch": self.effective_batch,
            "least_steps": self.least_steps,
            "seed": self.seed,
            **views,
        } | ({} if self.episodes is None else {"shots": self.episodes.shots})

    def view(self, epoch: int) -> int:
        """Which draw of the augmentation an epoch sees."""
        return epoch if self.views is None else epoch % self.views

    def crop_facts(self) -> dict[str, Any]:
        """All that the pixels of a training crop depend on besides its id and view."""
        source = self.sources["train"]
        return {
            "annotations": source.checksum,
            "images": str(source.images),
            "crop_size": self.crop_size,
            "padding": self.padding,
            "augmentation": None if self.augmentation is None else asdict(self.augmentation),
            "seed": self.seed,
        }

    def train_dataloader(self) -> DataLoader:
        assert self.windows is not None
        crops = self._dataset("train", self.augmentation)
        self._train_crops = crops
        crops.set_epoch(self.view(self.windows.epoch))
        return DataLoader(
            DrawnCrops(crops, self.windows.turns),
            batch_sampler=self.windows,  # type: ignore[arg-type]
            collate_fn=collate_draws,
            num_workers=self.num_workers,
            worker_init_fn=_start_worker,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("val") if "val" in self.sources else []

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader("test")

    def transfer_batch_to_device(
        self, batch: dict[str, Tensor], device: torch.device, dataloader_idx: int
    ) -> dict[str, Tensor]:
        return to_device(batch, device)

    def set_epoch(self, epoch: int) -> None:
        """Order and augmentation of the next training epoch."""
        assert self.windows is not None
        self.windows.set_epoch(epoch)
        self._train_crops.set_epoch(self.view(epoch))

    def _dataset(
        self, name: str, augmentation: Augmentation | None
    ) -> KeypointDataset | EpisodeDataset:
        crops = KeypointDataset(
            self.sources[name],
            crop_size=self.crop_size,
            padding=self.padding,
            augmentation=augmentation,
            seed=self.seed,
        )
        return crops if self.episodes is None else EpisodeDataset(crops, self.episodes.shots)

    def scores(self, name: str) -> Scores | EpisodeScores:
        """What collects and scores the results of a set."""
        source = self.sources[name]
        if isinstance(source, CategorySets):
            return EpisodeScores(source)
        return Scores(source, self.padding)

    def _evaluation_loader(self, name: str) -> DataLoader:
        source = self.sources[name]
        return DataLoader(
            self._dataset(name, None),
            batch_sampler=Turns(
                len(source.instances),
                batch_size=self.batch_size,
                rank=self.trainer.global_rank if self.trainer else 0,
                world_size=self.trainer.world_size if self.trainer else 1,
            ),
            collate_fn=collate,
            num_workers=self.num_workers,
            worker_init_fn=_start_worker,
            pin_memory=torch.cuda.is_available(),
        )


def _digest(ids: list[int]) -> str:
    """Two selections of as many crops of one file are not the same data."""
    return hashlib.sha256(repr(ids).encode()).hexdigest()[:16]


def _skeleton_path(skeleton: str, root: Path) -> str:
    """A skeleton file is found from the root of the data, as the sets are."""
    below = root / skeleton
    return (
        str(below)
        if Path(skeleton).suffix in (".json", ".yaml", ".yml") and below.is_file()
        else skeleton
    )
