"""What a training's key holds of its configuration beside row and data, and what it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.tables.data import whole
from tools.tables.definitions import PRIOR
from tools.tables.recipe import digest, learned, look_up

SOURCE = f"{PRIOR}.source"
UNET_SEED = f"{PRIOR}.unet_seed"
WEIGHTS = "model.model.init_args.weights"
"""Trained weights that a rival starts from: a folder or hub id; None for random ones."""


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that change what is learned; of weights in a folder, what is in them."""
    found = learned(config)
    if (weights := look_up(found, WEIGHTS)) is not None and Path(weights).is_dir():
        files = sorted(path for path in Path(weights).iterdir() if path.is_file())
        found["model"]["model"]["init_args"]["weights"] = digest(
            [(p.name, whole(p)) for p in files]
        )
    return found


def unusual(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """What overlays may say of data and chance, where they do.

    Args:
        root: folder of the data.
    """
    found: dict[str, Any] = {}
    for part in ("train", "val"):
        if only := selection(config, part, root):
            found[f"{part} only"] = only
    for seed in ("data.seed", "model.seed"):
        if (own := look_up(config, seed)) != look_up(config, "seed_everything"):
            found[seed] = own
    batch = look_up(config, "data.batch_size")
    others = not str(look_up(config, "model.model.class_path")).startswith("genloc.models.genloc")
    if others and batch != look_up(config, "data.effective_batch"):
        found["batch"] = batch  # batch normalisation sees it
    return found


def started_from(config: Mapping[str, Any]) -> str:
    """What a training starts from, in words."""
    if look_up(config, UNET_SEED) is not None:
        return "random weights behind the prior's encoder"
    if look_up(config, SOURCE) is not None:
        return "the prior"
    return look_up(config, WEIGHTS) or "random weights"


def selection(config: Mapping[str, Any], part: str, root: Path) -> dict[str, Any]:
    """Which records of a set are taken, and whose boxes: files by what is in them."""
    spec = look_up(config, f"data.{part}") or {}
    found: dict[str, Any] = {}
    for name in ("image_ids", "annotation_ids", "exclude", "detections"):
        if (value := spec.get(name)) is not None:
            path = root / value if isinstance(value, str) else None
            found[name] = whole(path) if path is not None and path.is_file() else value
    return found
