"""Captions of zoo pictures, whole and close-up, and the squares that frame them."""

from __future__ import annotations

import numpy as np

from genloc.data.zoo.picture import Labelled, Picture

# Words for AP-10K's 17 keypoints, in their order; several phrasings each.
PARTS: tuple[tuple[str, ...], ...] = (
    ("left eye",),
    ("right eye",),
    ("nose", "tip of the nose"),
    ("neck", "base of the neck"),
    ("base of the tail", "root of tail"),
    ("left shoulder",),
    ("left elbow", "left front elbow"),
    ("left front paw", "left front foot"),
    ("right shoulder",),
    ("right elbow", "right front elbow"),
    ("right front paw", "right front foot"),
    ("left hip",),
    ("left knee", "left back knee"),
    ("left back paw", "left back foot"),
    ("right hip",),
    ("right knee", "right back knee"),
    ("right back paw", "right back foot"),
)

_STYLE = {
    "photo": ("a photo of", "", "a picture of"),
    "cartoon": ("a cartoon of",),
    "sketch": ("a sketch of", "a drawing of"),
    "painting": ("a painting of",),
    "night": ("a night photo of",),
}
_PATTERN = {
    "spots": "spotted", "stripes": "striped", "patches": "patched", "rings": "ringed", "socks": "",
    "panda": "", "mask": "masked", "saddle": "", "backstripe": "", "countershade": "", "plain": "",
}  # fmt: skip

Square = tuple[float, float, float]  # centre x, centre y, side, in pixels


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def whole_caption(picture: Picture, animal: Labelled, rng: np.random.Generator) -> str:
    """Say what a picture of a whole animal shows; facts are left out now and then."""
    f = animal.facts
    words = [w for w in (_PATTERN[f["pattern"]], f["colour"] if rng.random() < 0.8 else "") if w]
    words.append(f["species"])
    said = " ".join(words)
    opening = str(rng.choice(_STYLE[picture.style]))
    text = f"{opening} {_article(said)}" if opening else _article(said)
    if rng.random() < 0.85:
        text += f" {f['pose']}"
    if rng.random() < 0.85:
        text += " facing " + f["facing"]
    if f["head"] != "level" and rng.random() < 0.6:
        text += ", head " + f["head"]
    if f["view"] and rng.random() < 0.7:
        text += ", " + f["view"]
    if animal.painted:
        named = [f"a {paint} {rng.choice(PARTS[part])}" for part, paint in animal.painted]
        text += ", with " + " and ".join(named)
    elif rng.random() < 0.6:
        text += ", on " + picture.ground
    return text


def whole_square(animal: Labelled, rng: np.random.Generator) -> Square:
    """A square about an animal's box, as a detector's crop would be: loose and a little off."""
    x, y, w, h = animal.box
    side = max(w, h) * rng.uniform(1.0, 1.6)
    shift = rng.uniform(-0.08, 0.08, 2) * max(w, h)
    return float(x + w / 2 + shift[0]), float(y + h / 2 + shift[1]), float(side)


def closeup(animal: Labelled, rng: np.random.Generator) -> tuple[str, Square] | None:
    """A part's words and a square with that part in its middle; None if no part is in the picture.

    This is where the renderer's knowledge of a part's place enters the prior: close-ups are framed
    by it, loosely or tightly, as a photographer would frame them.
    """
    weight = (animal.keypoints[:, 2] == 2) + 0.2 * (animal.keypoints[:, 2] == 1)
    if weight.sum() == 0:
        return None
    part = int(rng.choice(17, p=weight / weight.sum()))
    _, _, w, h = animal.box
    side = max(w, h) * float(np.exp(rng.uniform(np.log(0.25), np.log(1.1))))
    side = max(side, 24.0)
    jitter = rng.normal(0, 0.02, 2) * side
    x, y = animal.keypoints[part, :2]
    phrase = str(rng.choice(PARTS[part]))
    paint = dict(animal.painted).get(part)
    if paint:
        phrase = f"{paint} {phrase}"
    text = f"the {phrase} of {_article(animal.facts['species'])}"
    if rng.random() < 0.35:
        text += " facing " + animal.facts["facing"]
    return text, (float(x + jitter[0]), float(y + jitter[1]), side)
