"""A trained localizer as a folder of some MB: the one reader and writer of it.

    adapter/
      pytorch_lora_weights.safetensors   LoRA in diffusers' format: pipe.load_lora_weights(folder)
      conditions.safetensors             what to look for, [K, C] fp32
      genloc.yaml                        skeleton, prior, model, recipe, metrics, checksums
      README.md                          model card

Reading verifies names, shapes, finiteness, prior and skeleton itself: diffusers only warns about
tensors that do not fit, or loads nothing. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from genloc import __version__
from genloc.card import model_card, own_numbers
from genloc.conditions import saved
from genloc.models.genloc import GenLoc
from genloc.models.lora import ADAPTER, LoRA, lora_layers, lora_parameters
from genloc.models.prior import Prior
from genloc.skeleton import Skeleton

FORMAT = 1
LORA_FILE = "pytorch_lora_weights.safetensors"  # the name diffusers looks for
CONDITION_FILE = "conditions.safetensors"
FACTS_FILE = "genloc.yaml"
LANGUAGE_FILE = "language.yaml"  # instead of it, in a language model's folder
CARD_FILE = "README.md"
SWITCHES = ("context", "read_out", "layers", "finer", "timestep", "noise")
LATER = {"finer": 1}
"""Switches that adapters written before them lack, as they were then."""


def switches_of(model: Any) -> dict[str, Any]:
    """How a `GenLoc` reads: the arguments that its weights do not tell, by name."""
    return {name: getattr(model, name) for name in SWITCHES}


class AdapterError(ValueError):
    """A folder that is not a whole adapter, or not one of this prior."""


@dataclasses.dataclass(frozen=True)
class Adapter:
    """What a folder holds, ready to use: the model on the CPU, prior loaded."""

    model: GenLoc
    condition: Any  # built; one of genloc.conditions
    skeleton: Skeleton
    recipe: dict[str, Any]
    metrics: dict[str, Any]


def save_adapter(
    folder: str | Path,
    *,
    model: GenLoc,
    condition: Any,
    skeleton: Skeleton,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Path:
    """Write an adapter and return its folder; other files in it are left alone.

    Every file is written beside its place and moved there when all are whole, `genloc.yaml` with
    the checksums last: an interruption leaves the old adapter, or one that reading refuses.

    Args:
        recipe: what it takes to use and judge it (crop size, padding, decoding, training set, ...).
        metrics: its results and their protocol. Both: plain values, lists and dicts of them.

    Raises:
        ValueError: a model that has not been loaded or whose U-Net was trained itself, conditions
            that do not belong to the skeleton, or a tensor that is not finite.
        TypeError: a value in recipe or metrics that yaml cannot hold.
    """
    if not model.layer_names:
        raise ValueError("model has no weights yet: call load() first")
    if model.train_unet:
        raise ValueError("model has train_unet=True: its weights do not fit in an adapter")
    prior = model.prior
    saved.check_condition(condition, skeleton, prior.condition_channels)
    learned = saved.condition_tensors(condition)
    files = {CONDITION_FILE: save({k: _cpu(v) for k, v in learned.items()}, {"format": "pt"})}
    lora = _lora_tensors(model)
    if lora:
        files[LORA_FILE] = save({k: _cpu(v) for k, v in lora.items()}, _lora_metadata(model))
    for name, tensor in {**{f"conditions: {k}": v for k, v in learned.items()}, **lora}.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite: this model cannot be used")
    source, _, digest = prior.fingerprint().rpartition("@")
    facts = {
        "format": FORMAT,
        "genloc": __version__,
        "prior": {"source": source, "fingerprint": digest, "unet_seed": prior.unet_seed},
        "model": switches_of(model)
        | {"lora": dataclasses.asdict(model.lora) if lora and model.lora else None},
        "condition": saved.condition_facts(condition),
        "skeleton": dataclasses.asdict(skeleton),
        "recipe": dict(recipe),
        "metrics": dict(metrics),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    facts = plain_values(facts)
    files[CARD_FILE] = model_card(facts).encode()
    files[FACTS_FILE] = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).encode()
    folder = Path(folder)
    write_whole(folder, files)
    if not lora:  # an adapter of conditions alone over an older one: its LoRA must not stay
        (folder / LORA_FILE).unlink(missing_ok=True)
    return folder


def refresh_card(folder: str | Path, outcome: Mapping[str, Any]) -> None:
    """Write the model card anew, with the numbers that were made with these weights.

    Args:
        outcome: the run's `metrics.json`.

    Raises:
        FileNotFoundError, AdapterError: no whole adapter there.
    """
    facts = read_facts(Path(folder))
    card = model_card(facts, own_numbers(facts, outcome))
    write_whole(Path(folder), {CARD_FILE: card.encode()})


def load_adapter(folder: str | Path, prior: Prior | str | None = None) -> Adapter:
    """Read an adapter and the prior it belongs to.

    Args:
        prior: a `Prior` no other model uses, or its source; None: the source that the adapter names.

    Raises:
        FileNotFoundError: no adapter there, or no weights of its prior.
        AdapterError: files that are not whole or do not belong together, tensors that are missing,
            too many, of another shape or not finite, another prior or a broken skeleton.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    skeleton = _checked(folder, "skeleton", lambda: skeleton_of(facts["skeleton"]))
    switches = dict(_checked(folder, "model", lambda: {n: facts["model"][n] for n in SWITCHES}))
    lora = facts["model"].get("lora")
    switches["lora"] = _checked(folder, "model.lora", lambda: LoRA(**lora) if lora else None)

    if not isinstance(prior, Prior):
        prior = Prior(prior or facts["prior"]["source"], unet_seed=facts["prior"].get("unet_seed"))
    digest = prior.load().digest()
    if digest != facts["prior"]["fingerprint"]:
        raise AdapterError(
            f"{folder} was trained on the prior {facts['prior']['source']!r} with fingerprint "
            f"{facts['prior']['fingerprint']}; {prior.source!r} has {digest}: other weights, on which "
            "it means nothing. Give prior=<the source of the right ones>."
        )
    model = _checked(folder, "model", lambda: GenLoc(prior, **switches))
    model.load()
    given = (facts["condition"], skeleton, prior.condition_channels, prior.text)
    condition = _checked(folder, "condition", lambda: saved.make_condition(*given))
    fill(saved.condition_tensors(condition), folder, CONDITION_FILE, facts)
    fill(_lora_tensors(model), folder, LORA_FILE, facts)
    return Adapter(model, condition, skeleton, facts["recipe"], facts["metrics"])


