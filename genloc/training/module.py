"""`KeypointModule`: one training step, one evaluation step; the same for GenLoc and for its rivals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from genloc.codecs.heatmap import default_sigma, gaussian_target, to_cells
from genloc.inference import Decoding, condition_of, find, latent_noise
from genloc.keypoints import Keypoints
from genloc.models.features import feature_widths
from genloc.recipe import why_no_crops
from genloc.training.asking import answer_loss, ask
from genloc.training.cache import CropCache, Kept, open_cache
from genloc.training.episodes import EpisodeScores
from genloc.training.optimiser import (
    Schedule,
    adam,
    described,
    parameter_groups,
    schedule,
    take_rates,
)
from genloc.training.parts import check_parts, reads_support
from genloc.training.resume import (
    Position,
    belongs_to,
    check_belongs,
    check_names,
    dump_position,
    go_to,
    position_of,
    trainable_state,
)
from genloc.training.scores import Scores


class KeypointModule(pl.LightningModule):
    """A localizer, what it looks for, and how it learns.

    Args:
        skeleton: the data's skeleton (interpolate it: `${..data.skeleton}`).
        model: `GenLoc` or any `genloc.inference.Localizer`. If it has a method `load()`, that is called before
            training, so constructing it may be light; one with `build(num_keypoints)` is told K likewise.
        loss: mean over the crops of a batch, a crop without visible keypoints counting 0. Its `needs` says what
            it is given: "log_expectation" (no map in memory), "maps" or "answers".
        condition: what to look for, such as `LearnedCondition`; null for a localizer without conditions.
        lr_condition, lr_lora: rates of the conditions and of the LoRA factors.
        lora_ratio: B learns at so many times the rate of A (LoRA+).
        lr: rate of all other trainable parameters; a baseline has only those.
        weight_decay: 0 is Adam, above it is AdamW.
        schedule: of all rates, after `warmup` optimiser steps.
        warmup: optimiser steps over which the rates rise.
        sigma: of the target Gaussian in cells of the finest map; null for 2 at 64 cells, scaled with the map.
        flip_test: average with the mirrored crop in `validate` and `test`, if left and right are known; not in `fit`.
        decoding: how a map becomes a point.
        cache: folder in which what the frozen net makes of a training crop is kept; needs `data.views`.
            See `training/cache.py` for what it costs on disk.
        keep: what is kept there: "latents", or "outputs" of the down- and mid-blocks (`context: "null"`).
        seed: of the conditions' start and of the noise.
    """

    model: Any
    loss: Any
    condition: Any

    def __init__(
        self,
        skeleton: str,
        model: nn.Module,
        loss: nn.Module,
        condition: nn.Module | None = None,
        lr_condition: float = 1e-2,
        lr_lora: float = 1e-3,
        lora_ratio: float = 1.0,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        warmup: int = 0,
        sigma: float | None = None,
        flip_test: bool = False,
        decoding: Decoding = "centroid",
        cache: str | None = None,
        keep: Kept = "latents",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.skeleton_spec = skeleton
        self.model = model
        self.loss = loss
        self.condition = condition
        self.rates = {"lr": lr, "lr_condition": lr_condition, "lr_lora": lr_lora}
        self.rates["lora_ratio"] = lora_ratio
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.sigma = sigma
        self.flip_test = flip_test
        self.decoding: Decoding = decoding
        self.cache_folder = cache
        self.keep: Kept = keep
        self._cache: CropCache | None = None
        self.seed = seed
        self.scores: Scores | EpisodeScores | None = None
        self.last_scores: dict[str, float] = {}
        self.heatmaps_of: frozenset[int] = frozenset()
        """Annotation ids for which evaluation hands on the heatmaps, for pictures."""
        self._configured = False
        self._window_loss: Tensor | None = None
        self._epoch_start = 0

    @property
    def strict_loading(self) -> bool:
        """Checkpoints hold the trainable weights only; `on_load_checkpoint` checks their names itself."""
        return False

    @strict_loading.setter
    def strict_loading(self, strict_loading: bool) -> None:
        raise AttributeError("strict_loading is fixed: checkpoints hold the trainable weights only")

    def configure_model(self) -> None:
        """Load weights and build the conditions, once.

        Raises:
            ValueError: model, condition and loss do not go together, or the model cannot read the crops.
        """
        if self._configured:
            return
        skeleton = self.data.skeleton
        if callable(load := getattr(self.model, "load", None)):
            load()
        if callable(build := getattr(self.model, "build", None)):
            build(skeleton.num_keypoints)
        if callable(ask_for := getattr(self.model, "ask_for", None)):
            ask_for(skeleton)
        parts, shown = (self.model, self.condition, self.loss), self.data.episodes is not None
        held_out = self.data.held_out()
        check_parts(*parts, episodes=shown, flip_test=self.flip_test, held_out=held_out)
        if why := why_no_crops(self.model, self.data.crop_size):
            raise ValueError(f"data.crop_size is {why}")
        if self.condition is not None and callable(build := getattr(self.condition, "build", None)):
            prior = self.model.prior
            generator = torch.Generator().manual_seed(self.seed)
            more: dict[str, Any] = {}
            if reads_support(self.condition):
                more["widths"] = feature_widths(self.model)
            build(skeleton, prior.condition_channels, prior.text, generator, **more)
        self._configured = True

    @property
    def data(self) -> Any:
        """The `KeypointData` of the running trainer."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    # ------------------------------------------------------------------ training

    def on_fit_start(self) -> None:
        windows = self.data.windows
        self.trainer.accumulate_grad_batches = windows.accumulation
        if self.trainer.is_global_zero:
            if "val" in self.data.sources:
                print(f"watched: {self.data.sources['val'].summary()}")
            print(
                f"{self.data.sources['train'].summary()}\n"
                f"{windows.steps} optimiser steps an epoch, of {windows.window} crops in "
                f"{windows.accumulation} batches on {windows.world_size} device(s)\n"
                f"training {described(self._groups())}"
            )

    def on_train_start(self) -> None:
        take_rates(self.optimizers(False), self.lr_schedulers(), self._groups())  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        self.data.set_epoch(self.current_epoch)
        self._epoch_start = self.trainer.global_step - self.data.windows.first_step
        self._window_loss = None

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = self._batch_loss(batch)
        # From the mean over this batch's crops to their part in the mean over the window's.
        loss = loss * (len(batch["weight"]) * batch["weight"].max())
        done = loss.detach() if self._window_loss is None else self._window_loss + loss.detach()
        self._window_loss = done
        if not self.trainer.fit_loop._should_accumulate():
            if not torch.isfinite(done):
                raise ValueError(
                    f"the loss is {float(done)} at step {self.trainer.global_step}; the last checkpoint is at most "
                    "checkpoints.every_n_steps older. A lower rate may help (model.lr_lora, model.lr_condition, "
                    "model.lr)"
                )
            self.log("train/loss", done, prog_bar=True, sync_dist=True, batch_size=1)
            self._window_loss = None
        # Lightning divides by the number of micro-batches; the weights already make the window's mean.
        return loss * self.trainer.accumulate_grad_batches

    def _batch_loss(self, batch: dict[str, Tensor]) -> Tensor:
        epoch = batch["draw"].tolist()
        condition, batch = ask(self.condition, batch, seed=self.seed, epoch=epoch, model=self.model)
        size, visible = batch["image"], batch["visible"]
        image: Tensor | None = size
        given: dict[str, Any] = {} if condition is None else {"condition": condition}
        if self.cache_folder is not None:
            if self._cache is None:
                self._cache = open_cache(self.cache_folder, self.keep, self.model, self.data)
            given |= self._cache.given(self.model, batch, self.data.view(self.current_epoch))
            image = None
        noise = self._noise(batch, epoch)
        if noise is not None:
            given["noise"] = noise
        if self.loss.needs == "answers":
            return answer_loss(self.model, self.loss, batch, self.seed, epoch, given)
        if self.loss.needs == "log_expectation":
            cells, sigma = self._target(batch, *self.model.map_size(size))
            return self.loss(
                self.model.log_expectation(image, points=cells, sigma=sigma, **given), visible
            )
        maps = self.model(image, **given)
        h, w = maps.shape[-2:]
        cells, sigma = self._target(batch, h, w)
        return self.loss(maps, gaussian_target(cells, (h, w), sigma), visible)

    def _noise(self, batch: dict[str, Tensor], epoch: int | Sequence[int]) -> Tensor | None:
        image = batch["image"]
        ids = batch["annotation_id"].tolist()
        noise = latent_noise(self.model, image.shape[-1], ids, seed=self.seed, epoch=epoch)
        return None if noise is None else noise.to(image.device)

    def _target(self, batch: dict[str, Tensor], h: int, w: int) -> tuple[Tensor, float]:
        cells = to_cells(batch["points"], batch["image"].shape[-1] / w)
        return cells, default_sigma(h) if self.sigma is None else self.sigma

    def configure_optimizers(self) -> Any:
        optimizer = adam(self._groups(), self.weight_decay)
        scheduler = schedule(optimizer, self.schedule, warmup=self.warmup, steps=self._all_steps())
        if scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _groups(self) -> list[dict]:
        return parameter_groups(self.model, self.condition, **self.rates)

    def _all_steps(self) -> int | None:
        if self.trainer.max_steps > 0:
            return self.trainer.max_steps
        epochs = self.trainer.max_epochs or -1
        return epochs * self.data.windows.steps if epochs > 0 else None

    # ------------------------------------------------------------------ evaluation

    def on_validation_start(self) -> None:
        self._start_scores("val")

    def on_test_start(self) -> None:
        self._start_scores("test")

    def _start_scores(self, name: str) -> None:
        source = self.data.sources[name]
        if self.scores is None or self.scores.source is not source:
            self.scores = self.data.scores(name)
        self.scores.reset()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Keypoints]:
        return {"keypoints": self._evaluate(batch)}

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Keypoints]:
        return {"keypoints": self._evaluate(batch)}

    def _evaluate(self, batch: dict[str, Tensor]) -> Keypoints:
        found = find(
            self.model,
            batch["image"],
            condition_of(self.model, self.condition, batch),
            batch["to_image"],
            batch["box"],
            skeleton=self.data.skeleton,
            decoding=self.decoding,
            noise=self._noise(batch, 0),
            flip_test=self.flip_test and self.trainer.state.fn != "fit",
            keep_heatmaps=not self.heatmaps_of.isdisjoint(batch["annotation_id"].tolist()),
        )
        assert self.scores is not None
        self.scores.add(found, batch)
        return found

    def on_validation_epoch_end(self) -> None:
        # The command `validate` scores by itself, with the mean pose beside it (`training/outcome.py`).
        if self.scores is None or self.trainer.sanity_checking or self.trainer.state.fn != "fit":
            return
        self.last_scores = self.scores.compute()
        for name, value in self.last_scores.items():
            bar = name in ("AP", "PCK@0.1")
            self.log(f"val/{name}", value, prog_bar=bar, sync_dist=True, batch_size=1)

    # ------------------------------------------------------------------ checkpoints

    def position(self) -> Position:
        """After which optimiser step training stands."""
        return position_of(self.trainer, self._epoch_start)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = trainable_state(self)
        checkpoint["position"] = dump_position(self.position())
        checkpoint["belongs_to"] = belongs_to(self.model, self.data.skeleton)
        checkpoint["trained_on"] = self.data.facts()
        checkpoint["metrics"] = {f"val/{name}": value for name, value in self.last_scores.items()}
        checkpoint.pop("loops", None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_belongs(checkpoint["belongs_to"], belongs_to(self.model, self.data.skeleton))
        check_names(checkpoint["state_dict"], trainable_state(self))
        if self.trainer.state.fn != "fit":
            return
        if checkpoint["trained_on"] != self.data.facts():
            raise ValueError(
                f"this run was trained on {checkpoint['trained_on']}, the configuration now gives "
                f"{self.data.facts()}: a run goes on with the same data; use another --name"
            )
        position = Position(**checkpoint["position"])
        self.data.windows.start_at(position.epoch, position.step)
        self.data.windows.set_epoch(position.epoch)
        go_to(self.trainer, position)
