"""What each row of a table is: its configuration files, and every fact that its training does not share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.tables.cell import Cell
from tools.tables.definitions import GENLOC, METHODS
from tools.tables.plan import CONFIGS
from tools.tables.recipe import learned, look_up, resolve

SAID_OF_TESTS = ("flip_test", "decoding", "crop_size", "padding")
RATES = ("lr", "lr_lora", "lr_condition")
TOLD = (
    *("effective_batch", "augmentation", "schedule", "warmup", "weight_decay", "gradient_clip_val"),
    *("sigma", "read_out", "layers", "finer", "context", "timestep", "noise", "lora"),
    *("condition", "init", "loss", "reduction", "U-Net"),
)
"""Of every row; all others are said only where rows differ in them."""


def configurations(cells: Iterable[Cell]) -> dict[str, tuple[Cell, dict[str, Any]]]:
    """Row -> its first cell, and the resolved configuration of that cell's training."""
    found: dict[str, tuple[Cell, dict[str, Any]]] = {}
    for cell in cells:
        if cell.row not in found:
            found[cell.row] = (cell, resolve(cell.training.files, cell.training.facts))
    return found


def rows(configs: Mapping[str, tuple[Cell, Mapping[str, Any]]]) -> list[str]:
    """What each row is: its configuration files, and every fact that its training does not share with most.

    Args:
        configs: of `configurations`.
    """
    if not configs:
        return []
    files = {row: [shown(f) for f in cell.training.files] for row, (cell, _) in configs.items()}
    shared = [f for f in next(iter(files.values())) if all(f in own for own in files.values())]
    general = {row: _general(config) for row, (_, config) in configs.items()}
    network = {row: _network(config) for row, (_, config) in configs.items()}
    most = _most(list(general.values()))
    ours = [net for net in network.values() if net["class"] == "GenLoc"]
    usual = _most(ours)
    otherwise = "unless it says otherwise"
    lines = [
        f"every row, {otherwise}: {', '.join(shared)}: {_said(_told(most, list(general.values())))}"
    ]
    if usual:
        lines.append(f"every row of GenLoc, {otherwise}: {_said(_told(usual, ours))}")
    for row in configs:
        alike = usual if network[row]["class"] == "GenLoc" else {}
        mine, reference = {**network[row], **general[row]}, {**alike, **most}
        # Another kind of network or condition simply lacks the arguments of the usual one.
        same = alike if alike.get("condition") == mine.get("condition") else {}
        other = {
            k: value
            for k in dict.fromkeys((*mine, *same, *most))
            if (value := mine.get(k, "null")) != reference.get(k, "null")
        }
        parts = [", ".join(f for f in files[row] if f not in shared), _said(other)]
        if text := ": ".join(part for part in parts if part):
            lines.append(f"{row}: {text}")
    return lines


def _general(config: Mapping[str, Any]) -> dict[str, str]:
    """Facts of a training but for its network, its data and its rates."""
    kept = learned(config)
    model = {k: v for k, v in kept["model"].items() if k not in ("model", "condition", "loss")}
    found = {**kept["data"], **model, **kept["trainer"]}
    away = (*SAID_OF_TESTS, *RATES, "lora_ratio", "precision")
    return {k: spoken_value(v) for k, v in found.items() if k not in away}


def _network(config: Mapping[str, Any]) -> dict[str, str]:
    """Facts of a network, its conditions and its loss."""
    kept = learned(config)["model"]
    arguments = dict(kept["model"].get("init_args", {}))
    prior = arguments.pop("prior", {}).get("init_args", {})
    name = kept["model"]["class_path"].rpartition(".")[2]
    found = {"class": name}
    if name == "GenLoc":  # what is not set is left out of a resolved configuration
        found |= {"context": "null", "lora": "null"}
    found |= {k: spoken_value(v) for k, v in arguments.items()}
    if "prior" in kept["model"].get("init_args", {}):
        found["U-Net"] = "of random weights" if "unet_seed" in prior else "of the prior"
    for part in ("condition", "loss"):
        if (value := kept.get(part)) is not None:
            found[part] = value["class_path"].rpartition(".")[2]
            found |= {k: spoken_value(v) for k, v in value.get("init_args", {}).items()}
    return found


def _most(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Of every fact the value that most have; of equally many the first."""
    keys = dict.fromkeys(k for found in each for k in found)
    return {k: Counter(found.get(k, "null") for found in each).most_common(1)[0][0] for k in keys}


def _told(most: Mapping[str, str], each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    differ = [k for k in most if len({found[k] for found in each if k in found}) > 1]
    return {k: most[k] for k in dict.fromkeys((*TOLD, *differ)) if k in most}


def _said(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def spoken_value(value: Any) -> str:
    """A fact of a configuration as yaml would have it, short."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        each = {k: spoken_value(v) for k, v in value.items()}
        return f"({', '.join(f'{k} {said}' for k, said in each.items() if said != '0')})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(spoken_value, value))}]"
    return str(value)


def acting_rates(method: str, config: Mapping[str, Any]) -> dict[str, float]:
    """The rates that act in a training, by their keys in the configuration.

    Args:
        method: of `METHODS`. config: resolved.
    """
    lora = (f"{GENLOC}.lora", "model.condition.init_args.encoder_rank")
    acts = {
        METHODS[method].rate: METHODS[method].rate != "model.lr_lora",
        "model.lr_lora": any(look_up(config, key) for key in lora),
        "model.lr_condition": look_up(config, "model.condition") is not None,
    }
    return {key: look_up(config, key) for key, does in acts.items() if does}


def shown(path: str | Path) -> str:
    """A path as it was given, or without the folders of this machine."""
    given = Path(path)
    if not given.is_absolute():
        return str(path)
    above = CONFIGS.parent
    return str(given.relative_to(above)) if given.is_relative_to(above) else given.name
