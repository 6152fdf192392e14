"""The four questions of the page, answered by an adapter or, without one, by a prior alone.

Letters: K keypoints, S crop pixels. Pixels as in `genloc.app.picture`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from genloc.adapter import FACTS_FILE, load_adapter
from genloc.app.example import Example
from genloc.app.picture import PagePicture, Point
from genloc.app.resemblance import by_resemblance
from genloc.card import prior_has_seen
from genloc.conditions.text import TextCondition, ask
from genloc.conditions.visual import VisualCondition
from genloc.data.support import Support
from genloc.hub import fetch_adapter
from genloc.inference import look_like
from genloc.keypoints import Keypoints
from genloc.models import GenLoc, Prior
from genloc.predictor import KeypointPredictor
from genloc.recipe import read_recipe
from genloc.skeleton import Skeleton

Task = Literal["keypoints", "words", "example", "place"]

MOST_PHRASES = 24
LONGEST_PHRASE = 120

UNTRAINED_CROP, UNTRAINED_PADDING = 128, 1.25
# On pairs of zoo animals of one species 38 % of the points were found within 0.2 of the box; at t = 1, 31 %.
UNTRAINED_TIMESTEP = 201

QUICKSTART = "bash tools/quickstart"
DRAW: dict[Task, str] = {
    "words": "genloc zoo data/zoo",
    "example": "genloc zoo data/categories --bodies all",
    "place": "genloc zoo data/zoo",
}
"""What draws the pictures that `TRAIN` wants."""
TRAIN: dict[Task, str] = {
    "words": "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml --name words",
    "example": "genloc fit --config configs/visual.yaml",
    "place": "genloc fit --config configs/zoo.yaml",
}
"""What trains an adapter for a task, on the zoo."""


class Tasks:
    """Answers the four questions. Made by `of_adapter` or `untrained`.

    Args:
        predictor: of the adapter's own keypoints where it has such, else of what an example shows.
        condition: the adapter's; None without an adapter.
        title: what the page calls it.
        note: what should be known before believing an answer, or "".

    Attributes:
        lacking: task -> why it cannot be done, in a line.
        unsure: task -> why its answers are often wrong, in a line, where others' are better.
    """

    def __init__(
        self, predictor: KeypointPredictor, condition: Any, title: str, note: str = ""
    ) -> None:
        self.predictor = predictor
        self.condition = condition
        self.title = title
        self.note = note
        self.lacking = self._lacking()
        self.unsure: dict[Task, str] = {}
        if condition is not None and not isinstance(condition, VisualCondition):
            self.unsure["example"] = _train(
                "example",
                "This adapter was not trained with examples: it finds what looks alike to it, often wrongly.",
            )

    @classmethod
    def of_adapter(
        cls, folder_or_hub_id: str | Path, *, prior: str | None = None, device: str = "auto"
    ) -> Tasks:
        """Read an adapter.

        Raises:
            As `KeypointPredictor.from_pretrained`.
        """
        folder = fetch_adapter(folder_or_hub_id)
        adapter = load_adapter(folder, prior)
        condition = adapter.condition
        recipe = read_recipe(adapter.recipe, folder / FACTS_FILE, adapter.model)
        by_example = isinstance(condition, VisualCondition)
        with torch.no_grad():
            own = None if by_example else condition()
        predictor = KeypointPredictor(
            adapter.model,
            own,
            adapter.skeleton,
            **asdict(recipe) | {"flip_test": recipe.flip_test and adapter.skeleton.tells_sides},
            device=device,
        )
        condition.to(predictor.device)
        seen = prior_has_seen(adapter.model.prior.source)
        note = f"Its prior has seen {seen}." if seen else ""
        return cls(predictor, condition, f"adapter {folder}", note)

    @classmethod
    def untrained(cls, prior: str = "tiny", *, device: str = "auto") -> Tasks:
        """No adapter: what the prior alone can answer.

        Raises:
            FileNotFoundError, ValueError: as `Prior.load`.
        """
        model = GenLoc(Prior(prior), context="null", lora=None, timestep=UNTRAINED_TIMESTEP).load()
        skeleton = Skeleton("example", ("point",), (), (), (0.05,))
        predictor = KeypointPredictor(
            model,
            None,
            skeleton,
            crop_size=UNTRAINED_CROP,
            padding=UNTRAINED_PADDING,
            device=device,
        )
        note = (
            "Nothing has been trained: answers are what looks alike to the prior, and often wrong."
        )
        if seen := prior_has_seen(prior):
            note += f" This prior has seen {seen}."
        if (trained := newest_adapter()) is not None:
            note += f"  \nAn adapter lies here, which can do more: `genloc app --adapter {trained}`"
        return cls(predictor, None, f"no adapter; the prior {prior!r} alone", note)

    def _lacking(self) -> dict[Task, str]:
        """Task -> why it cannot be done, in a line."""
        condition, found = self.condition, {}
        if condition is None:
            found["keypoints"] = (
                "Needs a trained adapter: a prior alone knows no keypoints. Train one in a few minutes with "
                f"`{QUICKSTART}`, then start `genloc app --adapter runs/quickstart/adapter`"
            )
            said = (
                "Needs an adapter trained with words: an untrained answer is no better than chance."
            )
            found["words"] = _train("words", said)
            return found  # type: ignore[return-value]
        kind = "its own keypoints"
        if isinstance(condition, VisualCondition):
            kind = "examples"
            found["keypoints"] = (
                "This adapter is asked by examples and has no keypoints of its own."
            )
        if not isinstance(condition, TextCondition):
            found["words"] = _train(
                "words", f"This adapter is asked for {kind}; words need one trained with words."
            )
        if self.predictor.model.read_out != "ckhe":  # type: ignore[attr-defined]
            found["place"] = _train("place", "This adapter does not read CKHE, which names places.")
        return found  # type: ignore[return-value]

    def keypoints(self, picture: PagePicture) -> Keypoints:
        """The adapter's own keypoints, with their maps.

        Raises:
            ValueError: it has none.
        """
        self._able("keypoints")
        return self.predictor(picture.rgb, picture.where, keep_heatmaps=True)

    def words(self, picture: PagePicture, phrases: str) -> Keypoints:
        """What the phrases say, one a line.

        Raises:
            ValueError: no phrase, too many, one twice, or an adapter that knows no words.
            FileNotFoundError: its prior has no tokenizer.
        """
        self._able("words")
        condition, skeleton = ask(self.condition, listed(phrases))
        with torch.no_grad():
            asked = self.predictor.looking_for(condition(), skeleton)
        return asked(picture.rgb, picture.where, keep_heatmaps=True)

    def unread(self, phrases: str) -> str:
        """Which words of the phrases the prior has never read, in a sentence; "" where that says nothing.

        Raises:
            ValueError, FileNotFoundError: as `words`.
        """
        if not isinstance(self.condition, TextCondition) or not phrases.strip():
            return ""
        if not (unread := self.condition.asking(listed(phrases)).unread()):
            return ""
        return (
            f"The prior has never read {', '.join(unread)}: it spells out what it does not know, and what is found "
            "for it may be anything."
        )

    def example(self, example: Example, pictures: Sequence[PagePicture]) -> list[Keypoints]:
        """The example's points, on each picture.

        Raises:
            ValueError: an example without points or with one outside of its box, or no picture.
        """
        self._able("example")
        if not pictures:
            raise ValueError("There is no picture to look in: choose one first.")
        predictor = self._showing(example.support())
        found = predictor(
            [p.rgb for p in pictures], [p.where for p in pictures], keep_heatmaps=True
        )
        return [found.of_image(i) for i in range(len(pictures))]

    def place(
        self, picture: PagePicture, at: Point, *, phrases: str = "", example: Example | None = None
    ) -> dict[str, float]:
        """What is at a place, by name, the likeliest first; probabilities that sum to 1.

        Args:
            at: x, y in kept pixels.
            phrases: candidates in words, one a line, for an adapter that knows words; "" for its own
                keypoints.
            example: whose points are the candidates, for an adapter asked by examples and without one.

        Raises:
            ValueError: less than two candidates, or a place outside of what the model sees.
        """
        self._able("place")
        predictor = self.predictor
        if isinstance(self.condition, TextCondition) and phrases.strip():
            candidates = listed(phrases)
            if len(candidates) < 2:
                raise ValueError(
                    "One candidate alone is always taken to be there: write at least two candidates, one a line, or "
                    "none for the adapter's own keypoints."
                )
            words, skeleton = ask(self.condition, candidates)
            with torch.no_grad():
                predictor = predictor.looking_for(words(), skeleton)
        elif self.condition is None or isinstance(self.condition, VisualCondition):
            if example is None or len(example.points) < 2:
                raise ValueError(
                    "The candidates are the points of the example: click at least two there first."
                )
            predictor = self._showing(example.support())
        elif predictor.skeleton.num_keypoints < 2:
            raise ValueError(
                "This adapter has one keypoint alone, which would be taken to be there wherever you click."
            )
        (named,) = predictor.identify(picture.rgb, [at], picture.where, name=picture.name)
        return named

    def _showing(self, support: Support) -> KeypointPredictor:
        """Looks for what an example shows."""
        own = self.predictor
        if isinstance(self.condition, VisualCondition):
            how = {"crop_size": own.crop_size, "padding": own.padding}
            shown = look_like(own.model, self.condition, [support], **how)  # type: ignore[arg-type]
            return own.looking_for(shown, support.skeleton)
        return by_resemblance(own, support)

    def _able(self, task: Task) -> None:
        if task in self.lacking:
            raise ValueError(self.lacking[task])


def listed(phrases: str) -> list[str]:
    """The lines of a text that are not empty.

    Raises:
        ValueError: none, too many, or one that is too long.
    """
    found = [" ".join(line.split()) for line in phrases.splitlines() if line.strip()]
    if not found:
        raise ValueError('Write what to look for, one a line, such as "the left front paw".')
    if len(found) > MOST_PHRASES:
        raise ValueError(f"At most {MOST_PHRASES} lines at once; these are {len(found)}.")
    if longest := [line for line in found if len(line) > LONGEST_PHRASE]:
        raise ValueError(f"A line may have {LONGEST_PHRASE} letters: {longest[0][:40]}...")
    if twice := [line for line in found if found.count(line) > 1]:
        raise ValueError(f"{twice[0]!r} is asked for twice.")
    return found


def newest_adapter(runs: str | Path = "runs") -> Path | None:
    """The adapter that was trained last in a folder of runs; None where there is none."""
    found = [
        (file.stat().st_mtime, file.parent) for file in Path(runs).glob(f"*/adapter/{FACTS_FILE}")
    ]
    return max(found)[1] if found else None


def _train(task: Task, why: str) -> str:
    return f"{why} Train one: `{DRAW[task]}` once, then `{TRAIN[task]}`"
