"""The 54 species of AP-10K, in their 23 families, and the body plan of each.

Names, ids and families are those of AP-10K's categories (https://github.com/AlexTheBad/AP-10K,
CC BY 4.0). The proportions are drawings of ours, not measurements of animals.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class BodyPlan:
    """Proportions in units of the distance from hip to chest (1.0), colours as RGB in 0..1."""

    leg: float = 0.85  # length of a leg
    front: float = 1.0  # length of the front leg relative to the hind leg
    leg_width: float = 0.085
    girth: float = 0.30  # radius of the chest
    hips: float = 0.9  # radius of the hips relative to the chest
    neck: float = 0.40
    neck_width: float = 0.17
    neck_pitch: float = 40.0  # degrees above the back when the animal stands
    head: float = 0.19  # radius of the skull
    snout: float = 0.28
    snout_width: float = 0.6  # relative to the skull
    ear: float = 0.18
    ear_width: float = 0.06
    ear_spread: float = 35.0  # degrees from straight up
    eye_front: float = 0.5  # 0: eyes at the sides of the head, 1: eyes in front
    tail: float = 0.6
    tail_width: float = 0.04
    tail_tip: float = 0.6  # width of the tip relative to the root; above 1 it is a tassel or brush
    horn: str = "none"  # none, curved, straight, antler, nose, ossicone
    trunk: float = 0.0
    mane: float = 0.0
    hump: float = 0.0
    wing: bool = False
    hoof: bool = False
    colours: tuple[tuple[float, float, float], ...] = ((0.50, 0.38, 0.26),)
    patterns: tuple[str, ...] = ("plain", "countershade")


BROWN, DARK, GREY = (0.47, 0.33, 0.20), (0.16, 0.13, 0.12), (0.52, 0.51, 0.50)
WHITE, CREAM, ORANGE = (0.90, 0.89, 0.86), (0.82, 0.72, 0.55), (0.78, 0.45, 0.18)
TAN, RED, BLACK = (0.70, 0.55, 0.36), (0.50, 0.24, 0.14), (0.08, 0.08, 0.09)
BLUE, GREEN, YELLOW = (0.20, 0.36, 0.70), (0.22, 0.50, 0.24), (0.86, 0.74, 0.20)
Colours = tuple[tuple[float, float, float], ...]

FAMILIES: dict[str, BodyPlan] = {
    "Bovidae": BodyPlan(
        leg=0.85, girth=0.32, neck=0.42, neck_width=0.2, snout=0.34, ear=0.17, ear_spread=75,
        horn="curved", eye_front=0.15, tail=0.55, tail_tip=1.3, hoof=True,
        colours=(BROWN, DARK, WHITE, TAN), patterns=("plain", "patches", "countershade"),
    ),
    "Canidae": BodyPlan(
        leg=0.88, girth=0.24, neck=0.36, head=0.17, snout=0.3, snout_width=0.5, ear=0.2,
        ear_spread=22, eye_front=0.6, tail=0.62, tail_width=0.09, tail_tip=0.9,
        colours=(GREY, ORANGE, BROWN, WHITE), patterns=("countershade", "saddle", "plain", "mask"),
    ),
    "Castoridae": BodyPlan(
        leg=0.4, girth=0.33, hips=1.15, neck=0.18, neck_pitch=20, head=0.2, snout=0.16, ear=0.07,
        ear_width=0.05, tail=0.6, tail_width=0.11, tail_tip=1.4, colours=(BROWN, RED),
    ),
    "Cercopithecidae": BodyPlan(
        leg=0.95, front=1.05, leg_width=0.065, girth=0.22, neck=0.2, neck_pitch=45, head=0.2,
        snout=0.13, ear=0.08, ear_width=0.055, ear_spread=85, eye_front=0.95, tail=1.2,
        tail_width=0.04, tail_tip=0.8, colours=(BROWN, GREY, BLACK, ORANGE), patterns=("plain", "mask"),
    ),
    "Cervidae": BodyPlan(
        leg=1.1, leg_width=0.06, girth=0.27, neck=0.62, neck_width=0.13, neck_pitch=50, head=0.15,
        snout=0.32, snout_width=0.5, ear=0.22, ear_spread=60, horn="antler", eye_front=0.15,
        tail=0.18, hoof=True, colours=(BROWN, TAN, RED), patterns=("countershade", "spots", "plain"),
    ),
    "Cricetidae": BodyPlan(
        leg=0.28, girth=0.42, hips=1.05, neck=0.08, neck_pitch=15, head=0.28, snout=0.14, ear=0.13,
        ear_width=0.09, ear_spread=40, tail=0.08, colours=(CREAM, ORANGE, GREY),
        patterns=("patches", "countershade", "plain"),
    ),
    "Elephantidae": BodyPlan(
        leg=0.85, leg_width=0.15, girth=0.42, neck=0.22, neck_width=0.26, neck_pitch=25, head=0.28,
        snout=0.12, ear=0.34, ear_width=0.17, ear_spread=95, eye_front=0.2, tail=0.5, horn="tusk",
        trunk=0.95, colours=(GREY, (0.42, 0.40, 0.40)), patterns=("plain",),
    ),
    "Equidae": BodyPlan(
        leg=1.05, leg_width=0.07, girth=0.3, neck=0.62, neck_width=0.18, neck_pitch=48, head=0.16,
        snout=0.42, snout_width=0.62, ear=0.15, ear_spread=15, eye_front=0.15, tail=0.75,
        tail_width=0.06, tail_tip=1.6, mane=0.8, hoof=True, colours=(BROWN, RED, BLACK, WHITE, TAN),
        patterns=("plain", "socks", "patches"),
    ),
    "Felidae": BodyPlan(
        leg=0.72, leg_width=0.085, girth=0.23, neck=0.24, neck_pitch=30, head=0.19, snout=0.12,
        snout_width=0.62, ear=0.11, ear_width=0.065, ear_spread=35, eye_front=0.85, tail=0.95,
        tail_width=0.055, tail_tip=0.9, colours=(TAN, ORANGE, GREY, CREAM),
        patterns=("spots", "plain", "stripes", "countershade"),
    ),
    "Giraffidae": BodyPlan(
        leg=1.5, front=1.12, leg_width=0.07, girth=0.3, hips=0.8, neck=1.55, neck_width=0.14,
        neck_pitch=62, head=0.14, snout=0.3, ear=0.14, ear_spread=70, horn="ossicone",
        eye_front=0.15, tail=0.6, tail_tip=2.0, mane=0.4, hoof=True, colours=(TAN, CREAM),
        patterns=("patches", "spots"),
    ),
    "Hippopotamidae": BodyPlan(
        leg=0.5, leg_width=0.14, girth=0.44, neck=0.2, neck_width=0.3, neck_pitch=8, head=0.27,
        snout=0.4, snout_width=0.95, ear=0.07, eye_front=0.2, tail=0.2, colours=((0.45, 0.36, 0.36), GREY),
        patterns=("plain", "countershade"),
    ),
    "Hominidae": BodyPlan(
        leg=0.72, front=1.35, leg_width=0.1, girth=0.33, hips=0.8, neck=0.16, neck_width=0.2,
        neck_pitch=45, head=0.25, snout=0.13, snout_width=0.75, ear=0.07, ear_spread=90,
        eye_front=0.97, tail=0.0, colours=(BLACK, DARK, ORANGE), patterns=("plain", "saddle"),
    ),
    "Leporidae": BodyPlan(
        leg=0.55, front=0.72, girth=0.3, hips=1.2, neck=0.15, neck_pitch=40, head=0.22, snout=0.15,
        ear=0.5, ear_width=0.065, ear_spread=15, eye_front=0.1, tail=0.12, tail_width=0.09,
        tail_tip=1.2, colours=(GREY, BROWN, WHITE), patterns=("plain", "countershade", "patches"),
    ),
    "Mephitidae": BodyPlan(
        leg=0.42, girth=0.25, hips=1.2, neck=0.2, neck_pitch=15, head=0.15, snout=0.18, ear=0.07,
        tail=0.9, tail_width=0.12, tail_tip=1.5, colours=(BLACK, DARK), patterns=("backstripe",),
    ),
    "Muridae": BodyPlan(
        leg=0.32, leg_width=0.055, girth=0.3, hips=1.15, neck=0.12, neck_pitch=10, head=0.2,
        snout=0.22, snout_width=0.6, ear=0.16, ear_width=0.11, ear_spread=50, eye_front=0.2,
        tail=1.25, tail_width=0.03, colours=(GREY, BROWN, WHITE), patterns=("plain", "countershade"),
    ),
    "Mustelidae": BodyPlan(
        leg=0.36, girth=0.17, hips=1.1, neck=0.32, neck_pitch=25, head=0.14, snout=0.14, ear=0.06,
        ear_width=0.05, eye_front=0.6, tail=0.65, tail_width=0.06, colours=(BROWN, RED, DARK),
        patterns=("countershade", "plain"),
    ),
    "Procyonidae": BodyPlan(
        leg=0.58, girth=0.28, hips=1.15, neck=0.2, neck_pitch=20, head=0.19, snout=0.2,
        snout_width=0.5, ear=0.11, ear_width=0.06, eye_front=0.7, tail=0.75, tail_width=0.09,
        colours=(GREY, BROWN), patterns=("mask", "rings"),
    ),
    "Rhinocerotidae": BodyPlan(
        leg=0.58, leg_width=0.13, girth=0.4, neck=0.3, neck_width=0.27, neck_pitch=0, head=0.22,
        snout=0.42, snout_width=0.8, ear=0.14, ear_spread=30, eye_front=0.15, tail=0.35, horn="nose",
        hump=0.3, colours=(GREY, (0.50, 0.46, 0.42)), patterns=("plain",),
    ),
    "Sciuridae": BodyPlan(
        leg=0.42, girth=0.26, hips=1.15, neck=0.15, neck_pitch=35, head=0.19, snout=0.15, ear=0.12,
        ear_spread=20, eye_front=0.3, tail=0.9, tail_width=0.12, tail_tip=1.5,
        colours=(RED, GREY, BROWN), patterns=("countershade", "backstripe", "plain"),
    ),
    "Suidae": BodyPlan(
        leg=0.52, leg_width=0.08, girth=0.34, neck=0.2, neck_width=0.25, neck_pitch=5, head=0.2,
        snout=0.36, snout_width=0.62, ear=0.18, ear_width=0.08, ear_spread=50, eye_front=0.25,
        tail=0.25, tail_width=0.03, hoof=True, colours=((0.86, 0.62, 0.58), DARK, BROWN),
        patterns=("plain", "patches"),
    ),
    "Talpidae": BodyPlan(
        leg=0.24, leg_width=0.09, girth=0.28, neck=0.06, neck_pitch=5, head=0.2, snout=0.26,
        snout_width=0.4, ear=0.02, eye_front=0.4, tail=0.2, colours=(DARK, BLACK), patterns=("plain",),
    ),
    "Ursidae": BodyPlan(
        leg=0.62, leg_width=0.13, girth=0.36, hips=1.0, neck=0.26, neck_width=0.24, neck_pitch=15,
        head=0.22, snout=0.22, snout_width=0.55, ear=0.09, ear_width=0.075, ear_spread=45,
        eye_front=0.75, tail=0.08, hump=0.25, colours=(BROWN, BLACK, WHITE), patterns=("plain", "mask", "socks"),
    ),
    "Vespertilionidae": BodyPlan(
        leg=0.42, front=2.0, leg_width=0.04, girth=0.24, hips=0.8, neck=0.1, neck_pitch=25, head=0.19,
        snout=0.12, ear=0.24, ear_width=0.09, ear_spread=30, eye_front=0.7, tail=0.3, wing=True,
        colours=(DARK, BROWN), patterns=("plain", "countershade"),
    ),
}  # fmt: skip

# AP-10K's categories, in the order of their ids, which start at 1.
SPECIES: tuple[tuple[str, str], ...] = tuple(
    (name.strip(), family)
    for family, names in (
        ("Bovidae", "antelope, argali sheep, bison, buffalo, cow, sheep"),
        ("Canidae", "arctic fox, dog, fox, wolf"),
        ("Castoridae", "beaver"),
        ("Cercopithecidae", "alouatta, monkey, noisy night monkey, spider monkey, uakari"),
        ("Cervidae", "deer, moose"),
        ("Cricetidae", "hamster"),
        ("Elephantidae", "elephant"),
        ("Equidae", "horse, zebra"),
        ("Felidae", "bobcat, cat, cheetah, jaguar, king cheetah, leopard, lion, panther, snow leopard, tiger"),
        ("Giraffidae", "giraffe"),
        ("Hippopotamidae", "hippo"),
        ("Hominidae", "chimpanzee, gorilla, orangutan"),
        ("Leporidae", "rabbit"),
        ("Mephitidae", "skunk"),
        ("Muridae", "mouse, rat"),
        ("Mustelidae", "otter, weasel"),
        ("Procyonidae", "raccoon"),
        ("Rhinocerotidae", "rhino"),
        ("Sciuridae", "marmot, squirrel"),
        ("Suidae", "pig"),
        ("Talpidae", "mole"),
        ("Ursidae", "black bear, brown bear, panda, polar bear"),
        ("Vespertilionidae", "bat"),
    )
    for name in names.split(",")
)  # fmt: skip

# What makes a species look like itself where the family alone would not.
_DETAILS: dict[str, dict[str, object]] = {
    "antelope": dict(leg=1.1, girth=0.25, leg_width=0.055, horn="straight", colours=(TAN,), neck=0.5),
    "bison": dict(hump=0.8, mane=0.9, girth=0.38, neck_pitch=5, colours=(DARK, BROWN)),
    "buffalo": dict(girth=0.36, neck_pitch=12, colours=(DARK, GREY)),
    "sheep": dict(girth=0.4, leg=0.6, horn="none", colours=(WHITE, CREAM)),
    "argali sheep": dict(horn="curved", girth=0.32, leg=0.75, colours=(TAN, CREAM)),
    "cow": dict(colours=(WHITE, BROWN, BLACK), patterns=("patches", "plain")),
    "arctic fox": dict(colours=(WHITE,), ear=0.13, snout=0.22, patterns=("plain",)),
    "fox": dict(colours=(ORANGE,), tail_width=0.11, patterns=("countershade", "socks")),
    "wolf": dict(colours=(GREY,), leg=0.98),
    "spider monkey": dict(front=1.25, leg=1.1, tail=1.5),
    "uakari": dict(tail=0.2, colours=(RED, ORANGE), patterns=("mask",)),
    "noisy night monkey": dict(head=0.23, colours=(GREY,)),
    "moose": dict(snout=0.42, hump=0.5, colours=(DARK, BROWN), snout_width=0.75, patterns=("plain",)),
    "zebra": dict(colours=(WHITE,), patterns=("stripes",), neck=0.52),
    "tiger": dict(colours=(ORANGE,), patterns=("stripes",), girth=0.26),
    "lion": dict(colours=(TAN, CREAM), patterns=("plain",), mane=1.0, tail_tip=2.0),
    "panther": dict(colours=(BLACK,), patterns=("plain",)),
    "cheetah": dict(leg=0.95, girth=0.2, colours=(TAN, CREAM), patterns=("spots",)),
    "king cheetah": dict(leg=0.95, girth=0.2, colours=(CREAM,), patterns=("backstripe", "spots")),
    "leopard": dict(patterns=("spots",), colours=(TAN,)),
    "jaguar": dict(patterns=("spots",), colours=(ORANGE,), girth=0.27),
    "snow leopard": dict(patterns=("spots",), colours=(WHITE, GREY), tail=1.15, tail_width=0.08),
    "bobcat": dict(tail=0.2, ear=0.16, patterns=("spots", "countershade")),
    "orangutan": dict(colours=(ORANGE, RED), front=1.5),
    "gorilla": dict(colours=(BLACK, DARK), girth=0.38, patterns=("saddle", "plain")),
    "rat": dict(girth=0.26, snout=0.27, colours=(BROWN, GREY)),
    "otter": dict(girth=0.2, tail_width=0.08),
    "squirrel": dict(tail=1.1),
    "marmot": dict(tail=0.45, girth=0.33, colours=(BROWN, TAN)),
    "black bear": dict(colours=(BLACK,), patterns=("mask", "plain")),
    "brown bear": dict(colours=(BROWN,), hump=0.5),
    "panda": dict(colours=(WHITE,), patterns=("panda",)),
    "polar bear": dict(colours=(WHITE, CREAM), patterns=("plain",), neck=0.36),
}  # fmt: skip


def body_plan(category_id: int) -> BodyPlan:
    """The plan of a species: its family's, with its own details.

    Args:
        category_id: AP-10K's category id, 1 to 54.

    Raises:
        ValueError: if there is no such species.
    """
    if not 1 <= category_id <= len(SPECIES):
        raise ValueError(f"category_id is {category_id}; the zoo has species 1 to {len(SPECIES)}")
    name, family = SPECIES[category_id - 1]
    plan = FAMILIES[family]
    # A species differs a little from its family even where no detail is listed for it.
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    nudge = {
        field: float(getattr(plan, field) * rng.uniform(0.92, 1.08))
        for field in ("leg", "girth", "neck", "head", "snout", "ear", "tail", "hips")
    }
    return replace(plan, **{**nudge, **_DETAILS.get(name, {})})  # type: ignore[arg-type]


def species_name(category_id: int) -> str:
    """AP-10K's name of a species id."""
    return SPECIES[category_id - 1][0]
