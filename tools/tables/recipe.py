"""What a training is, resolved: every fact after configuration and overlays, and the key that names it."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from genloc.card import prior_has_seen, prior_training

ASIDE = (
    *("name", "runs", "overwrite", "ckpt_path", "seed_everything", "pictures", "checkpoints"),
    *("data.root", "data.num_workers", "data.batch_size", "data.seed", "model.seed"),
    *("data.train", "data.val", "data.test", "data.split"),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "strategy", "num_nodes", "logger")),
    *(f"trainer.{name}" for name in ("callbacks", "enable_progress_bar", "default_root_dir")),
    *("trainer.max_epochs", "trainer.check_val_every_n_epoch", "trainer.log_every_n_steps"),
    "model.model.init_args.prior.init_args.source",
)
"""Facts that do not change what is learned, or that the key holds in another form (content instead of paths)."""


class _ResolvedError(Exception):
    """Carries a configuration out of the command line's parser."""


@cache
def _resolved(files: tuple[str, ...], facts: str) -> str:
    from genloc.training.command import TrainingCLI

    class Resolve(TrainingCLI):
        def before_instantiate_classes(self) -> None:
            text = self._parser("fit").dump(self.config["fit"], format="json")
            raise _ResolvedError(text)

    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as said:
        overlay = Path(folder) / "facts.yaml"
        write_overlay(overlay, json.loads(facts))
        arguments = [word for file in (*files, str(overlay)) for word in ("--config", file)]
        try:
            warnings.filterwarnings("ignore", ".*args parameter is intended to run from within")
            Resolve(["fit", *arguments])
        except _ResolvedError as found:
            return str(found)
        except SystemExit as error:
            lines = said.getvalue().strip().splitlines()
            raise ValueError(f"{' '.join(files)}: {' '.join(lines[-3:])}") from error
    raise AssertionError("the command line went on without asking")


def resolve(files: Sequence[str | Path], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration of `genloc fit`, as it would be saved beside a run.

    Args:
        files: configuration and overlays, in their order.
        facts: further facts by dotted key.

    Raises:
        ValueError: it cannot be read.
    """
    text = _resolved(tuple(map(str, files)), json.dumps(dict(facts), sort_keys=True))
    return json.loads(text)


def learned(config: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a configuration that change what is learned."""
    kept = copy.deepcopy(dict(config))
    for path in ASIDE:
        *above, last = path.split(".")
        node: Any = kept
        for name in above:
            node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return kept


def look_up(config: Mapping[str, Any], path: str) -> Any:
    """A fact by its dotted key; None where there is none."""
    node: Any = config
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def nested(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys to an object of objects."""
    found: dict[str, Any] = {}
    for path, value in facts.items():
        *above, last = path.split(".")
        node = found
        for name in above:
            node = node.setdefault(name, {})
        node[last] = value
    return found


def write_overlay(path: Path, facts: Mapping[str, Any]) -> None:
    """A configuration file of these facts."""
    part = path.with_suffix(".part")
    part.write_text(yaml.safe_dump(nested(facts), sort_keys=False), encoding="utf-8")
    part.replace(path)


def digest(facts: Any) -> str:
    """10 hex digits of plain values."""
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@cache
def fingerprint(source: str) -> str:
    """Of a prior's weights, whatever file they came from. Reads them.

    Raises:
        FileNotFoundError, ValueError: as `Prior.load` says it.
    """
    from genloc.models.prior import Prior

    return Prior(source, dtype="fp32").load().digest()


def what_it_has_seen(source: str) -> str:
    """What a prior was trained on, from the `training.json` beside it."""
    facts = prior_training(source)
    if not facts:
        return f"not known: {source} has no training.json"
    amount = ", ".join(f"{facts[k]:,} {k}" for k in ("pictures", "views", "steps") if k in facts)
    seen = prior_has_seen(source) or "what its training.json does not say"
    return f"{seen} ({amount}; {facts.get('note', 'no note')})"
