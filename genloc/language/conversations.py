"""Instruction conversations about keypoints, from the labels of any COCO-format set.

The form is LocLLM's (https://arxiv.org/abs/2406.04659, its `coco.py`): after the picture come rounds of
a description, a question and an answer, which is the place as parts of the crop's sides with three
decimals. The sentences are our own; what keypoints are called and where they lie is said by
`genloc.conditions.descriptions`.

    Image: <256 patches>
    Keypoint: The left elbow, elbow, on the left, below the left shoulder.
    Question: Where is the left elbow?
    Answer: [0.512,0.233]</s>

Letters: K keypoints. Parts: 0 is the crop's left or upper edge, 1 the other one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genloc.conditions.descriptions import Description, load_descriptions
from genloc.data.batch import sample_generator
from genloc.data.coco import CocoKeypoints
from genloc.data.transforms import square_crop
from genloc.language.answers import say

HEAD = "Image: "
"""What stands before the patches of the picture."""
QUESTIONS = (
    "Where is the {name}?",
    "At which place is the {name}?",
    "Look for the {name}.",
    "Point at the {name} of this body.",
    "What are x and y of the {name}?",
)
"""The first is asked in evaluation; training draws among them."""
TALK = (
    3  # the purpose of these draws: 0 is augmentation, 1 the latent's noise, 2 a condition's words
)


@dataclass(frozen=True)
class Round:
    """One description, question and answer.

    Args:
        keypoint: its name in the skeleton.
        prompt: all that is said before the answer.
        answer: "[0.512,0.233]"; empty where it is asked for.
    """

    keypoint: str
    prompt: str
    answer: str = ""


@dataclass(frozen=True)
class Conversation:
    """All rounds about one instance, to be spoken after its picture."""

    annotation_id: int
    rounds: tuple[Round, ...]

    def text(self, patches: str = "<patches>", end: str = "</s>") -> str:
        """As one text, the picture being `patches` and every answer closed by `end`."""
        return HEAD + patches + "".join(r.prompt + r.answer + end for r in self.rounds)


def ask(keypoint: str, said: Description, generator: np.random.Generator | None = None) -> Round:
    """A question for one keypoint.

    Args:
        keypoint: its name in the skeleton.
        said: what it is called and where it lies.
        generator: draws name and question; None: the first of each, as in evaluation.
    """
    name, question = said.names[0], QUESTIONS[0]
    if generator is not None:
        name = said.names[int(generator.integers(len(said.names)))]
        question = QUESTIONS[int(generator.integers(len(QUESTIONS)))]
    described = ", ".join((name, *said.parts))
    asked = question.format(name=name)
    return Round(keypoint, f"\nKeypoint: The {described}.\nQuestion: {asked}\nAnswer: ")


def converse(
    descriptions: Mapping[str, Description],
    parts: np.ndarray,
    visible: np.ndarray,
    generator: np.random.Generator,
    *,
    rounds: int = 5,
    paraphrase: bool = True,
) -> tuple[Round, ...]:
    """Rounds about some of the visible keypoints of a crop, in random order.

    Args:
        descriptions: of the K keypoints, in the skeleton's order.
        parts: float [K, 2], x and y as parts of the crop's sides.
        visible: bool [K], labelled and inside the crop; only these are asked for.
        generator: the only source of chance.
        rounds: the most; LocLLM has five on COCO.
        paraphrase: draw name and question, too.

    Raises:
        ValueError: shapes that do not fit, rounds below 1, or a visible point outside the crop.
    """
    k = len(descriptions)
    if np.shape(parts) != (k, 2) or np.shape(visible) != (k,):
        raise ValueError(
            f"parts has shape {list(np.shape(parts))} and visible {list(np.shape(visible))}, expected "
            f"[{k}, 2] and [{k}] for the {k} keypoints that are described"
        )
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, expected at least 1")
    names = list(descriptions)
    drawn = generator.permutation(np.flatnonzero(visible))[:rounds]
    found = []
    for i in drawn.tolist():
        asked = ask(names[i], descriptions[names[i]], generator if paraphrase else None)
        found.append(Round(asked.keypoint, asked.prompt, say(parts[i])))
    return tuple(found)


def conversations(
    source: CocoKeypoints,
    descriptions: str | Mapping[str, Description] | None = None,
    *,
    rounds: int = 5,
    paraphrase: bool = True,
    padding: float = 1.25,
    seed: int = 0,
    epoch: int = 0,
) -> Iterator[Conversation]:
    """A conversation about each instance of a set, in its plain crop; no picture is read.

    Args:
        source: the labels.
        descriptions: as `load_descriptions` takes them, or what it gives.
        rounds, paraphrase: see `converse`.
        padding: side of the crop over the longer side of the box.
        seed, epoch: what is drawn is a function of these and the annotation's id alone.

    Raises:
        FileNotFoundError, ValueError: descriptions that are not there or say nothing of a keypoint.
    """
    said = described(descriptions, source)
    for instance in source.instances:
        crop = square_crop(instance.box, 1, padding=padding)
        parts = crop.points(instance.keypoints[:, :2]) + 0.5
        inside = ((parts >= 0) & (parts <= 1)).all(axis=1) & (instance.keypoints[:, 2] > 0)
        generator = sample_generator(seed, epoch, instance.annotation_id, purpose=TALK)
        yield Conversation(
            instance.annotation_id,
            converse(said, parts, inside, generator, rounds=rounds, paraphrase=paraphrase),
        )


def described(
    given: str | Mapping[str, Description] | None, source: CocoKeypoints
) -> Mapping[str, Description]:
    """The descriptions of a set's keypoints, read where they are not there yet."""
    if isinstance(given, Mapping):
        return given
    return load_descriptions(given, source.skeleton)


def every_text(descriptions: Sequence[Description]) -> list[str]:
    """All that can be said of keypoints, for a tokenizer made from it."""
    texts = [HEAD, *QUESTIONS, *(ask("", said).prompt for said in descriptions)]
    return texts + [name for said in descriptions for name in said.names]
