"""The tokenizer that belongs to a prior's text encoder, read from a folder and checked against the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WHAT_TO_DO = "give the folder of the model's own (tokenizer.json, or vocab.json and merges.txt)"


def read_tokenizer(folder: str | Path | None) -> Any | None:
    """The tokenizer in `folder`; None where there is no folder.

    Raises:
        ValueError: the folder holds no tokenizer that can be read.
    """
    if folder is None or not (path := Path(folder).expanduser()).is_dir():
        return None
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # transformers and tokenizers each raise their own kinds
        reason = " ".join(str(error).split())[:100]
        raise ValueError(
            f"tokenizer: {path} holds none that can be read ({reason}); fetch it again, or {WHAT_TO_DO}"
        ) from error
    # From a tokenizer_config.json alone transformers makes one without words.
    if not set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids):
        raise ValueError(f"tokenizer: {path} holds none with words; {WHAT_TO_DO}")
    return tokenizer


def given_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a folder that was asked for.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: as `read_tokenizer`.
    """
    if (found := read_tokenizer(folder)) is None:
        where = Path(folder).expanduser().absolute()
        raise FileNotFoundError(f"tokenizer: no folder {where}; {WHAT_TO_DO}")
    return found


def check_vocabulary(tokenizer: Any, encoder: Any, source: str) -> None:
    """Refuse a tokenizer of another model, as far as its size tells.

    Args:
        tokenizer: of transformers.
        encoder: the text encoder that is given its numbers.
        source: of the prior, for messages.

    Raises:
        ValueError: it numbers more tokens than the encoder knows.
    """
    largest, known = max(tokenizer.get_vocab().values()), encoder.config.vocab_size
    if largest >= known:
        raise ValueError(
            f"tokenizer: {tokenizer.name_or_path} numbers tokens up to {largest}, the text encoder of "
            f"{source!r} knows {known}, from 0; give the tokenizer that belongs to the model"
        )
