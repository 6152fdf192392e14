"""Single files of a prior's weights: tensors, configurations and the text encoder.

A file that is broken is one `ValueError` that names it and says what to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn


def read_config(file: Path) -> dict[str, Any]:
    """The object in a json file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not json, or not an object.
    """
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:  # also UnicodeDecodeError
        raise ValueError(f"{file} is not a json file ({error}); fetch it again") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ValueError(f"{file} holds a {kind}, expected an object; fetch it again")
    return content


def read_tensors(file: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file whose names begin with one of `prefixes`.

    Raises:
        ValueError: it is broken, or has no such tensor.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            state = {name: opened.get_tensor(name) for name in names if name.startswith(prefixes)}
    except SafetensorError as error:
        raise ValueError(
            f"{file} is not a whole .safetensors file ({error}); fetch it again"
        ) from error
    if not state:
        raise ValueError(
            f"{file} has no tensor named {prefixes[0]}*; its names begin like {sorted(names)[:3]}. "
            "Wanted: a whole checkpoint with the original (CompVis) key names."
        )
    return state


def read_text_encoder(config: Path, file: Path, prefix: str = "") -> nn.Module:
    """CLIP's text encoder, whose names have lost "text_model." in transformers 5.6.

    Args:
        config: folder of its config.json.
        file, prefix: of its tensors, see `read_tensors`.

    Raises:
        ValueError: one of the two files is broken, or they do not belong together.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    read_config(config / "config.json")  # transformers' error for a broken one looks like a bug
    encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(config))
    start = "text_model." if hasattr(encoder, "text_model") else ""
    state = {
        start + name.removeprefix(prefix).removeprefix("text_model."): tensor.float()
        for name, tensor in read_tensors(file, (prefix,)).items()
        if not name.endswith("position_ids")  # a buffer in old files
    }
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{file}: its text encoder does not fit {config}: {error}") from error
    return encoder.eval()
