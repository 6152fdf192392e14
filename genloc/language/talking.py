"""A decoder that has seen a picture: what it foretells of texts, and what it says to questions.

Letters: B crops, n tokens of a crop's head (begin, words, image tokens), E embedding channels, R texts, L
tokens of a text, K questions, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def foretell(decoder: Any, seen: Tensor, text: Tensor) -> Tensor:
    """Logits [B, L, V] for each token of one text behind each crop: what the tokens before it say.

    Args:
        decoder: a causal language model of transformers.
        seen: [B, n, E]. text: [B, L, E], filled up behind.
    """
    # No mask: what fills up a row stands behind its text, where a decoder never looks.
    return decoder(
        inputs_embeds=torch.cat([seen, text.to(seen.dtype)], 1),
        logits_to_keep=text.shape[1] + 1,
        use_cache=False,
    ).logits[:, :-1]


def foretell_apart(decoder: Any, seen: Tensor, text: Tensor, owner: Tensor) -> Tensor:
    """The same of texts [R, L, E], each behind the crop `owner` [R] alone; a crop is looked at once."""
    cache = look(decoder, seen[:, :-1])
    cache.batch_select_indices(owner)
    text = torch.cat([seen[owner, -1:], text.to(seen.dtype)], 1)
    return decoder(inputs_embeds=text, past_key_values=cache, use_cache=True).logits[:, :-1]


def look(decoder: Any, seen: Tensor) -> Any:
    """Keys and values of [B, n, E], through which gradients flow."""
    from transformers import DynamicCache

    cache = DynamicCache(config=decoder.config)
    decoder(inputs_embeds=seen, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def speak(
    decoder: Any, seen: Tensor, asked: Sequence[Sequence[int]], *, most: int, end: int
) -> tuple[list[list[int]], list[list[float]]]:
    """Greedy answers to K questions about each of B crops, all spoken together.

    Args:
        seen: [B, n, E]. asked: tokens of the K questions.
        most: tokens of an answer. end: the token that ends it.

    Returns:
        for B * K answers, crop by crop: tokens without the end, and the probability of each.
    """
    cache = look(decoder, seen)
    cache.batch_repeat_interleave(len(asked))
    # Filled up on the left, so that all answers begin at the same place.
    ids, mask = padded([row[::-1] for row in asked], 0, seen.device)
    ids, mask = (x.flip(1).repeat(len(seen), 1) for x in (ids, mask))
    mask = torch.cat([mask.new_ones(len(ids), seen.shape[1]), mask], 1)
    told: list[Tensor] = []
    sure: list[Tensor] = []
    ended = torch.zeros(len(ids), dtype=torch.bool, device=seen.device)
    while len(told) < most and not ended.all():
        logits = decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1)[:, -ids.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        likely, ids = logits.float().softmax(-1).max(-1, keepdim=True)
        ended |= ids[:, 0] == end
        mask = torch.cat([mask, mask.new_ones(len(ids), 1)], 1)
        told.append(ids)
        sure.append(likely)
    tokens, chances = torch.cat(told, 1).tolist(), torch.cat(sure, 1).tolist()
    lengths = [row.index(end) if end in row else len(row) for row in tokens]
    cut = [(row[:n], p[:n]) for row, p, n in zip(tokens, chances, lengths, strict=True)]
    return [row for row, _ in cut], [p for _, p in cut]


def padded(rows: Sequence[Sequence[int]], value: int, device: Any) -> tuple[Tensor, Tensor]:
    """Rows of unlike lengths as int64 [R, L], filled up with a value, and 1 where they are not."""
    length = max(map(len, rows), default=0)
    filled = torch.full((len(rows), length), value, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[i, : len(row)] = 1
    return filled.to(device), mask.to(device)
