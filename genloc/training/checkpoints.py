"""`Checkpoints`: `best.ckpt` and `last.ckpt` of a run, and stopping on a signal without losing a step."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from genloc.data.categories import CategorySets
from genloc.training.episodes import EpisodeScores
from genloc.training.scores import Scores

FOLDER = "checkpoints"


class Interrupted(SystemExit):
    """Training stopped on a signal after saving; the exit status is 128 + signal, as shells have it."""


DEFAULT = "val/AP"


class Checkpoints(Checkpoint):
    """Write a run's checkpoints to `<run>/checkpoints/`, 12 bytes for each trained weight (`training/resume.py`).

    `last.ckpt` is written after every epoch, every `every_n_steps` optimiser steps, and when SIGTERM or Ctrl-C
    asks to stop; `best.ckpt` whenever `monitor` has risen. A file is complete or not there at all. A second
    Ctrl-C stops at once, without saving.

    Args:
        monitor: the logged number that should rise.
        every_n_steps: optimiser steps between two writings of `last.ckpt`; what a crash can cost.
    """

    def __init__(self, monitor: str = DEFAULT, every_n_steps: int = 20) -> None:
        if every_n_steps < 1:
            raise ValueError(f"checkpoints.every_n_steps must be at least 1, got {every_n_steps}")
        self.monitor = monitor
        self.every_n_steps = every_n_steps
        self.best: float | None = None
        self._saved_step = -1
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse to watch what no evaluation will log.

        Raises:
            ValueError: names what there is.
        """
        source = trainer.datamodule.sources.get("val")  # type: ignore[attr-defined]
        # The default may be missing: asking by an example knows no AP, and then `best.ckpt` is not written.
        if stage != "fit" or source is None or self.monitor == DEFAULT:
            return
        kind = EpisodeScores if isinstance(source, CategorySets) else Scores
        known = [f"val/{name}" for name in kind.names(source)]
        if self.monitor not in known:
            raise ValueError(
                f"checkpoints.monitor: nothing is called {self.monitor!r}; there are {', '.join(known)}"
            )

    # ------------------------------------------------------------------ writing

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_step = trainer.global_step
        self._listen()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Stopped after the last step of an epoch: its validation is still owed. (The module's own hook, which
        # sets the epoch of the data, comes after the callbacks'.)
        windows = trainer.datamodule.windows  # type: ignore[attr-defined]
        windows.set_epoch(trainer.current_epoch)
        loop = trainer.fit_loop.epoch_loop
        if not windows.micro_batches_left() and loop._should_check_val_epoch():
            pl_module.on_train_epoch_start()
            loop._batches_that_stepped -= 1  # log it where the step before it was logged
            trainer.validating = True
            loop.val_loop.run()
            trainer.training = True
            loop._batches_that_stepped += 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        step_done = not trainer.fit_loop._should_accumulate()
        if self._must_stop(trainer, step_done):
            self._stop(trainer)
        if step_done and trainer.global_step - self._saved_step >= self.every_n_steps:
            self._save(trainer, "last")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        if (
            trainer.state.fn == "fit"
            and not trainer.sanity_checking
            and self._must_stop(trainer, True)
        ):
            self._stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is not None and (self.best is None or float(value) > self.best):
            self.best = float(value)
            self._save(trainer, "best")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, "last")
        if self._must_stop(trainer, True):
            self._stop(trainer, saved=True)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if is_trial(trainer):
            return
        path = checkpoint_path(trainer.default_root_dir, name)
        part = path.with_suffix(".part")
        trainer.save_checkpoint(part, weights_only=False)  # with the optimiser
        if trainer.is_global_zero:
            os.replace(part, path)
        if name == "last":
            self._saved_step = trainer.global_step

    # ------------------------------------------------------------------ signals

    def _listen(self) -> None:
        # After Lightning's own handlers are in place: they would stop between micro-batches without saving.
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def _must_stop(self, trainer: pl.Trainer, step_done: bool) -> bool:
        if trainer.world_size == 1:
            return self._signal is not None
        # All processes must stop after the same step; asking each other costs time, so not in every batch.
        return step_done and trainer.strategy.reduce_boolean_decision(
            self._signal is not None, all=False
        )

    def _stop(self, trainer: pl.Trainer, saved: bool = False) -> None:
        if not saved:
            self._save(trainer, "last")
        number = self._signal or signal.SIGTERM
        if trainer.is_global_zero:
            position = trainer.lightning_module.position()  # type: ignore[operator]
            print(
                f"\nstopped by {signal.Signals(number).name} after step {position.global_step} (epoch "
                f"{position.epoch}, step {position.step}); go on with --ckpt_path last"
            )
        raise Interrupted(128 + number if trainer.is_global_zero else 0)

    def _deafen(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._deafen()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._deafen()


def is_trial(trainer: pl.Trainer) -> bool:
    """Whether this is a `--trainer.fast_dev_run`, which leaves nothing behind."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def checkpoint_path(run: str | Path, name: str) -> Path:
    """Where a run keeps its `best` or `last` checkpoint."""
    return Path(run) / FOLDER / f"{name}.ckpt"
