"""`genloc fit`, `validate` and `test`: LightningCLI with one folder per run."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from genloc.training.callbacks import Begin, Heatmaps, Pictures, Progress
from genloc.training.checkpoints import FOLDER as CHECKPOINTS
from genloc.training.checkpoints import Checkpoints, checkpoint_path, is_trial
from genloc.training.data import KeypointData
from genloc.training.episode_outcome import write_episode_outcome
from genloc.training.logs import FOLDER as LOGS
from genloc.training.logs import run_loggers
from genloc.training.module import KeypointModule
from genloc.training.outcome import RECORD, load_best, write_adapter, write_outcome
from genloc.training.record import crops_to_show, evaluated, record_of
from genloc.training.resume import read_checkpoint
from genloc.training.scoring import Scoring

WRITTEN = (
    *(CHECKPOINTS, LOGS, "adapter", "config.yaml", "metrics.json", "overlays.png"),
    *("results-val.json", "results-test.json", RECORD.format("val"), RECORD.format("test")),
)
"""What `fit`, `validate` and `test` write into the folder of a run."""


COMMANDS = ("fit", "validate", "test")
USAGE = "%(prog)s --config FILE [--config OVERLAY ...] [--KEY VALUE ...]"


class TrainingCLI(LightningCLI):
    """The three commands. Their configuration is `configs/*.yaml`; further `--config` files change single facts.

    On top of LightningCLI's: `--name` and `--runs` say the folder of the run, `--overwrite` starts again in it,
    `--ckpt_path last|best` means the run's own checkpoints.
    """

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(
            KeypointModule,
            KeypointData,
            save_config_callback=None,  # written to the run's folder by _begin, not by validate and test
            trainer_defaults={
                "num_sanity_val_steps": 1,
                "log_every_n_steps": 10,
                "enable_model_summary": False,  # KeypointModule says what is trained
                "enable_autolog_hparams": False,  # config.yaml holds them
            },
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "prog": "genloc"}
            | {command: {"parser_mode": "omegaconf+", "usage": USAGE} for command in COMMANDS},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "train_dataloaders", "val_dataloaders", "datamodule"}
        return {command: skipped | {"weights_only", "verbose"} for command in COMMANDS}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name", type=str, default="run", help="The run is kept in <runs>/<name>."
        )
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="Start again in the folder of an earlier run, whose results are deleted.",
        )
        parser.add_class_arguments(Scoring, "scoring")
        parser.add_argument(
            "--validate_after",
            type=bool,
            default=False,
            help="End `fit` as `genloc validate` does: table and pictures of the best weights.",
        )
        parser.add_lightning_class_args(Checkpoints, "checkpoints")
        parser.add_lightning_class_args(Pictures, "pictures")

    def _parse_ckpt_path(self) -> None:
        """Nothing: our checkpoints hold no hyper-parameters, and `last` is not a path yet."""

    # ------------------------------------------------------------------ before anything is loaded

    def before_instantiate_classes(self) -> None:
        given = self.config[self.subcommand]
        if given.model.skeleton != given.data.skeleton:
            raise ValueError(
                f"model.skeleton is {given.model.skeleton!r} but data.skeleton is {given.data.skeleton!r}; "
                "say it once, in data, and write model.skeleton: ${..data.skeleton}"
            )
        self.run_folder = Path(given.runs) / given.name
        if self.subcommand == "fit":
            self.checkpoint = self._start(given)
        else:
            self.checkpoint = self._weights(given.ckpt_path)

    def _start(self, given: Any) -> Path | None:
        """The checkpoint that `fit` goes on from; None for a new run, whose `_begin` clears the folder."""
        if given.trainer.accumulate_grad_batches != 1:
            raise ValueError(
                "trainer.accumulate_grad_batches: leave it out; accumulation is worked out from "
                "data.effective_batch, data.batch_size and the number of devices"
            )
        run = self.run_folder
        self._earlier: list[Path] = []
        if given.ckpt_path is not None:
            return self._own_checkpoint(given.ckpt_path)
        # Processes started by the first one find its files, not an earlier run's.
        if given.trainer.fast_dev_run or _rank() != 0:
            return None
        earlier = [run / name for name in WRITTEN if (run / name).exists()]
        # A run that failed before its first checkpoint leaves nothing that is worth asking about.
        lost = [path for path in earlier if path.name not in (LOGS, "config.yaml")]
        if lost and not given.overwrite:
            raise FileExistsError(
                f"{run} holds an earlier run ({', '.join(path.name for path in lost)}): go on with "
                "--ckpt_path last, choose another --name, or start again with --overwrite, which deletes it"
            )
        # Of the logs their files: TensorBoard's writer opens its own before training begins.
        logs = [path for path in (run / LOGS).rglob("*") if path.is_file()]
        self._earlier = [path for path in earlier if path.name != LOGS] + logs
        return None

    def _begin(self) -> None:
        """Make the folder of the run this run's; see `Begin` for when."""
        for path in self._earlier:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.run_folder.mkdir(parents=True, exist_ok=True)
        self._parser("fit").save(
            self.config["fit"], self.run_folder / "config.yaml", overwrite=True, skip_none=False
        )

    def _weights(self, ckpt_path: str | None) -> Path | None:
        """The checkpoint that is scored: the best one unless another is named; "none" for no training."""
        if ckpt_path == "none":
            return None
        if ckpt_path is None:
            best = checkpoint_path(self.run_folder, "best")
            ckpt_path = "best" if best.is_file() else "last"
        return self._own_checkpoint(ckpt_path)

    def _own_checkpoint(self, ckpt_path: str) -> Path:
        if ckpt_path not in ("best", "last"):
            return Path(ckpt_path)
        path = checkpoint_path(self.run_folder, ckpt_path)
        if not path.is_file():
            raise FileNotFoundError(
                f"--ckpt_path {ckpt_path}: there is no {path}; train first with genloc fit, or name "
                "the run with --name"
            )
        return path

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        given = self._get(self.config_init, "trainer")
        callbacks = given["callbacks"] or []
        callbacks = [*(callbacks if isinstance(callbacks, list) else [callbacks])]
        if given["enable_progress_bar"] is not False:
            callbacks.append(Progress())
        self.heatmaps = Heatmaps()
        callbacks.append(Begin(self._begin) if self.subcommand == "fit" else self.heatmaps)
        step = None
        if self.checkpoint is not None:
            step = read_checkpoint(self.checkpoint)["position"]["global_step"]
        logger: Any = given["logger"]
        if logger is None:
            logger = run_loggers(self.run_folder, step) if self.subcommand == "fit" else False
        kwargs |= {
            "callbacks": callbacks,
            "logger": logger,
            "default_root_dir": str(self.run_folder),
            "use_distributed_sampler": False,  # our samplers know the number of processes
        }
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:  # of values that it was given
            asked = ", ".join(
                f"{key} {given[key]}" for key in ("accelerator", "devices", "strategy")
            )
            reason = (str(error).splitlines() or [""])[0]
            raise ValueError(f"trainer ({asked}): {reason}") from error

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        for sigmas in self._get(self.config_init, "scoring").sigmas:
            self.datamodule.skeleton.scored_by(
                sigmas
            )  # before anything runs that could not be scored
        path = None if self.checkpoint is None else str(self.checkpoint)
        return super()._prepare_subcommand_kwargs(subcommand) | {
            "ckpt_path": path,
            "weights_only": True,
        }

    # ------------------------------------------------------------------ around the run

    def after_fit(self) -> None:
        best = None if is_trial(self.trainer) else load_best(self.model, self.run_folder)
        if best is None:
            return
        if self.trainer.is_global_zero:
            write_adapter(self.model, self.datamodule, self.run_folder, best)
        if self.config["fit"].validate_after and "val" in self.datamodule.sources:
            self.checkpoint = best
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
            self._write_outcome("val")

    def after_validate(self) -> None:
        self._write_outcome("val")

    def after_test(self) -> None:
        self._write_outcome("test")

    def _write_outcome(self, name: str) -> None:
        if self.datamodule.episodes is not None:
            if self.trainer.is_global_zero and not is_trial(self.trainer):
                device = self.trainer.strategy.root_device
                write_episode_outcome(
                    self.model, self.datamodule, self.run_folder, name, self.checkpoint, device
                )
            return
        # Both are of all processes, so all must ask.
        records = self.model.scores.records()
        scoring: Scoring = self._get(self.config_init, "scoring")
        skeleton = self.datamodule.skeleton.scored_by(scoring.first)
        of = evaluated(self.datamodule, name, records)
        maps = self.heatmaps.of(crops_to_show(of, skeleton))
        if self.trainer.is_global_zero and not is_trial(self.trainer):
            record = record_of(self.datamodule, name, of, maps, skeleton)
            if record is not None:
                record.write(self.run_folder / RECORD.format(name))
            write_outcome(
                self.model,
                self.datamodule,
                self.run_folder,
                name,
                records,
                self.checkpoint,
                scoring,
            )


def _rank() -> int:
    """Of this process, known before there is a trainer."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def run(arguments: list[str]) -> None:
    """Run `fit`, `validate` or `test` with their arguments.

    Raises:
        ValueError: something in the configuration cannot work, in one sentence.
        OSError: a file or folder is missing or in the way.
        SystemExit: an argument is unknown or of the wrong type.
    """
    for quiet in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    # Meant, and said in the documentation: the frozen parts are in eval mode; few crops need few workers.
    for message in (".*in eval mode at the start of training", ".*does not have many workers"):
        warnings.filterwarnings("ignore", message)
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.")  # inside Lightning
    warnings.filterwarnings("ignore", ".*args parameter is intended to run from within Python")
    try:
        TrainingCLI(arguments)
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        where = getattr(error, "full_key", None)
        raise ValueError(f"configuration: {what}" + (f" (at {where})" if where else "")) from error