def _lora_tensors(model: GenLoc) -> dict[str, Tensor]:
    """LoRA parameters by the names diffusers gives them in a file."""
    return {
        "unet." + name.replace(f".{ADAPTER}.", "."): parameter
        for name, parameter in lora_parameters(model.prior.unet)
    }


def _lora_metadata(model: GenLoc) -> dict[str, str]:
    """What diffusers needs besides the tensors: without it, it takes alpha for the rank."""
    assert model.lora is not None
    config = {
        "unet.r": model.lora.rank,
        "unet.lora_alpha": model.lora.alpha,
        "unet.rank_pattern": {},  # diffusers 0.37 looks it up
        "unet.target_modules": lora_layers(model.prior.unet),
    }
    return {"format": "pt", "lora_adapter_metadata": json.dumps(config)}


def _cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()


def read_facts(folder: Path) -> dict[str, Any]:
    """The content of an adapter's `genloc.yaml`, with all its parts.

    Raises:
        FileNotFoundError: no adapter there.
        AdapterError: it is not whole, or a language model's.
    """
    file = folder / FACTS_FILE
    if (folder / LANGUAGE_FILE).is_file():
        raise AdapterError(
            f"{folder} holds a language model, which has no maps: only genloc predict --adapter {folder} and "
            "genloc.language.saved.language_predictor() read it. Here give an adapter of another configuration."
        )
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder} holds no adapter: there is no {FACTS_FILE}. Give the folder that training "
            "wrote (runs/<name>/adapter)."
        )
    try:
        facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AdapterError(f"{file} is not yaml: {error}") from error
    wanted = {"format", "prior", "model", "condition", "skeleton", "recipe", "metrics", "files"}
    lacking = sorted(wanted - facts.keys()) if isinstance(facts, dict) else sorted(wanted)
    if lacking:
        raise AdapterError(f"{file} lacks {lacking}: not a whole {FACTS_FILE}")
    if facts["format"] != FORMAT:
        raise AdapterError(
            f"{file} has format {facts['format']!r}, written by genloc {facts.get('genloc')}; this "
            f"is genloc {__version__}, which reads format {FORMAT}"
        )
    if isinstance(facts["model"], dict):
        facts["model"] = LATER | facts["model"]
    for part, names in (("prior", ("source", "fingerprint")), ("model", SWITCHES), ("files", ())):
        if not isinstance(facts[part], dict) or not facts[part].keys() >= set(names):
            raise AdapterError(f"{file}: {part} must hold {list(names)}, got {facts[part]!r}")
    return facts


