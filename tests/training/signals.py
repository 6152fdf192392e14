"""A callback that sends this process a signal at a known place."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import lightning.pytorch as pl


class SignalAt(pl.Callback):
    """Send `name` in training batch number `batches`, or in a validation that follows it.

    With `group` every process of the group gets it, as from a terminal's Ctrl-C or a cluster's stop.
    """

    def __init__(
        self, name: str, batches: int, in_validation: bool = False, group: bool = False
    ) -> None:
        self.group = group
        self.number = getattr(signal, name)
        self.batches = batches
        self.in_validation = in_validation
        self.seen = 0

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen += 1
        if self.seen == self.batches and not self.in_validation and trainer.is_global_zero:
            self.send()

    def send(self) -> None:
        if self.group:
            os.killpg(os.getpgrp(), self.number)
        else:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.in_validation and self.seen >= self.batches:
            self.send()


def signalled(name: str, batches: int, **more: bool) -> str:
    """The command-line form of a `SignalAt` callback."""
    callback = {
        "class_path": "tests.training.signals.SignalAt",
        "init_args": {"name": name, "batches": batches, **more},
    }
    return f"--trainer.callbacks={json.dumps([callback])}"
