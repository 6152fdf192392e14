"""A tokenizer folder that is given and cannot be used is named, before anything is asked for by words."""

from __future__ import annotations

from pathlib import Path

import pytest

from genloc.models.prior import Prior
from tests.make_prior import tiny_modules, word_tokenizer, write_folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A prior without a tokenizer."""
    return str(write_folder(tmp_path_factory.mktemp("bare"), tiny_modules(), tokenizer=False))


def test_a_folder_that_is_not_there(bare: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer: no folder .*/none; give the folder"):
        Prior(bare, tokenizer=str(tmp_path / "none")).load()
    word_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tokenizer: no folder .*tokenizer\.json; give"):
        Prior(bare, tokenizer=str(tmp_path / "tokenizer.json")).load()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (None, ""),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", '{"tokenizer_class": "CLIPTokenizer"}'),
    ],
)
def test_a_folder_without_a_tokenizer_that_can_be_read(
    bare: str, tmp_path: Path, name: str | None, text: str
) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    if name is not None:
        (folder / name).write_text(text)
    with pytest.raises(
        ValueError, match=r"tokenizer: .*/words holds none (that can be read|with words)"
    ) as said:
        Prior(bare, tokenizer=str(folder)).load()
    assert "\n" not in str(said.value)


def test_a_tokenizer_of_another_model_is_refused(bare: str, tmp_path: Path) -> None:
    """Its numbers mean other words to this encoder, or none."""
    larger = word_tokenizer()
    larger.add_tokens(["zebra", "yak"])
    larger.save_pretrained(tmp_path / "larger")
    prior = Prior(bare, tokenizer=str(tmp_path / "larger")).load()
    message = r"numbers tokens up to 31, .*encoder .*knows 30.*belongs to the model"
    with pytest.raises(ValueError, match=message) as said:
        prior.encode_text(["dog"])
    assert str(tmp_path / "larger") in str(said.value)
    with pytest.raises(ValueError, match=message):
        prior.null_context()


def test_a_folder_below_home(bare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    word_tokenizer().save_pretrained(tmp_path / "words")
    assert Prior(bare, tokenizer="~/words").load().encode_text(["dog"]).shape == (1, 24)
