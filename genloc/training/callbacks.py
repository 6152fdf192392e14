"""What a person sees of a run: the progress bar, pictures of heatmaps, and the maps for its report."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from genloc.data.coco import Instance
from genloc.keypoints import Keypoints
from genloc.training.checkpoints import is_trial
from genloc.training.logs import FOLDER as LOGS
from genloc.visualize import overlay_sheet


class Begin(Callback):
    """Says, once, when a run takes the place of an earlier one: at its first optimiser step, when data, weights,
    evaluation and a whole window of crops have been seen to work; before its first checkpoint; or at its end.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self.begin = begin
        self.begun = False

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        self._once(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: Any) -> None:
        self._once(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._once(trainer)

    def _once(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and not is_trial(trainer) and not self.begun:
            self.begun = True
            self.begin()


class Progress(RichProgressBar):
    """A rich progress bar with loss and AP; where the output is no terminal, one line per epoch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=4)
        self._began = 0.0
        self._losses: list[torch.Tensor] = []

    @property
    def total_train_batches(self) -> int:
        return self.trainer.datamodule.windows.micro_batches_left()  # type: ignore[attr-defined]

    def _init_progress(self, trainer: pl.Trainer) -> None:
        super()._init_progress(trainer)
        if self._console is not None and not self._console.is_terminal:
            self._stop_progress()
            self.disable()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.monotonic()
        self._losses = []
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        stepped = not trainer.fit_loop._should_accumulate()
        if self.is_disabled and stepped and "train/loss" in trainer.callback_metrics:
            self._losses.append(trainer.callback_metrics["train/loss"].detach())
        # Reading the metrics waits for the device, so only after an optimiser step.
        if self.is_enabled and self.train_progress_bar_id is not None:
            self._update(self.train_progress_bar_id, batch_idx + 1)
            if stepped:
                self._update_metrics(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled and trainer.is_global_zero:
            shown = {"val AP": "val/AP", "val PCK@0.1": "val/PCK@0.1"}
            loss = [f"loss {float(torch.stack(self._losses).mean()):.3f}"] if self._losses else []
            numbers = loss + [
                f"{name} {float(trainer.callback_metrics[key]):.3f}"
                for name, key in shown.items()
                if key in trainer.callback_metrics
            ]
            seconds = time.monotonic() - self._began
            epochs = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"epoch {epochs}: {', '.join(numbers)} ({seconds:.0f} s)", flush=True)


class Pictures(Callback):
    """Crops of an evaluation set with keypoints and heatmaps, spread over its species.

    While training they go to TensorBoard and `<run>/logs/overlays-val.png`; `genloc test` and `validate` write
    `<run>/overlays.png`.

    Args:
        count: crops on a sheet. With several processes, those of them that the first one evaluates.
        every_n_epochs: how often while training; 0 for never.
    """

    def __init__(self, count: int = 8, every_n_epochs: int = 1) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs
        self._chosen: list[int] = []
        self._tiles: dict[int, _Tile] = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._choose(trainer, pl_module, "val")

    def on_test_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._choose(trainer, pl_module, "test")

    def _choose(self, trainer: pl.Trainer, pl_module: Any, name: str) -> None:
        self._chosen, self._tiles = [], {}
        due = trainer.state.fn != "fit" or (
            self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        )
        if due and trainer.is_global_zero and not trainer.sanity_checking and not is_trial(trainer):
            instances = pl_module.data.sources[name].instances[:: trainer.world_size]
            self._chosen = spread_over_species(instances, self.count)
            pl_module.heatmaps_of |= frozenset(self._chosen)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        for i, id_ in enumerate(batch["annotation_id"].tolist() if self._chosen else ()):
            if id_ in self._chosen:
                self._tiles[id_] = _Tile.of(outputs["keypoints"], batch, i)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: pl.Trainer, pl_module: Any, name: str) -> None:
        tiles = [self._tiles[id_] for id_ in self._chosen if id_ in self._tiles]
        if not tiles:
            return
        source = pl_module.data.sources[name]
        fitting = trainer.state.fn == "fit"
        run = Path(trainer.default_root_dir)
        maps = [tile.maps for tile in tiles]
        picture = overlay_sheet(
            [tile.image for tile in tiles],
            [tile.xy for tile in tiles],
            None if any(m is None for m in maps) else [m for m in maps if m is not None],
            [tile.truth for tile in tiles],
            run / LOGS / "overlays-val.png" if fitting else run / "overlays.png",
            skeleton=source.skeleton,
            captions=[source.species(tile.category_id) for tile in tiles],
        )
        for logger in trainer.loggers if fitting else ():
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    "val/heatmaps", picture, trainer.global_step, dataformats="HWC"
                )
        self._tiles = {}


def spread_over_species(instances: Sequence[Instance], count: int) -> list[int]:
    """Annotation ids of `count` instances: the first of as many species as there are, evenly spaced over
    them, then their second ones, and so on. The same for the same set; fewer where there are fewer.
    """
    by_species: dict[int, list[int]] = {}
    for instance in instances:
        by_species.setdefault(instance.category_id, []).append(instance.annotation_id)
    species = [by_species[i] for i in sorted(by_species)]
    if count < len(species):
        species = [species[i * len(species) // count] for i in range(count)]
    rounds = zip_longest(*species)
    return [id_ for each in rounds for id_ in each if id_ is not None][:count]


@dataclass(frozen=True)
class _Tile:
    """What is drawn of one crop, in crop pixels."""

    image: np.ndarray
    xy: np.ndarray
    maps: np.ndarray | None  # a model that says points has none
    truth: np.ndarray
    category_id: int

    @classmethod
    def of(cls, found: Keypoints, batch: dict[str, Tensor], i: int) -> _Tile:
        assert found.crops is not None
        image = ((batch["image"][i].cpu() + 1) * 127.5).round().clamp(0, 255).byte()
        truth = torch.cat([batch["points"][i], batch["visible"][i, :, None].float() * 2], dim=-1)
        return cls(
            image.permute(1, 2, 0).numpy(),
            _to_crop(found.xy[i], found.crops[i]),
            None if found.heatmaps is None else found.heatmaps[i].copy(),  # not the whole batch's
            truth.cpu().numpy(),
            int(batch["category_id"][i]),
        )


class Heatmaps(Callback):
    """Keeps the heatmaps of every crop that `genloc test` or `validate` evaluates, packed, until it is
    known which crops its report shows.
    """

    def __init__(self) -> None:
        self._packed: dict[int, tuple[bytes, np.ndarray, tuple[int, ...]]] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._start(trainer, pl_module, "test")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._start(trainer, pl_module, "val")

    def _start(self, trainer: pl.Trainer, pl_module: Any, name: str) -> None:
        self._packed = {}
        instances = pl_module.data.sources[name].instances
        pl_module.heatmaps_of = frozenset(instance.annotation_id for instance in instances)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        found: Keypoints = outputs["keypoints"]
        if found.heatmaps is None:  # a model that says points has none
            return
        for id_, maps in zip(batch["annotation_id"].tolist(), found.heatmaps, strict=True):
            # 8 bits of each map's own peak; most cells are 0 and take no room
            peaks = np.maximum(maps.max(axis=(1, 2)), 1e-30).astype(np.float32)
            levels = np.rint(255 * np.clip(maps / peaks[:, None, None], 0, 1)).astype(np.uint8)
            self._packed[id_] = (zlib.compress(levels.tobytes(), 1), peaks, maps.shape)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self.on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def of(self, annotation_ids: Sequence[int]) -> dict[int, np.ndarray]:
        """Maps [K, h, w] by annotation id, from all processes; all must ask."""
        mine = {i: self._packed[i] for i in annotation_ids if i in self._packed}
        parts = [mine]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [{} for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(parts, mine)
        return {
            i: np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
            * (peaks[:, None, None] / np.float32(255))
            for part in parts
            for i, (data, peaks, shape) in part.items()
        }


def _to_crop(xy: np.ndarray, to_image: np.ndarray) -> np.ndarray:
    """Image pixels [K, 2] back to crop pixels, given the affine [2, 3] from crop to image."""
    return np.linalg.solve(to_image[:, :2], (xy - to_image[:, 2]).T).T
