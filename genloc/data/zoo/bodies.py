"""Twenty-five categories of five body plans: what asking by an example is tried on.

Quadrupeds are the zoo's own; birds, fish, insects and furniture have keypoints of their own names.
Category ids start at 101, apart from AP-10K's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from genloc.data.zoo import bird, fish, furniture, insect
from genloc.data.zoo.animal import Animal, make_animal
from genloc.data.zoo.bird import BirdPlan
from genloc.data.zoo.capsules import Capsules
from genloc.data.zoo.fish import FishPlan
from genloc.data.zoo.furniture import FurniturePlan
from genloc.data.zoo.insect import InsectPlan
from genloc.data.zoo.picture import LAND, Stage
from genloc.data.zoo.scene import WATERS
from genloc.data.zoo.species import (
    BLACK,
    BROWN,
    CREAM,
    DARK,
    GREY,
    ORANGE,
    RED,
    SPECIES,
    TAN,
    WHITE,
)
from genloc.data.zoo.write import EDGES, KEYPOINTS

Colours = tuple[tuple[float, float, float], ...]
Made = tuple[Capsules, np.ndarray, np.ndarray, str]
WATER = Stage(tuple(WATERS), (6, 14), horizon=False)
FLOOR = Stage(("leaves", "sand", "rock", "grass", "mud"), (30, 18))
ROOM = Stage(("concrete", "straw", "sand", "grass", "snow"), (18, 12))
BLUE, GREEN, YELLOW = (0.20, 0.36, 0.70), (0.22, 0.50, 0.24), (0.86, 0.74, 0.20)


@dataclass(frozen=True)
class Category:
    """One category: its id, name and body plan (MP-100's supercategory), its keypoints, edges
    (counted from 1, as COCO has them), where it is shown, and what draws one individual."""

    id: int
    name: str
    plan: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    stage: Stage
    make: Callable[[np.random.Generator], Animal]


def _body(
    make: Callable[[Any, np.random.Generator], Made], plan: Any, colours: Colours,
    patterns: tuple[str, ...], id_: int, name: str, rng: np.random.Generator,
) -> Animal:  # fmt: skip
    capsules, joints, radius, pose = make(plan, rng)
    shift = np.array([0.0, 0.0, max(0.0, -capsules.lowest())])
    capsules.move(shift)
    return Animal(id_, name, colours, patterns, capsules, joints + shift, radius, pose, "level")


PLAIN, SHADED = ("plain", "patches"), ("countershade", "plain", "backstripe", "patches")
SCALES = ("countershade", "stripes", "spots", "plain")

_BIRDS: dict[str, tuple[BirdPlan, Colours]] = {
    "sparrow": (BirdPlan(), (BROWN, TAN, GREY)),
    "duck": (
        BirdPlan(upright=6, girth=0.36, neck=0.42, beak=0.24, beak_width=0.1, leg=0.3, tail=0.3),
        (GREEN, BROWN, WHITE),
    ),
    "heron": (
        BirdPlan(
            upright=30,
            girth=0.25,
            neck=1.05,
            head=0.16,
            beak=0.5,
            beak_width=0.055,
            leg=1.35,
            tail=0.28,
            crest=0.2,
        ),
        (GREY, WHITE, BLUE),
    ),
    "owl": (
        BirdPlan(
            upright=68,
            girth=0.4,
            neck=0.04,
            head=0.36,
            beak=0.02,
            beak_width=0.06,
            hook=0.8,
            eye_front=0.95,
            leg=0.26,
            tail=0.3,
            crest=-0.16,
        ),
        (BROWN, CREAM, GREY),
    ),
    "parrot": (
        BirdPlan(
            upright=52,
            girth=0.3,
            neck=0.1,
            head=0.25,
            beak=0.1,
            beak_width=0.11,
            hook=0.6,
            leg=0.24,
            tail=1.1,
            tail_width=0.1,
        ),
        (GREEN, RED, BLUE, YELLOW),
    ),
}
_FISH: dict[str, tuple[FishPlan, Colours]] = {
    "trout": (FishPlan(), (GREY, BROWN, GREEN)),
    "shark": (
        FishPlan(
            depth=0.2,
            width=0.17,
            nose=0.15,
            dorsal=0.34,
            dorsal_at=0.38,
            dorsal_long=0.16,
            anal=0.1,
            tail=0.48,
            tail_uneven=0.35,
            pectoral=0.5,
        ),
        (GREY, BLUE, DARK),
    ),
    "angelfish": (
        FishPlan(
            depth=0.5,
            width=0.1,
            nose=0.35,
            dorsal=0.5,
            dorsal_at=0.35,
            dorsal_long=0.5,
            anal=0.5,
            tail=0.34,
            pectoral=0.2,
        ),
        (YELLOW, WHITE, BLUE),
    ),
    "goldfish": (
        FishPlan(
            depth=0.34,
            width=0.27,
            nose=0.9,
            dorsal=0.3,
            dorsal_at=0.32,
            dorsal_long=0.42,
            anal=0.2,
            tail=0.6,
            pectoral=0.24,
        ),
        (ORANGE, RED, CREAM),
    ),
    "tuna": (
        FishPlan(
            depth=0.28,
            width=0.21,
            nose=0.3,
            dorsal=0.26,
            dorsal_at=0.4,
            dorsal_long=0.12,
            anal=0.24,
            tail=0.46,
            pectoral=0.34,
        ),
        (BLUE, DARK, GREY),
    ),
}
_INSECTS: dict[str, tuple[InsectPlan, Colours]] = {
    "ant": (
        InsectPlan(head=0.17, thorax=0.13, abdomen=0.2, abdomen_long=0.42, waist=0.16, jaws=0.12),
        (BLACK, RED, BROWN),
    ),
    "beetle": (
        InsectPlan(
            head=0.14,
            thorax=0.24,
            abdomen=0.36,
            abdomen_long=0.62,
            waist=-0.1,
            leg=0.62,
            antenna=0.3,
            jaws=0.16,
        ),
        (BLACK, GREEN, BLUE, RED),
    ),
    "grasshopper": (
        InsectPlan(
            head=0.15,
            thorax=0.17,
            abdomen=0.15,
            abdomen_long=0.95,
            waist=-0.08,
            leg=0.58,
            hind=2.0,
            antenna=0.6,
        ),
        (GREEN, TAN, BROWN),
    ),
    "butterfly": (
        InsectPlan(
            head=0.1,
            thorax=0.1,
            abdomen=0.08,
            abdomen_long=0.5,
            waist=0.0,
            antenna=0.42,
            wings=1.0,
            wing_wide=0.44,
            hindwing=0.72,
        ),
        (ORANGE, BLUE, YELLOW, WHITE),
    ),
    "dragonfly": (
        InsectPlan(
            head=0.14,
            thorax=0.15,
            abdomen=0.07,
            abdomen_long=1.15,
            waist=0.0,
            antenna=0.12,
            wings=1.1,
            wing_wide=0.13,
            hindwing=0.95,
        ),
        (BLUE, GREEN, RED),
    ),
}
_FURNITURE: dict[
    str, tuple[FurniturePlan, Colours, tuple[str, ...], tuple[tuple[int, int], ...]]
] = {
    "chair": (
        FurniturePlan(),
        (BROWN, RED, WHITE, BLUE),
        furniture.SEAT_KEYPOINTS,
        furniture.SEAT_EDGES,
    ),
    "armchair": (
        FurniturePlan(width=0.5, depth=0.46, height=0.5, thick=0.1, back=0.75, arms=0.36, leg=0.06),
        (RED, GREEN, GREY, BROWN),
        furniture.ARMCHAIR_KEYPOINTS,
        furniture.ARMCHAIR_EDGES,
    ),
    "sofa": (
        FurniturePlan(
            width=1.15, depth=0.46, height=0.45, thick=0.11, back=0.6, arms=0.3, leg=0.06
        ),
        (GREY, BLUE, CREAM, RED),
        furniture.ARMCHAIR_KEYPOINTS,
        furniture.ARMCHAIR_EDGES,
    ),
    "bed": (
        FurniturePlan("bed", width=0.7, depth=1.1, height=0.42, thick=0.12, back=0.6, leg=0.06),
        (WHITE, BLUE, CREAM),
        furniture.BED_KEYPOINTS,
        furniture.BED_EDGES,
    ),
    "desk": (
        FurniturePlan("desk", width=0.9, depth=0.45, height=0.85, thick=0.05, leg=0.05),
        (BROWN, WHITE, GREY),
        furniture.DESK_KEYPOINTS,
        furniture.DESK_EDGES,
    ),
}
_QUADRUPEDS = ("dog", "horse", "tiger", "elephant", "rabbit")


def _categories() -> tuple[Category, ...]:
    found: list[Category] = []

    def add(name: str, plan: str, keypoints: tuple[str, ...], edges: tuple[tuple[int, int], ...],
            stage: Stage, make: Callable[[int], Callable]) -> None:  # fmt: skip
        id_ = 101 + len(found)
        found.append(Category(id_, name, plan, keypoints, edges, stage, make(id_)))

    names = [name for name, _ in SPECIES]
    for name in _QUADRUPEDS:
        species = names.index(name) + 1
        add(name, "quadruped", KEYPOINTS, EDGES, LAND, lambda _, s=species: partial(make_animal, s))
    for name, (bird_plan, colours) in _BIRDS.items():
        add(
            name,
            "bird",
            bird.KEYPOINTS,
            bird.EDGES,
            LAND,
            lambda i, n=name, p=bird_plan, c=colours: partial(
                _body, bird.make_bird, p, c, SHADED, i, n
            ),
        )
    for name, (fish_plan, colours) in _FISH.items():
        add(
            name,
            "fish",
            fish.KEYPOINTS,
            fish.EDGES,
            WATER,
            lambda i, n=name, p=fish_plan, c=colours: partial(
                _body, fish.make_fish, p, c, SCALES, i, n
            ),
        )
    for name, (insect_plan, colours) in _INSECTS.items():
        flies = insect_plan.wings > 0
        add(
            name,
            "insect",
            insect.FLIER_KEYPOINTS if flies else insect.CRAWLER_KEYPOINTS,
            insect.FLIER_EDGES if flies else insect.CRAWLER_EDGES,
            FLOOR,
            lambda i, n=name, p=insect_plan, c=colours: partial(
                _body, insect.make_insect, p, c, SHADED, i, n
            ),
        )
    for name, (made, colours, keypoints, edges) in _FURNITURE.items():
        add(
            name,
            "furniture",
            keypoints,
            edges,
            ROOM,
            lambda i, n=name, p=made, c=colours: partial(
                _body, furniture.make_furniture, p, c, PLAIN, i, n
            ),
        )
    return tuple(found)


CATEGORIES = _categories()
PLANS = tuple(dict.fromkeys(category.plan for category in CATEGORIES))
