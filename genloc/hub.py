"""Sharing adapters on the Hugging Face hub: safetensors of some MB, yaml and a model card."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from genloc.adapter import (
    CARD_FILE,
    CONDITION_FILE,
    FACTS_FILE,
    LORA_FILE,
    read_facts,
    write_whole,
)
from genloc.card import STEPS, is_hub_id, model_card, own_numbers

FILES = (FACTS_FILE, CARD_FILE, CONDITION_FILE, LORA_FILE)


def fetch_adapter(folder_or_hub_id: str | Path, *, revision: str | None = None) -> Path:
    """The folder of an adapter: the one that was named, or what the hub's cache holds of it.

    Only an adapter's own files are fetched; nothing else in a repository is looked at.

    Args:
        folder_or_hub_id: a folder, or "owner/name"; a folder of that name comes first.
        revision: branch, tag or commit on the hub.

    Raises:
        FileNotFoundError: neither is there; the message says where it looked.
    """
    folder = Path(folder_or_hub_id).expanduser()
    name = str(folder_or_hub_id)
    if folder.is_dir():
        return folder
    if not is_hub_id(name) or isinstance(folder_or_hub_id, Path):
        raise FileNotFoundError(
            f"no adapter: there is no folder {folder.absolute()}. Give the folder that training wrote "
            "(runs/<name>/adapter), or owner/name on the hub."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's client, its HTTP library and the OS raise a dozen kinds
        reason = (str(error).splitlines() or [""])[0]
        raise FileNotFoundError(
            f"no adapter {name!r}: there is no such folder in {Path.cwd()}, and the hub "
            f"({os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}) gave none: "
            f"{type(error).__name__}: {reason}"
        ) from None


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    base_model: str | None = None,
    outcome: str | Path | None = None,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Upload an adapter with its model card. Returns its address.

    Args:
        folder: of the adapter, which stays as it is.
        repo_id: "owner/name"; made where it does not exist.
        base_model: hub id of the same weights, for an adapter whose prior was read from a folder or file of
            this machine: others could not find it under that name. Its fingerprint is still checked on loading.
        outcome: `metrics.json` of the run, for the card; None takes the one beside the folder if it was made
            with these weights.
        private: as the hub understands it. token: of the hub; None for the one that is logged in.

    Raises:
        FileNotFoundError, AdapterError: no whole adapter there.
        ValueError: repo_id is no "owner/name", the prior is a local path and no base_model was given, or
            outcome belongs to other weights.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    if not is_hub_id(repo_id):
        raise ValueError(f"repo_id is {repo_id!r}, expected owner/name")
    if base_model is not None:
        facts["prior"]["source"] = base_model
    source = facts["prior"]["source"]
    if source != "tiny" and not is_hub_id(source):
        raise ValueError(
            f"base_model: this adapter's prior is {source!r} on this machine, where nobody else finds it; give "
            "the hub id of the same weights, such as 'stable-diffusion-v1-5/stable-diffusion-v1-5'"
        )
    numbers = _outcome(folder, facts, outcome)
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as copy:
        files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}
        files[CARD_FILE] = model_card(facts, numbers).encode()
        files[FACTS_FILE] = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).encode()
        write_whole(Path(copy), files)
        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id, folder_path=copy, commit_message=f"GenLoc {facts['genloc']} adapter"
        )
    return f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/{repo_id}"


def _outcome(
    folder: Path, facts: dict[str, Any], given: str | Path | None
) -> dict[str, Any] | None:
    """The run's numbers, where they were made with the weights of this adapter."""
    path = folder.absolute().parent / "metrics.json" if given is None else Path(given)
    if not path.is_file():
        if given is not None:
            raise FileNotFoundError(f"outcome: no file {path.absolute()}")
        return None
    try:
        fits = own_numbers(facts, json.loads(path.read_bytes()))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"outcome: {path} is no metrics.json of a run: {error!r}") from None
    if given is not None and not fits:
        raise ValueError(
            f"outcome: no numbers in {path} were made with the weights after step {facts['recipe'].get(STEPS)}, "
            "which are this adapter's; genloc test makes them"
        )
    return fits or None
