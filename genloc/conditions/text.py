"""Conditions from words: a description of each keypoint through the prior's own text encoder.

Nothing here belongs to one keypoint: what is learned is shared by all of them, so keypoints that
were never trained can be asked for, by names made of known words or by words that the prior knows.
Meant for a model with `context="null"`, whose map of a keypoint does not depend on what else is asked.

Letters: B crops, K keypoints, M keypoints asked in one training crop, C condition channels.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from genloc.conditions.descriptions import Description, load_descriptions, plain, spoken
from genloc.skeleton import DEFAULT_SIGMA, Skeleton, mirror_pairs


class TextCondition(nn.Module):
    """The text encoder's embedding of a phrase, and a small residual head that starts at zero.

    `condition = e + head((e - centre) / scale)` with `centre` and `scale` measured once over the
    phrases of training: names of body parts lie close together in the encoder's space, and what
    tells them apart is small beside what they share. At the start the condition is the embedding.

    In training (`draw`) each crop asks for a random subset of the keypoints, each in random words:
    any of its names, with or without "the", alone, with one part of its description, or with all.

    Args:
        descriptions: a yaml file, the name of a file of the package, or the same as a mapping; None
            for the package's file of the skeleton's name, or the keypoints' names where there is
            none. See `genloc/conditions/descriptions.py`.
        say: what is asked outside training: the first "name", or the "full" description.
        paraphrase: False trains on exactly what is asked.
        subset: keypoints asked for in one training crop, visible ones first; None for all.
        held_out: keypoints that are never trained: not drawn, and no phrase of training speaks of them.
        pool: "end", the state of the end token, which has read the whole phrase; or the "mean" over
            the phrase's own tokens.
        hidden: width of the head.
        encoder_rank: rank of LoRA on the text encoder's attention; 0 leaves the encoder as it is.

    Raises:
        ValueError: an argument out of range.
    """

    centre: Tensor  # [C]
    scale: Tensor  # []

    def __init__(
        self,
        descriptions: str | dict[str, Any] | None = None,
        say: Literal["name", "full"] = "name",
        paraphrase: bool = True,
        subset: int | None = 8,
        held_out: Sequence[str] = (),
        pool: Literal["end", "mean"] = "end",
        hidden: int = 128,
        encoder_rank: int = 0,
    ) -> None:
        super().__init__()
        for name, value, known in (("say", say, ("name", "full")), ("pool", pool, ("end", "mean"))):
            if value not in known:
                raise ValueError(f"{name}={value!r}: expected one of {known}")
        if subset is not None and subset < 1:
            raise ValueError(f"subset={subset}: expected at least 1 keypoint, or null for all")
        if hidden < 1 or encoder_rank < 0:
            raise ValueError(
                f"hidden={hidden}, encoder_rank={encoder_rank}: expected at least 1 and 0"
            )
        self.given = descriptions
        self.say = say
        self.paraphrase = paraphrase
        self.subset = subset
        self.held_out = tuple(held_out)
        self.pool: Literal["end", "mean"] = pool
        self.hidden = hidden
        self.encoder_rank = encoder_rank
        self.skeleton: Skeleton | None = None
        self.descriptions: dict[str, Description] = {}
        self.phrases: tuple[str, ...] = ()
        self._text: Any = None
        self._known: dict[str, Tensor] = {}
        self.head: nn.Module | None = None
        self.encoder: nn.Module | None = None

    def build(
        self,
        skeleton: Skeleton,
        channels: int,
        text: Any = None,
        generator: torch.Generator | None = None,
        *,
        measure: bool = True,
    ) -> Self:
        """Read the descriptions and make the head; a second call for the same skeleton does nothing.

        Args:
            skeleton: whose keypoints are asked for.
            channels: C.
            text: `Prior.text`. Without `encoder_rank`, any function of phrases and `pool=` to
                `[n, C]` will do.
            generator: source of the head's start; torch's global one if None.
            measure: False where `centre` and `scale` are read from a file afterwards.

        Raises:
            ValueError: already built for another skeleton or other channels, no text encoder, a
                held-out keypoint that the skeleton has not, or all held out.
            FileNotFoundError: no descriptions, or the prior has no tokenizer.
        """
        if self.head is not None:
            assert self.skeleton is not None
            if (self.skeleton.keypoints, len(self.centre)) != (skeleton.keypoints, channels):
                raise ValueError(
                    f"build: this condition asks for {len(self.skeleton.keypoints)} keypoints of "
                    f"{self.skeleton.name!r} in {len(self.centre)} channels already; make a new "
                    "TextCondition for another skeleton or prior"
                )
            return self
        if text is None:
            raise ValueError("text: TextCondition needs the prior's text encoder, got None")
        for name in self.held_out:
            skeleton.index(name)
        if len(set(self.held_out)) == skeleton.num_keypoints:
            raise ValueError(f"held_out: all keypoints of {skeleton.name!r} are held out")
        self.skeleton, self._text = skeleton, text
        self.descriptions = load_descriptions(self.given, skeleton)
        self.phrases = tuple(self._asked(said) for said in self.descriptions.values())
        if self.encoder_rank:
            self.encoder = text.with_lora(self.encoder_rank)
        first, last = nn.Linear(channels, self.hidden), nn.Linear(self.hidden, channels)
        with torch.no_grad():
            first.weight.normal_(std=channels**-0.5, generator=generator)
            for start in (first.bias, last.weight, last.bias):
                start.zero_()
        every = [phrase for choices in self._trained().values() for phrase in choices]
        said = list(dict.fromkeys(every)) if measure else every[:1]
        embedded = text(said, pool=self.pool).detach().float()
        if embedded.shape[1] != channels:
            raise ValueError(
                f"text: gives {embedded.shape[1]} channels, but conditions of this prior have {channels}"
            )
        self.register_buffer("centre", embedded.mean(0))
        spread = (embedded - self.centre).pow(2).mean().sqrt()
        self.register_buffer("scale", spread if spread > 0 else torch.ones(()))
        self.head = nn.Sequential(first, nn.GELU(), last)
        return self

    def forward(self) -> Tensor:
        """The conditions `[1, K, C]`, float32, of the asked keypoints, shared by all crops.

        Raises:
            RuntimeError: not built yet.
        """
        return self.embed(self.phrases)[None]

    def embed(self, phrases: Sequence[str]) -> Tensor:
        """Any phrases as conditions `[n, C]`, float32."""
        if self.head is None:
            raise RuntimeError("TextCondition has no words yet; call build() first")
        told = self._encode(phrases)
        return told + self.head((told - self.centre) / self.scale)

    def draw(
        self, generators: Sequence[np.random.Generator], visible: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each of B training crops asks for.

        Args:
            generators: one for each crop; all that is drawn comes from them.
            visible: bool `[B, K]`.

        Returns:
            the conditions `[B, M, C]`, and which keypoints they are: int64 `[B, M]`, in rising order.
        """
        choices = self._trained()
        assert self.skeleton is not None
        seen = np.array([self.skeleton.index(name) for name in choices])
        count = len(seen) if self.subset is None else min(self.subset, len(seen))
        phrases: list[str] = []
        rows = []
        for generator, shown in zip(generators, visible.cpu().numpy(), strict=True):
            drawn = generator.permutation(seen)
            chosen = np.sort(drawn[np.argsort(~shown[drawn], kind="stable")][:count])
            rows.append(chosen)
            for k in chosen.tolist():
                said = choices[self.skeleton.keypoints[k]]
                phrases.append(said[int(generator.integers(len(said)))])
        distinct = {phrase: i for i, phrase in enumerate(dict.fromkeys(phrases))}
        place = torch.tensor([distinct[phrase] for phrase in phrases], device=self.centre.device)
        conditions = self.embed(list(distinct))[place].unflatten(0, (len(rows), count))
        return conditions, torch.from_numpy(np.stack(rows)).to(visible.device)

    def asking(self, phrases: Sequence[str]) -> TextCondition:
        """The same condition for other keypoints: `phrases` become its keypoints. Shares all weights.

        Raises:
            ValueError: no phrase, an empty one, one twice, a bare text, or what is no text.
        """
        # A text is itself a sequence of texts: "nose" would ask for n, o, s and e.
        given = (
            phrases if isinstance(phrases, str) or not isinstance(phrases, Iterable) else [*phrases]
        )
        if not isinstance(given, list) or not all(isinstance(phrase, str) for phrase in given):
            hint = f"; give {[given]}" if isinstance(given, str) else ""
            raise ValueError(f"phrases: expected a list of texts, got {given!r}{hint}")
        said = tuple(" ".join(phrase.split()) for phrase in given)
        if not said or not all(said):
            raise ValueError(
                f"phrases: expected at least one, none of them empty, got {list(said)}"
            )
        if len(set(said)) != len(said):
            raise ValueError(f"phrases: one is asked for twice: {list(said)}")
        other = copy.copy(self)
        other.phrases = said
        other.skeleton = Skeleton(
            name="asked",
            keypoints=said,
            edges=(),
            flip_pairs=mirror_pairs(said),
            sigmas=(DEFAULT_SIGMA,) * len(said),
        )
        other.descriptions = {phrase: Description((phrase,)) for phrase in said}
        other.held_out = ()
        return other

    def unread(self) -> tuple[str, ...]:
        """Words of what is asked that the prior has never read, as far as its tokenizer tells."""
        tell = getattr(self._text, "unread", None)
        return () if tell is None else tell(self.phrases)

    def facts(self) -> dict[str, Any]:
        """The constructor's arguments, with the descriptions written out: plain values."""
        return {
            "descriptions": plain(self.descriptions) if self.descriptions else self.given,
            "say": self.say,
            "paraphrase": self.paraphrase,
            "subset": self.subset,
            "held_out": list(self.held_out),
            "pool": self.pool,
            "hidden": self.hidden,
            "encoder_rank": self.encoder_rank,
        }

    def _trained(self) -> Mapping[str, Sequence[str]]:
        """The phrases of training, by keypoint."""
        untold = [
            name for key in self.held_out for name in (spoken(key), *self.descriptions[key].names)
        ]
        return {
            key: kept.phrases() if self.paraphrase else (self._asked(kept),)
            for key, said in self.descriptions.items()
            if key not in self.held_out
            for kept in [said.silent_about(untold)]
        }

    def _asked(self, said: Description) -> str:
        """What is asked outside training."""
        return said.full if self.say == "full" else said.names[0]

    def _encode(self, phrases: Sequence[str]) -> Tensor:
        """The text encoder's embeddings, [n, C] fp32; kept where the encoder does not learn."""
        if self.encoder is not None:
            return self._text.encode(phrases, self.encoder, self.pool).float()
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._known]
        if new:
            with torch.inference_mode(False), torch.no_grad():
                found = self._text(new, pool=self.pool).float().to(self.centre.device)
            self._known.update(zip(new, found, strict=True))
        return torch.stack([self._known[phrase] for phrase in phrases]).to(self.centre.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._known = {}
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        asked = "not built" if self.head is None else f"{len(self.phrases)} phrases"
        return f"{asked}, say={self.say!r}, pool={self.pool!r}, encoder_rank={self.encoder_rank}"


def ask(condition: nn.Module, phrases: Sequence[str]) -> tuple[TextCondition, Skeleton]:
    """What `genloc predict --ask` asks for: the condition of an adapter, for other keypoints.

    Args:
        condition: of the adapter, built.
        phrases: "the left front paw", "the tip of the tail", ...: also the names of the result.

    Returns:
        the condition of these phrases, and their skeleton (no edges; left and right by their words).

    Warns:
        UserWarning: the prior has never read a word of theirs (`TextCondition.unread` says which).

    Raises:
        ValueError: the adapter was not trained with words, or the phrases cannot be asked.
        FileNotFoundError: the adapter's prior has no tokenizer.
    """
    if not isinstance(condition, TextCondition):
        raise ValueError(
            f"ask: this adapter's conditions are {type(condition).__name__}, made for its own keypoints "
            "alone; words need an adapter trained with genloc.conditions.text.TextCondition "
            "(genloc fit --config ... --config configs/words/text.yaml)"
        )
    asked = condition.asking(phrases)
    with torch.no_grad():
        asked()  # now, so that a prior without a tokenizer is refused before any picture is read
    if unread := asked.unread():
        warnings.warn(
            f"never read: {', '.join(unread)}; the prior has no such word and spells it out, so what is found "
            "for it may be anything",
            stacklevel=2,
        )
    assert asked.skeleton is not None
    return asked, asked.skeleton
