"""What a checkpoint holds and how training goes on from it.

A checkpoint holds the trainable weights, the optimiser's state and a position, and nothing that is frozen: 12
bytes for each trained weight, which is the weight and Adam's two moments. That is 11 MB for `ap10k.yaml` (LoRA of
rank 16 on Stable Diffusion 1.5) and 57 MB for `own_data.yaml` and `quickstart.yaml` (rank 64 on the tiny prior). `best`
has the optimiser's state as `last` has: a run can go on from either.

The weights only change at optimiser steps, so whenever it is written, it is the state after the last complete
step, and the position is the number of that step. Windows of crops (`training/windows.py`) are a function of
(seed, epoch), so going on from a position replays an open window from its start. Lightning's own loop state is
left out: it counts micro-batches and expects loaders that remember.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from genloc.adapter import switches_of
from genloc.skeleton import Skeleton


@dataclass(frozen=True)
class Position:
    """After which optimiser step: `step` complete steps in `epoch`, `global_step` in all."""

    epoch: int
    step: int
    global_step: int


def position_of(trainer: pl.Trainer, epoch_start: int) -> Position:
    """Where training stands. `epoch_start` is the global step at which this epoch (as a whole) began."""
    current: Any = trainer.fit_loop.epoch_progress.current
    epochs_done = current.processed
    if epochs_done > trainer.current_epoch:  # between the last step of an epoch and the next epoch
        return Position(epochs_done, 0, trainer.global_step)
    return Position(epochs_done, trainer.global_step - epoch_start, trainer.global_step)


def go_to(trainer: pl.Trainer, position: Position) -> None:
    """Set Lightning's counters as if `position.epoch` epochs were over; the loader skips the steps."""
    loop = trainer.fit_loop
    counters: Any
    for counters in (loop.epoch_progress.total, loop.epoch_progress.current):
        counters.ready = counters.completed = position.epoch
        counters.started = counters.processed = position.epoch
    steps = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
    steps.ready = steps.completed = position.global_step
    loop.epoch_loop._batches_that_stepped = position.global_step  # the step that loggers write


def trainable_state(module: nn.Module) -> dict[str, Tensor]:
    """Names and values of all that training changes: trainable parameters, and the buffers beside them
    (running statistics of a trained normalisation layer)."""
    state: dict[str, Tensor] = {}
    for prefix, part in module.named_modules():
        own = dict(part.named_parameters(prefix, recurse=False))
        trained = {name: value.detach() for name, value in own.items() if value.requires_grad}
        state |= trained
        if trained:
            kept = part.state_dict(prefix=f"{prefix}." if prefix else "", keep_vars=False)
            buffers = dict(part.named_buffers(prefix, recurse=False))
            state |= {name: value for name, value in buffers.items() if name in kept}
    return state


def check_names(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse weights that are not exactly the trainable ones, by name and shape.

    Raises:
        ValueError: says which are missing, unknown or of another shape.
    """
    missing, unknown = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or unknown:
        raise ValueError(
            f"the checkpoint's weights are not this model's trainable ones: {_some(missing)} missing, "
            f"{_some(unknown)} unknown; use the configuration that it was trained with (LoRA preset, rank, "
            "condition), it is beside it as config.yaml"
        )
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise ValueError(
                f"the checkpoint has {name} with shape {list(found[name].shape)}, the model "
                f"{list(value.shape)}; use the configuration that it was trained with"
            )
        if not torch.isfinite(found[name]).all():
            raise ValueError(f"the checkpoint's {name} holds values that are not finite")


def belongs_to(model: nn.Module, skeleton: Skeleton) -> dict[str, Any]:
    """What trained weights mean nothing without, although their names and shapes would fit."""
    prior: Any = getattr(model, "prior", None)
    weights = None if prior is None else prior.digest()
    facts = {"keypoints": list(skeleton.keypoints), "weights of the prior": weights}
    decoder: Any = getattr(model, "decoder", None)
    if hasattr(decoder, "fingerprint"):
        facts["weights of the decoder"] = decoder.fingerprint
    if hasattr(model, "read_out"):
        facts["switches of the model"] = switches_of(model)
    return facts


def check_belongs(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a checkpoint of other keypoints or another prior, or of a model that reads it otherwise.

    Raises:
        ValueError: says which and what both are.
    """
    for what, value in expected.items():
        if found.get(what, value) != value:
            raise ValueError(
                f"the checkpoint was trained with other {what}: {found[what]}, here {value}"
            )


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - 2} more" if len(ordered) > 2 else ""
    return f"{', '.join(ordered[:2]) or 'none'}{more}"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint file without running code from it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no checkpoint of `genloc fit`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"ckpt_path: no checkpoint {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"ckpt_path: {path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(checkpoint, dict) or not {"position", "state_dict"} <= checkpoint.keys():
        raise ValueError(f"ckpt_path: {path} was not written by genloc fit")
    return checkpoint


def dump_position(position: Position) -> dict[str, int]:
    """Plain numbers, for the checkpoint."""
    return asdict(position)
