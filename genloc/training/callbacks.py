"""What a person sees of a run: the progress bar and pictures of heatmaps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from genloc.keypoints import Keypoints
from genloc.training.checkpoints import is_trial
from genloc.training.logs import FOLDER as LOGS
from genloc.visualize import overlay_sheet


class Progress(RichProgressBar):
    """A rich progress bar with loss and AP; where the output is no terminal, one line per epoch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=4)
        self._began = 0.0

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
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Reading the metrics waits for the device, so only after an optimiser step.
        if self.is_enabled and self.train_progress_bar_id is not None:
            self._update(self.train_progress_bar_id, batch_idx + 1)
            if not trainer.fit_loop._should_accumulate():
                self._update_metrics(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled and trainer.is_global_zero:
            shown = {"loss": "train/loss", "val AP": "val/AP", "val PCK@0.1": "val/PCK@0.1"}
            numbers = [
                f"{name} {float(trainer.callback_metrics[key]):.3f}"
                for name, key in shown.items()
                if key in trainer.callback_metrics
            ]
            seconds = time.monotonic() - self._began
            epochs = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"epoch {epochs}: {', '.join(numbers)} ({seconds:.0f} s)", flush=True)


class Pictures(Callback):
    """Crops with keypoints and heatmaps, the first of an evaluation set.

    While training they go to TensorBoard and `<run>/logs/overlays-val.png`; `genloc test` and `validate` write
    `<run>/overlays.png`.

    Args:
        count: crops on a sheet; at most one batch is shown.
        every_n_epochs: how often while training; 0 for never.
    """

    def __init__(self, count: int = 8, every_n_epochs: int = 1) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if batch_idx or trainer.sanity_checking or is_trial(trainer):
            return
        if not self.count or not trainer.is_global_zero:
            return
        run = Path(trainer.default_root_dir)
        if trainer.state.fn != "fit":
            self._draw(outputs["keypoints"], batch, run / "overlays.png")
        elif self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            picture = self._draw(outputs["keypoints"], batch, run / LOGS / "overlays-val.png")
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(
                        "val/heatmaps", picture, trainer.global_step, dataformats="HWC"
                    )

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _draw(self, found: Keypoints, batch: dict[str, Tensor], path: Path) -> np.ndarray:
        """Write the sheet and return it, uint8 [H, W, 3]."""
        n = self.count
        image = ((batch["image"][:n].cpu() + 1) * 127.5).round().clamp(0, 255).byte()
        truth = torch.cat([batch["points"], batch["visible"][..., None].float() * 2], dim=-1)
        assert found.crops is not None
        return overlay_sheet(
            list(image.permute(0, 2, 3, 1).numpy()),
            [_to_crop(*pair) for pair in zip(found.xy[:n], found.crops[:n], strict=True)],
            None if found.heatmaps is None else list(found.heatmaps[:n]),
            list(truth[:n].cpu().numpy()),
            path,
            skeleton=found.skeleton,
        )


def _to_crop(xy: np.ndarray, to_image: np.ndarray) -> np.ndarray:
    """Image pixels [K, 2] back to crop pixels, given the affine [2, 3] from crop to image."""
    return np.linalg.solve(to_image[:, :2], (xy - to_image[:, 2]).T).T
