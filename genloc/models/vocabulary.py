"""Which words a prior has never read, by its tokenizer alone.

A byte-pair vocabulary that was made until nothing was left to merge has one token for each word of
its texts, so a word of several tokens was not among them; then every piece from within a word is
itself part of a longer one. One that stopped at a size, as CLIP's 49,408, leaves pieces over
("winter" without an end of word), and puts words that it did read together from several tokens:
of those nothing can be said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any


def unread_words(tokenizer: Any, texts: Sequence[str]) -> tuple[str, ...]:
    """Words of the texts that the tokenizer's texts had not, each once, in their order.

    Args:
        tokenizer: of transformers.
        texts: phrases.

    Returns:
        those that it has no token for; where its vocabulary holds whole words, also those that fall to
        pieces. A mistyped word is among them unless it happens to be a piece.
    """
    whole = holds_whole_words(tokenizer)
    unknown = {tokenizer.unk_token_id, *tokenizer.all_special_ids}
    found = []
    for word in dict.fromkeys(re.findall(r"[^\W\d_]+", " ".join(texts))):
        ids = tokenizer(word, add_special_tokens=False).input_ids
        if not ids or unknown & set(ids) or (whole and len(ids) > 1):
            found.append(word)
    return tuple(found)


def holds_whole_words(tokenizer: Any) -> bool:
    """Whether each word that the tokenizer was made from is one token; False where that cannot be told."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    model = json.loads(backend.to_str())["model"]
    end = model.get("end_of_word_suffix")
    if model["type"] != "BPE" or not end:
        return model["type"] == "WordLevel"
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    merged = {piece for pair in merges for piece in pair}
    return all(last.endswith(end) or first + last in merged for first, last in merges)
