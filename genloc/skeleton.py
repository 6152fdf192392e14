"""What a set of keypoints is: names, edges, mirror partners, and how precisely each is labelled.

Four skeletons are known by name (`ap10k`, `coco`, `human_art`, `animalpose`). Any other is read by
`load_skeleton` from the `categories` of a COCO keypoints json, or from a yaml of a few lines.

Letters: K keypoints. Indices count from 0 everywhere here (COCO files count edges from 1).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

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
        if len(self.sigmas) != n or min(self.sigmas) <= 0:
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

_KNOWN = {s.name: s for s in (AP10K, COCO, HUMAN_ART, ANIMALPOSE)}


def load_skeleton(spec: str | Path) -> Skeleton:
    """The skeleton that `spec` names.

    Args:
        spec: `ap10k`, `coco`, `human_art` or `animalpose`; or a COCO keypoints json (names, edges
            from its categories, flip pairs from left/right in the names, sigmas `DEFAULT_SIGMA`,
            upper body unknown); or a yaml with any of `name`, `annotations` (such a json, relative
            to the yaml; the yaml wins), `keypoints`, `edges`, `flip_pairs`, `sigmas` (K numbers,
            one, or a name of `OKS_SIGMAS`), `upper_body`, keypoints by name or index from 0.

    Raises:
        FileNotFoundError: neither a known name nor a file.
        ValueError: the file does not describe one skeleton.
    """
    if str(spec) in _KNOWN:
        return _KNOWN[str(spec)]
    path = Path(spec)
    if not path.is_file():
        raise FileNotFoundError(
            f"no skeleton {str(spec)!r}: expected one of {sorted(_KNOWN)} or the path of a COCO "
            f"keypoints .json or a .yaml; there is no file {path.absolute()}"
        )
    return _from_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else _from_json(path)


def read_coco_json(path: str | Path) -> dict[str, Any]:
    """The object in a COCO keypoints json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not json, or not an object with `images`, `annotations` and `categories`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no annotation file {path.absolute()}") from None
    except ValueError as error:  # also UnicodeDecodeError
        raise ValueError(f"{path} is not a json file: {error}") from None
    wanted = ("images", "annotations", "categories")
    if isinstance(content, list):
        keys = f" with {sorted(content[0])}" if content and isinstance(content[0], dict) else ""
        raise ValueError(
            f"{path} is not in COCO keypoints format: it is a list of {len(content)} records"
            f"{keys}, expected an object with {', '.join(wanted)}; convert it first"
        )
    missing = ", ".join(k for k in wanted if not isinstance(content, dict) or k not in content)
    if missing:
        raise ValueError(f"{path} is not in COCO keypoints format: it lacks {missing}")
    return content


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) index pairs found in the names: `left_eye`/`right_eye`, `Eye_Left`/`Eye_Right`,
    `L_Eye`/`R_Eye`, `eyeL`/`eyeR`, `forelegL1`/`forelegR1`. A name without its partner is no pair.
    """
    words = [("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("L", "R")]
    words += [(r"(?<![A-Za-z])l(?![A-Za-z])", "r")]
    pairs: dict[int, int] = {}
    for i, name in enumerate(names):
        for left, right in words:
            for m in re.finditer(left, name):
                partner = name[: m.start()] + right + name[m.end() :]
                if partner in names:
                    pairs.setdefault(i, names.index(partner))
    return tuple(pairs.items())


def _from_json(path: Path, given: dict[str, Any] | None = None) -> Skeleton:
    content = read_coco_json(path)
    named = [c for c in content["categories"] if c.get("keypoints")]
    if len({tuple(c["keypoints"]) for c in named}) > 1:
        raise ValueError(f"{path}: its categories differ in keypoints; give a skeleton by name")
    if named:
        names = [str(k).strip() for k in named[0]["keypoints"]]
        edges = _edges_of(named[0].get("skeleton") or [], len(names), path)
    else:
        rows: list[Any] = next(
            (a["keypoints"] for a in content["annotations"] if a.get("keypoints")), []
        )
        count = len(rows) if rows and isinstance(rows[0], list) else len(rows) // 3
        names, edges = [f"keypoint_{i}" for i in range(count)], []
    return _build({"name": path.stem, "keypoints": names, "edges": edges, **(given or {})}, path)


def _edges_of(pairs: list[list[int]], count: int, path: Path) -> list[tuple[int, int]]:
    """Edges from 0. COCO counts from 1; several published files count from 0."""
    flat = [i for pair in pairs for i in pair]
    first = 0 if 0 in flat else 1
    if any(not 0 <= i - first < count for i in flat):
        # CrowdPose copies COCO's 19 edges to 14 other keypoints: none of them means anything there.
        warnings.warn(
            f"{path}: skeleton names keypoint {max(flat)} of {count}; edges left out", stacklevel=2
        )
        return []
    return [(a - first, b - first) for a, b in pairs]


def _from_yaml(path: Path) -> Skeleton:
    import yaml  # here, so that reading a named skeleton needs the standard library only

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not a yaml file: {error}") from None
    known = {"name", "annotations", "keypoints", "edges", "flip_pairs", "sigmas", "upper_body"}
    if not isinstance(content, dict) or set(content) - known:
        got = sorted(set(content) - known) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path}: got {got}, expected only {sorted(known)}")
    content.setdefault("name", path.stem)
    if "annotations" in content:
        return _from_json(path.parent / str(content.pop("annotations")), content)
    if "keypoints" not in content:
        raise ValueError(f"{path}: expected `keypoints` (names) or `annotations` (a COCO json)")
    return _build(content, path)


def _build(given: dict[str, Any], path: Path) -> Skeleton:
    names = tuple(str(k) for k in given["keypoints"])

    def at(keypoint: Any) -> int:
        if isinstance(keypoint, str) and keypoint not in names:
            raise ValueError(f"{path}: no keypoint {keypoint!r}; there are {list(names)}")
        return names.index(keypoint) if isinstance(keypoint, str) else int(keypoint)

    def pairs(key: str) -> tuple[tuple[int, int], ...]:
        rows = given.get(key) or ()
        if any(not isinstance(row, (list, tuple)) or len(row) != 2 for row in rows):
            raise ValueError(f"{path}: {key} must be pairs of keypoints, got {rows}")
        return tuple((at(a), at(b)) for a, b in rows)

    sigmas = given.get("sigmas", DEFAULT_SIGMA)
    if isinstance(sigmas, str):
        if sigmas not in OKS_SIGMAS:
            raise ValueError(f"{path}: no sigmas {sigmas!r}; known by name: {sorted(OKS_SIGMAS)}")
        sigmas = OKS_SIGMAS[sigmas]
    elif isinstance(sigmas, (int, float)):
        sigmas = [sigmas] * len(names)
    return Skeleton(
        name=str(given["name"]),
        keypoints=names,
        edges=pairs("edges"),
        flip_pairs=pairs("flip_pairs") if "flip_pairs" in given else mirror_pairs(names),
        sigmas=tuple(float(s) for s in sigmas),
        upper_body=tuple(at(k) for k in given.get("upper_body") or ()),
    )
