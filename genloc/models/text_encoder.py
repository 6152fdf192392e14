"""Words to vectors, by the text encoder that belongs to a prior.

Letters: n texts, C channels of a condition.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genloc.models.vocabulary import unread_words

Pool = Literal["mean", "end"]


class TextEncoder:
    """The prior's tokenizer and text encoder. Light: nothing is read before the first text.

    Args:
        source: what the prior was asked for, for messages.
        parts: gives the tokenizer (None where the source has none) and the frozen encoder.
        fresh: gives another copy of the encoder, for training.
    """

    def __init__(
        self,
        source: str,
        parts: Callable[[], tuple[Any, Any]],
        fresh: Callable[[], nn.Module],
    ) -> None:
        self.source = source
        self._parts = parts
        self._fresh = fresh
        self._cut: set[str] = set()  # texts of which it was said that they are too long

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], pool: Pool = "mean") -> Tensor:
        """One vector per text, [n, C] fp32 on the CPU, without gradient; see `encode`."""
        return self.encode(texts, self._parts()[1], pool)

    def encode(self, texts: Sequence[str], encoder: nn.Module, pool: Pool = "mean") -> Tensor:
        """One vector per text by an encoder that `with_lora` gave, [n, C] on the encoder's device.

        Args:
            pool: "mean" of the last hidden state over the text's own tokens (begin, end and padding
                left out), or its "end" token, which has read the whole text.

        Warns:
            UserWarning: texts are longer than the encoder reads, and their ends are left out. Once for each text.

        Raises:
            FileNotFoundError: the source has no tokenizer.
            ValueError: an empty text, or one of whose words the tokenizer knows none.
        """
        rows = self._tokens(texts, encoder)
        length = max(len(ids) for ids, _ in rows)
        # The encoder is causal: what stands behind a text cannot change it, so any token pads.
        padded = [ids + ids[-1:] * (length - len(ids)) for ids, _ in rows]
        device = next(encoder.parameters()).device
        hidden = encoder(torch.tensor(padded, device=device)).last_hidden_state
        if pool == "end":
            ends = [len(ids) - 1 for ids, _ in rows]
            return hidden[torch.arange(len(rows), device=device), torch.tensor(ends, device=device)]
        return torch.stack(
            [state[own].mean(0) for state, (_, own) in zip(hidden, rows, strict=True)]
        )

    def with_lora(self, rank: int) -> nn.Module:
        """A copy of the encoder of which only LoRA on the attention learns (alpha = rank, B = 0)."""
        from peft import LoraConfig

        encoder: Any = self._fresh()
        encoder.requires_grad_(False).eval()
        targets = ["q_proj", "k_proj", "v_proj", "out_proj"]
        encoder.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(".lora_" in name)
        return encoder

    def unread(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Words that the prior has never read, as far as its tokenizer tells; see `unread_words`.

        Raises:
            FileNotFoundError: the source has no tokenizer.
        """
        return unread_words(self._tokenizer(), texts)

    def _tokenizer(self) -> Any:
        tokenizer, _ = self._parts()
        if tokenizer is None:
            raise FileNotFoundError(
                f"asking by words needs a tokenizer, and source={self.source!r} has none. "
                "Give Prior(tokenizer=<the tokenizer folder of the model>) or, to genloc predict, --tokenizer."
            )
        return tokenizer

    def _tokens(self, texts: Sequence[str], encoder: Any) -> list[tuple[list[int], list[int]]]:
        """(ids, places of the text's own tokens) of each text."""
        tokenizer = self._tokenizer()
        special = set(tokenizer.all_special_ids)
        length = longest(tokenizer, encoder)
        rows, cut = [], {}
        for text in texts:
            ids = tokenizer(text, verbose=False).input_ids
            if len(ids) > length:
                cut[text] = len(ids)
                ids = tokenizer(text, truncation=True, max_length=length).input_ids
            own = [place for place, token in enumerate(ids) if token not in special]
            if not own:
                raise ValueError(
                    f"text {text!r}: the tokenizer of {self.source!r} knows none of its words"
                )
            rows.append((ids, own))
        self._say_cut({t: n for t, n in cut.items() if t not in self._cut}, len(texts), length)
        return rows

    def _say_cut(self, cut: dict[str, int], asked: int, length: int) -> None:
        """Warn of texts (and their numbers of tokens) among those asked whose ends are left out."""
        self._cut |= cut.keys()
        if cut:
            text, count = max(cut.items(), key=lambda one: one[1])
            warnings.warn(
                f"the text encoder of {self.source!r} reads {length} tokens and leaves out the end of what is longer "
                f"({len(cut)} of {asked}); the longest has {count}: {text!r}. Say it in fewer words",
                stacklevel=4,
            )


def longest(tokenizer: Any, encoder: Any) -> int:
    """Tokens that both can take."""
    return min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
