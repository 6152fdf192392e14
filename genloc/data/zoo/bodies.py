"""Twenty-five categories of five body plans: what asking by an example is tried on.

Quadrupeds are the zoo's own; birds, fish, insects and furniture have keypoints of their own names.
Category ids start at 101, apart from AP-10K's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from genloc.data.zoo.animal import Animal, make_animal
from genloc.data.zoo.bird import BIRDS, make_bird
from genloc.data.zoo.bird import EDGES as BIRD_EDGES
from genloc.data.zoo.bird import KEYPOINTS as BIRD_KEYPOINTS
from genloc.data.zoo.capsules import Capsules
from genloc.data.zoo.fish import EDGES as FISH_EDGES
from genloc.data.zoo.fish import FISHES, make_fish
from genloc.data.zoo.fish import KEYPOINTS as FISH_KEYPOINTS
from genloc.data.zoo.furniture import PIECES, Edges, make_furniture
from genloc.data.zoo.insect import (
    CRAWLER_EDGES,
    CRAWLER_KEYPOINTS,
    FLIER_EDGES,
    FLIER_KEYPOINTS,
    INSECTS,
    make_insect,
)
from genloc.data.zoo.picture import LAND, Stage
from genloc.data.zoo.scene import WATERS
from genloc.data.zoo.species import SPECIES, Colours
from genloc.data.zoo.write import EDGES, KEYPOINTS

Draw = Callable[[np.random.Generator], tuple[Capsules, np.ndarray, np.ndarray, str]]

WATER = Stage(tuple(WATERS), (6, 14), horizon=False)
FLOOR = Stage(("leaves", "sand", "rock", "grass", "mud"), (30, 18))
ROOM = Stage(("concrete", "straw", "sand", "grass", "snow"), (18, 12))
QUADRUPEDS = ("dog", "horse", "tiger", "elephant", "rabbit")
SHADED = ("countershade", "plain", "backstripe", "patches")
SCALES = ("countershade", "stripes", "spots", "plain")


@dataclass(frozen=True)
class Category:
    """One category.

    Args:
        id, name: of the category.
        plan: body plan, MP-100's supercategory.
        keypoints: their names. edges: counted from 1, as COCO has them.
        stage: where it is shown.
        draw: capsules, joints, radii and pose of one individual; None for the zoo's quadrupeds.
        colours, patterns: of its coat; see `Animal`.
    """

    id: int
    name: str
    plan: str
    keypoints: tuple[str, ...]
    edges: Edges
    stage: Stage = LAND
    draw: Draw | None = None
    colours: Colours = ()
    patterns: tuple[str, ...] = SHADED

    def make(self, rng: np.random.Generator) -> Animal:
        """One individual, on the ground or above it."""
        if self.draw is None:
            names = [name for name, _ in SPECIES]
            return make_animal(names.index(self.name) + 1, rng)
        body, joints, radius, pose = self.draw(rng)
        rise = np.array([0.0, 0.0, max(0.0, -body.lowest())])
        body.move(rise)
        return Animal(
            self.id, self.name, self.colours, self.patterns, body, joints + rise, radius, pose, "level"
        )  # fmt: skip


def _categories() -> tuple[Category, ...]:
    ids = iter(range(101, 1000))
    found = [Category(next(ids), name, "quadruped", KEYPOINTS, EDGES) for name in QUADRUPEDS]

    def add(name: str, plan: str, keypoints: tuple[str, ...], edges: Edges, stage: Stage, draw: Draw,
            colours: Colours, patterns: tuple[str, ...] = SHADED) -> None:  # fmt: skip
        found.append(
            Category(next(ids), name, plan, keypoints, edges, stage, draw, colours, patterns)
        )

    for name, (bird, colours) in BIRDS.items():
        add(name, "bird", BIRD_KEYPOINTS, BIRD_EDGES, LAND, partial(make_bird, bird), colours)
    for name, (fish, colours) in FISHES.items():
        draw = partial(make_fish, fish)
        add(name, "fish", FISH_KEYPOINTS, FISH_EDGES, WATER, draw, colours, SCALES)
    for name, (insect, colours) in INSECTS.items():
        keypoints = FLIER_KEYPOINTS if insect.wings else CRAWLER_KEYPOINTS
        edges = FLIER_EDGES if insect.wings else CRAWLER_EDGES
        add(name, "insect", keypoints, edges, FLOOR, partial(make_insect, insect), colours)
    for name, (piece, colours, keypoints, edges) in PIECES.items():
        plain = ("plain", "patches")
        draw_piece = partial(make_furniture, piece)
        add(name, "furniture", keypoints, edges, ROOM, draw_piece, colours, plain)
    return tuple(found)


CATEGORIES = _categories()
PLANS = tuple(dict.fromkeys(category.plan for category in CATEGORIES))