def _read_tensors(
    folder: Path, name: str, wanted: dict[str, tuple[int, ...]], facts: dict[str, Any]
) -> dict[str, Tensor]:
    file = folder / name
    if not file.is_file():
        raise AdapterError(f"{folder} lacks {name}: copy the whole folder again")
    content = file.read_bytes()
    try:
        found = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise AdapterError(f"{file} is not a whole safetensors file: {error}") from error
    problems = []
    for what, names in (("lacks", wanted.keys() - found), ("has too much:", found.keys() - wanted)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{what} {', '.join(sorted(names)[:3])}{more}")
    for key in sorted(wanted.keys() & found):
        tensor, shape = found[key], wanted[key]
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
            got = f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
            problems.append(f"{key} is {got}, expected {shape} float32")
        elif not torch.isfinite(tensor).all():
            problems.append(f"{key} holds values that are not finite")
    if problems:
        raise AdapterError(f"{file} does not fit this model: {'; '.join(problems[:5])}")
    if hashlib.sha256(content).hexdigest() != facts["files"].get(name):
        raise AdapterError(
            f"{file} is not the file that {FACTS_FILE} was written with (an interrupted save, a mix "
            "of two adapters, or an edited file): copy or save the whole folder again"
        )
    return found


def fill(own: dict[str, Tensor], folder: Path, name: str, facts: dict[str, Any]) -> None:
    """Copy a file's tensors into those of the model that have their names."""
    if own:
        found = _read_tensors(folder, name, {n: tuple(t.shape) for n, t in own.items()}, facts)
        with torch.no_grad():
            for key, tensor in own.items():
                tensor.copy_(found[key])


def skeleton_of(facts: dict[str, Any]) -> Skeleton:
    return Skeleton(
        name=str(facts["name"]),
        keypoints=tuple(str(name) for name in facts["keypoints"]),
        edges=tuple((int(a), int(b)) for a, b in facts["edges"]),
        flip_pairs=tuple((int(a), int(b)) for a, b in facts["flip_pairs"]),
        sigmas=tuple(float(sigma) for sigma in facts["sigmas"]),
        upper_body=tuple(int(index) for index in facts["upper_body"]),
    )


def _checked(folder: Path, part: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (TypeError, ValueError, KeyError) as error:
        raise AdapterError(f"{folder / FACTS_FILE}: {part} is not valid: {error!r}") from error


def plain_values(facts: dict[str, Any]) -> dict[str, Any]:
    """The same with lists for tuples and Python's numbers for numpy's, as yaml can hold it."""

    def default(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        if hasattr(value, "item"):  # numpy's and torch's scalars
            return value.item()
        raise TypeError(
            f"{value!r} is a {type(value).__name__}; expected plain values, lists or dicts"
        )

    return json.loads(json.dumps(facts, default=default))


def write_whole(folder: Path, files: dict[str, bytes]) -> None:
    """Write files beside their places and move them there, in order, when all are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    try:
        for name, content in files.items():
            with beside[name].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:  # genloc.yaml is the last
            os.replace(beside[name], folder / name)
    finally:
        for path in beside.values():
            path.unlink(missing_ok=True)
