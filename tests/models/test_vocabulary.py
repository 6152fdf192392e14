"""Which words a prior has not read: told by the kind of its vocabulary, never by guessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genloc.models.text_encoder import TextEncoder
from genloc.models.vocabulary import holds_whole_words, unread_words
from tests.make_prior import tiny_modules, word_tokenizer

TEXTS = ["the left front paw", "the right wrist", "winter in winterthur", "a tired withers"] * 3


def byte_pairs(size: int) -> Any:
    """A tokenizer of CLIP's make, of TEXTS and of at most so many tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE(unk_token="<end>", end_of_word_suffix="</w>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=1, end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz"), special_tokens=["<start>", "<end>"],
    )  # fmt: skip
    words.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<start>", eos_token="<end>", unk_token="<end>"
    )


def test_a_vocabulary_of_whole_words_tells_what_it_has_not_read() -> None:
    whole = byte_pairs(4000)
    assert len(whole) < 4000 and holds_whole_words(whole)
    assert unread_words(whole, TEXTS) == ()
    phrases = ["the left wrsit", "the tired paws, the left wrsit"]
    assert unread_words(whole, phrases) == ("wrsit", "paws")


def test_a_vocabulary_that_stopped_at_a_size_tells_nothing_of_pieces() -> None:
    """CLIP's: "withers" is two tokens there, and was read many times."""
    cut = byte_pairs(65)
    assert len(cut) == 65 and len(cut.tokenize("withers")) > 1
    assert not holds_whole_words(cut)
    assert unread_words(cut, [*TEXTS, "the left wrsit"]) == ()


def test_a_word_without_any_token_is_unread_in_every_vocabulary() -> None:
    assert unread_words(word_tokenizer(), ["the zebra paw", "dog"]) == ("zebra",)
    assert unread_words(byte_pairs(65), ["the étrier"]) == ("étrier",)


def test_the_tiny_prior_s_own_words(repository: Path) -> None:
    from transformers import AutoTokenizer

    tiny = AutoTokenizer.from_pretrained(repository / "genloc/assets/tiny_prior/tokenizer")
    assert holds_whole_words(tiny)
    asked = ["the left wrsit", "the withers of a horse, facing left", "throat", "Left ear"]
    assert unread_words(tiny, asked) == ("wrsit", "withers", "throat", "ear")


def test_a_text_that_is_cut_off_is_named_once(recwarn: pytest.WarningsRecorder) -> None:
    encoder = tiny_modules()["text_encoder"]  # reads 8 tokens
    text = TextEncoder("mine", lambda: (word_tokenizer(), encoder), lambda: encoder)
    long = "the left front paw of the dog and the cat"
    whole = "the left front paw of the"
    found = text([long, "nose", long])
    said = [str(w.message) for w in recwarn if "tokens" in str(w.message)]
    assert len(said) == 1 and "'mine' reads 8 tokens" in said[0] and repr(long) in said[0]
    torch.testing.assert_close(found[0], text([whole])[0])
    text(["nose", long])
    assert len([w for w in recwarn if "tokens" in str(w.message)]) == 1
