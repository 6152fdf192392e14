"""`KeypointLM`: a language model that sees what GenLoc sees and says where a keypoint is.

LocLLM (https://arxiv.org/abs/2406.04659) with the frozen image generator in the place of DINOv2: the
features of the up-blocks, on one grid of 16x16 = 256 places for crops of 512 pixels, go through a projector
into the embeddings of a decoder language model, which reads a description and a question and writes the place.

Letters: B crops, K keypoints, T image tokens, C feature channels, E channels of the decoder's
embeddings, L tokens of text, S crop pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloc.conditions.descriptions import Description, load_descriptions
from genloc.inference import picture_parts
from genloc.language.answers import SAMPLE, Answer, read
from genloc.language.conversations import HEAD, Round, ask, converse
from genloc.language.decoder import Decoder
from genloc.language.projector import Projector
from genloc.language.talking import foretell, foretell_apart, padded, speak
from genloc.models.features import feature_widths, features
from genloc.models.genloc import GenLoc
from genloc.models.prior import Prior
from genloc.skeleton import Skeleton

IGNORED = -100  # the label of a token that is not learned, as transformers has it


class KeypointLM(nn.Module):
    """A language model asked for keypoints. The constructor is light; `load()` and `ask_for()` make it.

    Args:
        prior: the frozen image generator.
        decoder: the language model; where it is made from scratch, all of it learns.
        tokens: the decoder is shown all features on the finest of their grids with at most so many places.
        rounds: questions in a training conversation, at most.
        together: the questions of a crop follow one another, as in LocLLM; false: each is a conversation of
            its own, as in evaluation, and only the picture is shared.
        paraphrase: training draws names and questions.
        describe: say what and where each keypoint is before asking; false: its name alone, which is shorter.
        descriptions: what the keypoints are called and where they lie; see `load_descriptions`.
        timestep: at which the U-Net reads the latent.
        seed: of the projector's start.
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
        together: bool = True,
        paraphrase: bool = True,
        describe: bool = True,
        descriptions: str | Mapping[str, Any] | None = None,
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
        self.together = together
        self.paraphrase = paraphrase
        self.describe = describe
        self.given = descriptions
        self.timestep = timestep
        self.seed = seed
        self.skeleton: Skeleton | None = None
        self.descriptions: Mapping[str, Description] = {}
        self.projector: Projector | None = None

    def facts(self) -> dict[str, Any]:
        """The constructor's arguments besides prior and decoder, in plain values."""
        return {
            "tokens": self.tokens,
            "rounds": self.rounds,
            "together": self.together,
            "paraphrase": self.paraphrase,
            "describe": self.describe,
            "descriptions": self.given,
            "timestep": self.timestep,
        }

    @property
    def prior(self) -> Prior:
        """The frozen image generator."""
        return self.genloc.prior

    def load(self) -> KeypointLM:
        """Read the prior; a second call does nothing. Returns self."""
        self.genloc.load()
        return self

    def ask_for(self, skeleton: Skeleton, *, tokenizer: str | Path | None = None) -> KeypointLM:
        """Say which keypoints will be asked for, and make decoder and projector. Returns self.

        Args:
            skeleton: the K keypoints.
            tokenizer: see `Decoder.load`.

        Raises:
            FileNotFoundError: the decoder or the descriptions are not there.
            ValueError: they cannot be used.
        """
        self.load()
        said = load_descriptions(self.given, skeleton)
        self.descriptions = (
            said if self.describe else {k: Description(d.names) for k, d in said.items()}
        )
        self.skeleton = skeleton
        self.decoder.load(list(self.descriptions.values()), tokenizer)
        if self.projector is None:
            own = self.decoder.model.get_input_embeddings().weight.detach()[:1000].float()
            width, size = sum(feature_widths(self.genloc)), float(own.std())
            self.projector = Projector(width, self.decoder.hidden, size=size, seed=self.seed)
        return self

    # ------------------------------------------------------------------ what it sees

    @torch.no_grad()
    def front(self, latent: Tensor) -> list[Tensor]:
        """All that the frozen net gives for crops: one tensor [B, C, h, w] in its dtype, to be kept.
        C is the sum of `feature_widths` for crops of any size.

        Args:
            latent: [B, 4, S/8, S/8].

        Raises:
            ValueError: no grid has as few places as `tokens`.
        """
        grids = features(self.genloc, None, latent=latent)
        sizes = [(grid.shape[-2], grid.shape[-1]) for grid in grids]
        fitting = [(h, w) for h, w in sizes if h * w <= self.tokens]
        if not fitting:
            there = ", ".join(f"{h}x{w}" for h, w in sizes)
            raise ValueError(
                f"tokens={self.tokens}: the grids of features are {there} for crops of this size; give at "
                f"least {sizes[0][0] * sizes[0][1]}, or smaller crops (data.crop_size)"
            )
        return [torch.cat([_brought_to(fitting[-1], grid) for grid in grids], 1)]

    def encode(self, image: Tensor) -> Tensor:
        """The clean latents of crops [B, 3, S, S], [B, 4, S/8, S/8]."""
        return self.genloc.encode(image)

    def constant_front(self) -> bool:
        """Nothing learns before the projector."""
        return True

    def front_facts(self) -> dict[str, Any]:
        """All that `front` depends on besides the prior, the latent and the timestep."""
        return {"all features on a grid of at most": self.tokens}

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
        return self.projector(front[0])

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
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder says next at each token of a training conversation about each crop.

        Args:
            image: [B, 3, S, S] in [-1, 1]; or None with `latent` or `front`.
            points: [B, K, 2] in crop pixels. visible: bool [B, K]; only these are asked for.
            size: S.
            generators: one for each crop; all that is drawn comes from them.

        Returns:
            logits float32 [R, L, V] of R texts; labels int64 [R, L]: the token where it is part of an
            answer (or ends one), else -100; and which of the B crops each text is about, int64 [R].
        """
        parts = picture_parts(points, size).cpu().double().numpy()
        talks: list[list[tuple[list[int], list[int]]]] = []  # of each crop: tokens and labels
        for here, shown, generator in zip(parts, visible.cpu().numpy(), generators, strict=True):
            drawn = converse(
                self.descriptions, here, shown, generator, rounds=self.rounds, paraphrase=self.paraphrase
            )  # fmt: skip
            talk = [self._tokens(one) for one in drawn]
            if self.together or not talk:  # without a question, an empty text
                talk = [
                    ([t for ids, _ in talk for t in ids], [t for _, known in talk for t in known])
                ]
            talks.append(talk)
        seen = self._head(self._see(image, latent, front))
        rows = [one for talk in talks for one in talk]
        whose = [i for i, talk in enumerate(talks) for _ in talk]
        owner = torch.tensor(whose, device=seen.device)
        tokens, _ = padded([ids for ids, _ in rows], 0, seen.device)
        labels, _ = padded([known for _, known in rows], IGNORED, seen.device)
        text = self.decoder.embed(tokens)
        if self.together or self.decoder.gradient_checkpointing:  # which keeps no keys and values
            said = foretell(self.decoder.model, seen[owner], text)
        else:
            said = foretell_apart(self.decoder.model, seen, text, owner)
        return said.float(), labels, owner

    def _tokens(self, one: Round) -> tuple[list[int], list[int]]:
        """Tokens of a round, and what is learned of them."""
        prompt = self.decoder.ids(one.prompt)
        answer = [*self.decoder.ids(one.answer), self.decoder.end]
        return prompt + answer, [IGNORED] * len(prompt) + answer

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
            points float32 [B, K, 2] in crop pixels and scores [B, K]. An answer that holds no coordinates
            is at the crop's centre, with score 0.
        """
        if size is None:
            assert image is not None
            size = image.shape[-1]
        said = self.say(image, latent=latent, front=front)
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
            asked = [self.decoder.ids(ask(key, d).prompt) for key, d in self.descriptions.items()]
            # A tokenizer may have "000" whole and "512" in digits.
            most = max(len(self.decoder.ids(SAMPLE)), len(SAMPLE)) + 1
            told, sure = speak(self.decoder.model, seen, asked, most=most, end=self.decoder.end)
        finally:
            self.decoder.train(learning)
        found = [read(self.decoder.pieces(ids), p) for ids, p in zip(told, sure, strict=True)]
        return [found[i : i + len(asked)] for i in range(0, len(found), len(asked))]

    def protocol(self, records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """What a table of its results must say.

        Args:
            records: COCO results.
        """
        scores = [score for record in records for score in record["keypoints"][2::3]]
        return {
            "answers": f"{sum(score == 0 for score in scores)} of {len(scores)} held no coordinates; they "
            "count as the crop's centre, score 0",
            "score of a keypoint": "mean probability of the tokens of its two coordinates",
        }

    def save_adapter(
        self,
        folder: str | Path,
        *,
        skeleton: Skeleton,
        recipe: Mapping[str, Any],
        metrics: Mapping[str, Any],
    ) -> Path:
        """Write what learned; see `genloc.language.saved.save_language`."""
        from genloc.language.saved import save_language

        return save_language(folder, model=self, skeleton=skeleton, recipe=recipe, metrics=metrics)


def _brought_to(size: tuple[int, int], grid: Tensor) -> Tensor:
    """Features [B, C, h, w] on a grid of `size`: interpolated up to a finer one, averaged down to a coarser."""
    return F.interpolate(grid, size, mode="area" if size[0] < grid.shape[-2] else "bilinear")
