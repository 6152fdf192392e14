"""What a set of keypoints is: names, edges, mirror partners, and how precisely each is labelled.

Four skeletons are known by name (`ap10k`, `coco`, `human_art`, `animalpose`). Any other is read by
`load_skeleton` from the `categories` of a COCO keypoints json, or from a yaml of a few lines.

Letters: K keypoints. Indices count from 0 everywhere here (COCO files count edges from 1).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

Side = Literal["left", "right", "centre"]

OKS_SIGMAS: dict[str, tuple[float, ...]] = {
    # AP-10K commit 417e1d6 ("typo fix in the sigma values"); what current evaluators use.
    "ap10k": (
        *(0.025, 0.025, 0.026, 0.035, 0.035),
        *(0.079, 0.072, 0.062, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089, 0.107, 0.087, 0.089),
    ),
    # Before that commit: left and right interleaved as COCO has them, which is not AP-10K's order.
    # ScarceNet's published few-shot numbers were made with it.
    "ap10k-legacy": (
        *(0.025, 0.025, 0.026, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    "coco": (
        *(0.026, 0.025, 0.025, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    # mmpose's values, carried to this order by keypoint name. Theirs is the only published set; it
    # gives the left ear 0.026 and the nose 0.035, most likely meant the other way round.
    "animalpose": (
        *(0.025, 0.025, 0.035, 0.026, 0.035),
        *(0.107, 0.107, 0.107, 0.107, 0.087, 0.087, 0.087, 0.087, 0.089, 0.089, 0.089, 0.089),
        *(0.1, 0.1, 0.1),
    ),
}

DEFAULT_SIGMA = 0.05
"""Sigma of every keypoint of a set that states none, between COCO's eyes and hips."""


# As a word, or at the start of one: "leftear" and "paw, right", but not "upright".
_SIDE = re.compile(r"(?<![A-Za-z])(left|right)|Left|Right|LEFT|RIGHT")


