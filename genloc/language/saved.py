"""A trained language model as a folder: what learned, and what it belongs to.

    adapter/
      language.safetensors   the projector and the decoder's LoRA; the whole decoder, if made from scratch
      tokenizer.json         of a decoder made from scratch
      language.yaml          skeleton, prior, decoder, recipe, metrics, checksums

Like every adapter it is checked when it is read, and nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save
from torch import Tensor

from genloc import __version__
from genloc.adapter import (
    LANGUAGE_FILE,
    AdapterError,
    fill,
    plain_values,
    skeleton_of,
    write_whole,
)
from genloc.conditions.descriptions import plain
from genloc.language.decoder import Decoder, DecoderLoRA
from genloc.language.model import KeypointLM
from genloc.models.prior import Prior
from genloc.predictor import KeypointPredictor
from genloc.recipe import read_recipe
from genloc.skeleton import Skeleton

FORMAT = 1
WEIGHTS_FILE = "language.safetensors"
TOKENIZER_FILE = "tokenizer.json"
WANTED = ("format", "prior", "decoder", "model", "skeleton", "recipe", "metrics", "files")


@dataclasses.dataclass(frozen=True)
class LanguageAdapter:
    """What a folder holds, ready to use, on the CPU."""

    model: KeypointLM
    skeleton: Skeleton
    recipe: dict[str, Any]
    metrics: dict[str, Any]


def save_language(
    folder: str | Path,
    *,
    model: KeypointLM,
    skeleton: Skeleton,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Path:
    """Write an adapter and return its folder; whole or not at all.

    Raises:
        ValueError: a model without keypoints, or a tensor that is not finite.
    """
    if model.projector is None:
        raise ValueError("model has no keypoints yet: call ask_for() first")
    learned = _learned(model)
    for name, tensor in learned.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite: this model cannot be used")
    decoder, prior = model.decoder, model.prior
    tensors = {
        name: t.detach().to("cpu", torch.float32).contiguous() for name, t in learned.items()
    }
    files = {WEIGHTS_FILE: save(tensors, {"format": "pt"})}
    if decoder.scratch:
        files[TOKENIZER_FILE] = decoder.tokenizer.backend_tokenizer.to_str().encode()
    source, _, digest = prior.fingerprint().rpartition("@")
    facts = {
        "format": FORMAT,
        "genloc": __version__,
        "prior": {"source": source, "fingerprint": digest, "unet_seed": prior.unet_seed},
        "decoder": {**decoder.facts(), "fingerprint": decoder.fingerprint},
        "model": model.facts() | {"descriptions": plain(model.descriptions)},
        "skeleton": dataclasses.asdict(skeleton),
        "recipe": dict(recipe),
        "metrics": dict(metrics),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    text = yaml.safe_dump(plain_values(facts), sort_keys=False, allow_unicode=True)
    write_whole(Path(folder), files | {LANGUAGE_FILE: text.encode()})
    return Path(folder)


def load_language(
    folder: str | Path, prior: Prior | str | None = None, decoder: str | None = None
) -> LanguageAdapter:
    """Read an adapter, its prior and its decoder.

    Args:
        prior, decoder: where their weights are, if not where the adapter says.

    Raises:
        FileNotFoundError: no adapter there, or no weights that it belongs to.
        AdapterError: files that are not whole, or other weights of prior or decoder.
    """
    folder = Path(folder)
    facts = _facts(folder)
    if not isinstance(prior, Prior):
        prior = Prior(prior or facts["prior"]["source"], unet_seed=facts["prior"].get("unet_seed"))
    digest = prior.load().digest()
    if digest != facts["prior"]["fingerprint"]:
        raise AdapterError(
            f"{folder} was trained on the prior {facts['prior']['source']!r} with fingerprint "
            f"{facts['prior']['fingerprint']}; {prior.source!r} has {digest}. Give prior=<the right ones>."
        )
    try:
        skeleton = skeleton_of(facts["skeleton"])
        given = dict(facts["decoder"])
        wanted = given.pop("fingerprint")
        made = Decoder(
            **given | {"lora": DecoderLoRA(**given["lora"]), "source": decoder or given["source"]}
        )
        model = KeypointLM(prior, made, **facts["model"])
    except (TypeError, ValueError, KeyError) as error:
        raise AdapterError(f"{folder / LANGUAGE_FILE} is not valid: {error!r}") from error
    tokenizer = folder / TOKENIZER_FILE if made.scratch else None
    if tokenizer is not None and not tokenizer.is_file():
        raise AdapterError(f"{folder} lacks {TOKENIZER_FILE}: copy the whole folder again")
    model.ask_for(skeleton, tokenizer=tokenizer)
    if made.fingerprint != wanted:
        raise AdapterError(
            f"{folder} was trained on a decoder with fingerprint {wanted}; {made.source!r} has "
            f"{made.fingerprint}: other weights, on which it means nothing"
        )
    fill(_learned(model), folder, WEIGHTS_FILE, facts)
    return LanguageAdapter(model, skeleton, facts["recipe"], facts["metrics"])


def language_predictor(
    folder: str | Path,
    *,
    prior: Prior | str | None = None,
    decoder: str | None = None,
    batch_size: int = 8,
    device: str = "auto",
) -> KeypointPredictor:
    """A predictor that asks an adapter's language model. Raises as `load_language`."""
    adapter = load_language(folder, prior, decoder)
    file = Path(folder) / LANGUAGE_FILE
    wanted = ("crop_size", "padding")  # it says points, so there is nothing to decode
    recipe = read_recipe(adapter.recipe, file, adapter.model, wanted=wanted)
    return KeypointPredictor(
        adapter.model,
        None,
        adapter.skeleton,
        crop_size=recipe.crop_size,
        padding=recipe.padding,
        batch_size=batch_size,
        device=device,
    )  # fmt: skip


def _learned(model: KeypointLM) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _facts(folder: Path) -> dict[str, Any]:
    file = folder / LANGUAGE_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder} holds no language model: there is no {LANGUAGE_FILE}. Give the folder that training "
            "wrote (runs/language/adapter)."
        )
    try:
        facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AdapterError(f"{file} is not yaml: {error}") from error
    lacking = [name for name in WANTED if not isinstance(facts, dict) or name not in facts]
    if lacking or facts["format"] != FORMAT:
        raise AdapterError(
            f"{file} lacks {lacking}: not a whole {LANGUAGE_FILE}"
            if lacking
            else f"{file} has format {facts['format']!r}; this is genloc {__version__}, which reads {FORMAT}"
        )
    return facts
