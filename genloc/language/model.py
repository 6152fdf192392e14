"""`KeypointLM`: a language model that sees what GenLoc sees and says where a keypoint is.

LocLLM (https://arxiv.org/abs/2406.04659) with the frozen image generator in the place of DINOv2: the
features of an up-block, 16x16 = 256 of them for crops of 512 pixels, go through a projector into the
embeddings of a decoder language model, which reads a description and a question and writes the place.

Letters: B crops, K keypoints, T image tokens, C feature channels, E channels of the decoder's
embeddings, L tokens of text, S crop pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloc.conditions.descriptions import Description, load_descriptions
from genloc.inference import picture_parts
from genloc.language.answers import SAMPLE, Answer, read
from genloc.language.conversations import HEAD, ask, converse
from genloc.language.decoder import Decoder
from genloc.models.features import features
from genloc.models.genloc import GenLoc
from genloc.models.prior import Prior
from genloc.skeleton import Skeleton

IGNORED = -100  # the label of a token that is not learned, as transformers has it
OCTAVES = 6


class KeypointLM(nn.Module):
    """A language model asked for keypoints. The constructor is light; `load()` and `ask_for()` make it.

    Args:
        prior: the frozen image generator.
        decoder: the language model; where it is made from scratch, all of it learns.
        tokens: the finest grid of features with at most so many places is shown to the decoder.
        rounds: questions in a training conversation, at most.
        paraphrase: training draws names and questions.
        descriptions: what the keypoints are called and where they lie; see `load_descriptions`.
        timestep: at which the U-Net reads the latent.
        seed: of the projector's start.

    Attributes:
        asked, unread: answers so far in evaluation, and those of them that held no coordinates; such a
            keypoint is put at the crop's centre, with score 0.
    """

    noise = False
    score = "answer"

    def __init__(
        self,
        prior: Prior,
        decoder: Decoder,
        *,
        tokens: int = 256,
        rounds: int = 5,
        paraphrase: bool = True,
        descriptions: str | None = None,
        timestep: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("tokens", tokens), ("rounds", rounds)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        self.genloc = GenLoc(prior, context="null", lora=None, timestep=timestep)
        self.decoder = decoder
        self.tokens = tokens
        self.rounds = rounds
        self.paraphrase = paraphrase
        self.given = descriptions
        self.timestep = timestep
        self.seed = seed
        self.skeleton: Skeleton | None = None
        self.descriptions: Mapping[str, Description] = {}
        self.projector: nn.Linear | None = None
        self.asked = self.unread = 0

    @property
    def prior(self) -> Prior:
        """The frozen image generator."""
        return self.genloc.prior

    def load(self) -> KeypointLM:
        """Read the prior; a second call does nothing. Returns self."""
        self.genloc.load()
        return self

    def ask_for(self, skeleton: Skeleton, *, tokenizer: str | None = None) -> KeypointLM:
        """Say which keypoints will be asked for, and make decoder and projector. Returns self.

        Args:
            skeleton: the K keypoints.
            tokenizer: see `Decoder.load`.

        Raises:
            FileNotFoundError: the decoder or the descriptions are not there.
            ValueError: they cannot be used.
        """
        self.load()
        self.descriptions = load_descriptions(self.given, skeleton)
        self.skeleton = skeleton
        self.decoder.load(list(self.descriptions.values()), tokenizer)
        if self.projector is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.projector = nn.Linear(self._width() + 4 * OCTAVES, self.decoder.hidden)
            with torch.no_grad():  # as large as the words beside it
                self.projector.weight *= float(self.decoder.embed(torch.arange(8)).std()) * 2
        return self

    # ------------------------------------------------------------------ what it sees

    @torch.no_grad()
    def front(self, latent: Tensor) -> list[Tensor]:
        """All that the frozen net gives for crops: one tensor [B, C, h, w] in its dtype, to be kept.

        Args:
            latent: [B, 4, S/8, S/8].

        Raises:
            ValueError: no grid has as few places as `tokens`.
        """
        grids = features(self.genloc, None, latent=latent)
        fitting = [grid for grid in grids if grid.shape[-2] * grid.shape[-1] <= self.tokens]
        if not fitting:
            sizes = ", ".join(f"{grid.shape[-2]}x{grid.shape[-1]}" for grid in grids)
            raise ValueError(
                f"tokens={self.tokens}: the grids of features are {sizes} for crops of this size; give at "
                f"least {grids[0].shape[-2] * grids[0].shape[-1]}, or smaller crops (data.crop_size)"
            )
        coarser = [F.interpolate(grid, fitting[-1].shape[-2:], mode="bilinear") for grid in fitting]
        return [torch.cat(coarser, 1)]

    def encode(self, image: Tensor) -> Tensor:
        """The clean latents of crops [B, 3, S, S], [B, 4, S/8, S/8]."""
        return self.genloc.encode(image)

    def constant_front(self) -> bool:
        """Nothing learns before the projector."""
        return True

    def front_facts(self) -> dict[str, Any]:
        """All that `front` depends on besides the prior, the latent and the timestep."""
        return {"features of at most": self.tokens}

    def _see(
        self, image: Tensor | None, latent: Tensor | None, front: Sequence[Tensor] | None
    ) -> Tensor:
        """Image tokens [B, T, E]."""
        if self.projector is None:
            raise RuntimeError("this KeypointLM has no keypoints yet: call ask_for() first")
        if front is None:
            if latent is None:
                assert image is not None
                latent = self.encode(image)
            front = self.front(latent)
        seen = front[0].float()
        h, w = seen.shape[-2:]
        seen = F.layer_norm(seen.flatten(2).transpose(1, 2), seen.shape[1:2])
        where = places(h, w, seen.device).expand(len(seen), -1, -1)
        return self.projector(torch.cat([seen, where], -1))

    def _width(self) -> int:
        from genloc.models.features import feature_widths

        return sum(feature_widths(self.genloc))

    # ------------------------------------------------------------------ training

    def answers(
        self,
        image: Tensor | None,
        points: Tensor,
        visible: Tensor,
        size: int,
        generators: Sequence[np.random.Generator],
        *,
        latent: Tensor | None = None,
        front: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What the decoder says next at each token of a training conversation about each crop.

        Args:
            image: [B, 3, S, S] in [-1, 1]; or None with `latent` or `front`.
            points: [B, K, 2] in crop pixels. visible: bool [B, K]; only these are asked for.
            size: S.
            generators: one for each crop; all that is drawn comes from them.

        Returns:
            logits float32 [B, L, V] and labels int64 [B, L]: the next token where it is part of an
            answer (or ends one), else -100.
        """
        parts = picture_parts(points, size).double().cpu().numpy()
        spoken, learned = [], []
        for here, shown, generator in zip(parts, visible.cpu().numpy(), generators, strict=True):
            talk = converse(
                self.descriptions, here, shown, generator, rounds=self.rounds, paraphrase=self.paraphrase
            )  # fmt: skip
            ids: list[int] = []
            labels: list[int] = []
            for one in talk:
                prompt, answer = self.decoder.ids(one.prompt), self.decoder.ids(one.answer)
                answer.append(self.decoder.end)
                ids += prompt + answer
                labels += [IGNORED] * len(prompt) + answer
            spoken.append(ids)
            learned.append(labels)
        seen = self._head(self._see(image, latent, front))
        length = max(map(len, spoken))
        ids, mask = _padded(spoken, length, 0, seen.device)
        labels, _ = _padded(learned, length, IGNORED, seen.device)
        mask = torch.cat([mask.new_ones(seen.shape[:2]), mask], 1)
        said = self.decoder.model(
            inputs_embeds=torch.cat([seen, self.decoder.embed(ids).to(seen.dtype)], 1),
            attention_mask=mask,
            logits_to_keep=length + 1,  # each token is foretold by the one before it
            use_cache=False,
        ).logits
        return said[:, :-1].float(), labels

    def _head(self, seen: Tensor) -> Tensor:
        """What every conversation begins with, [B, n + T, E]: begin, words, image tokens."""
        ids = [*self.decoder.begin(), *self.decoder.ids(HEAD)]
        head = self.decoder.embed(torch.tensor(ids, device=seen.device))
        return torch.cat([head.expand(len(seen), -1, -1), seen.to(head.dtype)], 1)

    # ------------------------------------------------------------------ evaluation

    @torch.no_grad()
    def locate(
        self,
        image: Tensor | None,
        size: int | None = None,
        *,
        latent: Tensor | None = None,
        front: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Ask for all K keypoints of each crop, each in a conversation of its own.

        Args:
            image: [B, 3, S, S] in [-1, 1]; or None with `latent` or `front`, and `size`.
            size: S.

        Returns:
            points float32 [B, K, 2] in crop pixels and scores [B, K].
        """
        if size is None:
            assert image is not None
            size = image.shape[-1]
        said = self.say(image, latent=latent, front=front)
        self.asked += len(said) * len(self.descriptions)
        self.unread += sum(answer.parts is None for row in said for answer in row)
        device = next(self.parameters()).device
        parts = torch.tensor([[a.parts or (0.5, 0.5) for a in row] for row in said], device=device)
        scores = torch.tensor([[a.score for a in row] for row in said], device=device)
        return parts * size - 0.5, scores

    @torch.no_grad()
    def say(
        self,
        image: Tensor | None,
        *,
        latent: Tensor | None = None,
        front: Sequence[Tensor] | None = None,
    ) -> list[list[Answer]]:
        """The K answers about each of B crops, read. All are spoken together: the picture goes through the
        decoder once, its keys and values are then shared by the K questions."""
        learning = self.decoder.training
        self.decoder.eval()
        try:
            seen = self._head(self._see(image, latent, front))
            ids, sure = self._speak(seen)
        finally:
            self.decoder.train(learning)
        k = len(self.descriptions)
        found = [
            read(self.decoder.pieces(row), p[: len(row)])
            for row, p in ((self._until_end(row), p) for row, p in zip(ids, sure, strict=True))
        ]
        return [found[i : i + k] for i in range(0, len(found), k)]

    def prompts(self) -> list[list[int]]:
        """Tokens of the K questions."""
        return [self.decoder.ids(ask(name, said).prompt) for name, said in self.descriptions.items()]

    def _speak(self, seen: Tensor) -> tuple[list[list[int]], list[list[float]]]:
        """Greedy answers to the K questions about each crop: tokens and their probabilities, [B * K] lists."""
        from transformers import DynamicCache

        decoder, device = self.decoder.model, seen.device
        cache = DynamicCache(config=decoder.config)
        decoder(inputs_embeds=seen, past_key_values=cache, use_cache=True, logits_to_keep=1)
        asked = self.prompts()
        cache.batch_repeat_interleave(len(asked))
        # Left of each question, so that all answers begin at the same place.
        length = max(map(len, asked))
        ids, mask = _padded([row[::-1] for row in asked], length, 0, device)
        ids, mask = (x.flip(1).repeat(len(seen), 1) for x in (ids, mask))
        mask = torch.cat([mask.new_ones(len(ids), seen.shape[1]), mask], 1)
        told: list[Tensor] = []
        sure: list[Tensor] = []
        for _ in range(len(self.decoder.ids(SAMPLE)) + 1):
            place = (mask.cumsum(1) - 1)[:, -ids.shape[1] :]
            logits = decoder(
                input_ids=ids,
                attention_mask=mask,
                position_ids=place.clamp_min(0),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            most, ids = logits.float().softmax(-1).max(-1, keepdim=True)
            told.append(ids)
            sure.append(most)
            if (torch.cat(told, 1) == self.decoder.end).any(1).all():
                break
            mask = torch.cat([mask, mask.new_ones(len(ids), 1)], 1)
        return torch.cat(told, 1).tolist(), torch.cat(sure, 1).tolist()

    def _until_end(self, ids: list[int]) -> list[int]:
        return ids[: ids.index(self.decoder.end)] if self.decoder.end in ids else ids

    def protocol(self) -> dict[str, str]:
        """What a table of its results must say."""
        return {
            "answers": f"{self.unread} of {self.asked} held no coordinates; those are put at the crop's "
            "centre, score 0",
            "score of a keypoint": "mean probability of the tokens of its two coordinates",
        }


def places(h: int, w: int, device: Any = None) -> Tensor:
    """Where each of h x w tokens is, [h * w, 4 * OCTAVES]: sines and cosines of x and y.

    DINOv2's tokens carry their places, LocLLM needs nothing else; an image generator's are known from
    the zeros around the picture alone.
    """
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    waves = math.pi / 2 * 2 ** torch.arange(OCTAVES, device=device)
    ys, xs = (v[:, None] * waves for v in (y, x))
    rows = torch.cat([ys.sin(), ys.cos()], 1)[:, None].expand(h, w, -1)
    columns = torch.cat([xs.sin(), xs.cos()], 1)[None].expand(h, w, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)


def _padded(
    rows: Sequence[Sequence[int]], length: int, value: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows [n, length], filled up with a value, and where they are not: int64."""
    filled = torch.full((len(rows), length), value, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[i, : len(row)] = 1
    return filled.to(device), mask.to(device)