@dataclass(frozen=True)
class Skeleton:
    """The facts of one keypoint set. Immutable and comparable: equal facts are the same skeleton.

    Args:
        name: what tables and adapters call it.
        keypoints: K distinct names, in the order of every `[K, ...]` array.
        edges: pairs of indices to draw lines between.
        flip_pairs: (left, right) pairs of indices that swap when the picture is mirrored.
        sigmas: K positive OKS constants, in the unit of sqrt(area) (COCO's kappa_i / 2).
        upper_body: indices of the front half (people: head to wrists); empty where unknown.

    Raises:
        ValueError: names repeat, an index is out of range, or sigmas do not fit.
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.keypoints)
        where = f"skeleton {self.name!r}"
        if n == 0:
            raise ValueError(f"{where}: keypoints is empty, expected at least one name")
        if len(set(self.keypoints)) != n:
            raise ValueError(f"{where}: keypoints holds a name twice: {self.keypoints}")
        if len(self.sigmas) != n or not all(0 < s < math.inf for s in self.sigmas):
            raise ValueError(
                f"{where}: sigmas must be {n} positive numbers, one for each keypoint, "
                f"got {len(self.sigmas)}: {self.sigmas}"
            )
        swapped = [i for pair in self.flip_pairs for i in pair]
        joined = [i for pair in self.edges for i in pair]
        given = {"edges": joined, "flip_pairs": swapped, "upper_body": self.upper_body}
        for what, indices in given.items():
            wrong = [i for i in indices if not 0 <= i < n]
            if wrong:
                raise ValueError(f"{where}: {what} holds {wrong}, expected indices 0 to {n - 1}")
        if len(set(swapped)) != len(swapped):
            raise ValueError(f"{where}: flip_pairs uses a keypoint twice: {self.flip_pairs}")

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoints)

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """Permutation of length K: row k in the mirror is row `flip_index[k]`."""
        index = list(range(self.num_keypoints))
        for left, right in self.flip_pairs:
            index[left], index[right] = right, left
        return tuple(index)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """For each keypoint `left`, `right` or (no partner in the mirror) `centre`."""
        sides: list[Side] = ["centre"] * self.num_keypoints
        for left, right in self.flip_pairs:
            sides[left], sides[right] = "left", "right"
        return tuple(sides)

    @cached_property
    def lone_sides(self) -> tuple[int, ...]:
        """Keypoints whose names say left or right and that have no partner: a mirrored picture does not show
        them, but what they are called on the other side, which is not asked for."""
        named = (i for i, name in enumerate(self.keypoints) if _SIDE.search(name))
        return tuple(i for i in named if self.sides[i] == "centre")

    @cached_property
    def tells_sides(self) -> bool:
        """Whether left and right are told apart, by pairs or by a side in some name: then every other keypoint is
        in the middle, and there can be a flip test.

        Without either, keypoints that all lie in the middle cannot be told from ones whose partners are not known
        (`paw2LF`, `paw3RF`). Averaging the latter with the mirrored crop would put each between the two, while the
        former lose only what a flip test adds; training does not mirror either. So neither has one.
        """
        return bool(self.flip_pairs or self.lone_sides)

    def scored_by(self, sigmas: str | None) -> Skeleton:
        """The same keypoints with the sigmas that `OKS_SIGMAS` has under a name; None keeps its own.

        Raises:
            ValueError: no such name, or sigmas of another number of keypoints.
        """
        if sigmas is None:
            return self
        if sigmas not in OKS_SIGMAS:
            raise ValueError(f"no sigmas {sigmas!r}; known: {sorted(OKS_SIGMAS)}")
        values = OKS_SIGMAS[sigmas]
        if len(values) != self.num_keypoints:
            raise ValueError(
                f"sigmas {sigmas!r} are for {len(values)} keypoints, skeleton {self.name!r} has "
                f"{self.num_keypoints}"
            )
        return replace(self, sigmas=values)

    def index(self, name: str) -> int:
        """Position of a keypoint. Raises ValueError listing the known names."""
        if name not in self.keypoints:
            raise ValueError(
                f"no keypoint {name!r} in {self.name!r}; it has {list(self.keypoints)}"
            )
        return self.keypoints.index(name)


AP10K = Skeleton(
    name="ap10k",
    keypoints=(
        *("left_eye", "right_eye", "nose", "neck", "root_of_tail"),
        *("left_shoulder", "left_elbow", "left_front_paw"),
        *("right_shoulder", "right_elbow", "right_front_paw"),
        *("left_hip", "left_knee", "left_back_paw"),
        *("right_hip", "right_knee", "right_back_paw"),
    ),
    edges=(
        *((0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10)),
        *((4, 11), (11, 12), (12, 13), (4, 14), (14, 15), (15, 16)),
    ),
    flip_pairs=((0, 1), (5, 8), (6, 9), (7, 10), (11, 14), (12, 15), (13, 16)),
    sigmas=OKS_SIGMAS["ap10k"],
    upper_body=(0, 1, 2, 3, 5, 6, 7, 8, 9, 10),
)

COCO = Skeleton(
    name="coco",
    keypoints=(
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
        *("left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    edges=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7)),
        *((6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    sigmas=OKS_SIGMAS["coco"],
    upper_body=tuple(range(11)),
)

# Human-Art is evaluated on COCO's 17, with COCO's sigmas; its fingers and toes are left aside.
HUMAN_ART = replace(COCO, name="human_art")

ANIMALPOSE = Skeleton(
    name="animalpose",
    keypoints=(
        *("left_eye", "right_eye", "nose", "left_ear", "right_ear"),
        *("left_front_elbow", "right_front_elbow", "left_back_elbow", "right_back_elbow"),
        *("left_front_knee", "right_front_knee", "left_back_knee", "right_back_knee"),
        *("left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw"),
        *("throat", "withers", "tailbase"),
    ),
    edges=(
        *((0, 1), (0, 2), (1, 2), (0, 3), (1, 4), (2, 17), (18, 19)),
        *((5, 9), (6, 10), (7, 11), (8, 12), (9, 13), (10, 14), (11, 15), (12, 16)),
    ),
    flip_pairs=((0, 1), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    sigmas=OKS_SIGMAS["animalpose"],
    upper_body=(0, 1, 2, 3, 4, 5, 6, 9, 10, 13, 14, 17, 18),
)
