"""Weights that are absent or broken: one error that names the file and every place that was looked at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genloc.models import Prior
from tests.make_prior import tiny_modules, write_folder, write_single_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "prior", tiny_modules(depth=1))


def test_a_missing_folder_that_could_be_a_hub_id_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    looked = f"the folder {tmp_path / 'models' / 'sd15'} (not there); the local cache"
    with pytest.raises(FileNotFoundError, match=re.escape(looked)):
        Prior("models/sd15").load()


BROKEN = ["{", "[1]", "\xff"]


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize(
    "name",
    [
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ],
)
def test_a_broken_json_in_a_folder_is_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_bytes(content.encode("latin-1"))
    part = folder / (name if "tokenizer" not in name else "tokenizer")
    with pytest.raises(ValueError, match=re.escape(str(part)) + ".*fetch it again"):
        Prior(str(folder)).load().encode_text(["dog"])


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_json_beside_a_single_file_is_named(
    folder: Path, tmp_path: Path, content: str
) -> None:
    file = write_single_file(tmp_path / "model.safetensors", tiny_modules(depth=1))
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(str(scheduler)) + ".*fetch it again"):
        Prior(str(file), config=str(folder)).load()
