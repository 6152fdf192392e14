"""Skeletons and annotations from files: COCO keypoints json, and a yaml of a few lines."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genloc.skeleton.definition import (
    ANIMALPOSE,
    AP10K,
    COCO,
    DEFAULT_SIGMA,
    HUMAN_ART,
    OKS_SIGMAS,
    Skeleton,
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
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(path)
    return _build(_of_categories(path), path)


def read_coco_json(path: str | Path, *, strict: bool = True) -> dict[str, Any]:
    """The object in a COCO keypoints json.

    Args:
        path: the file.
        strict: refuse lists and records that are not what the format has; without it only the three
            keys are sure to be there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not json, or not an object with `images`, `annotations` and `categories`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no annotation file {path.absolute()}") from None
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError
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
    if strict:
        _check_form(content, path)
    return content


def _check_form(content: dict[str, Any], path: Path) -> None:
    """Refuse what is no list of records, and categories that name no keypoints as the format does."""
    for key in ("images", "annotations", "categories"):
        records = content[key]
        if key == "images" and isinstance(records, dict):  # Animal Pose: from id to file name
            records = []
        if not isinstance(records, list):
            raise ValueError(f"{path}: {key} is {_kind(records)}, expected a list of objects")
        odd = next((i for i, r in enumerate(records) if not isinstance(r, dict)), None)
        if odd is not None:
            raise ValueError(f"{path}: {key}[{odd}] is {_kind(records[odd])}, expected an object")
    for i, category in enumerate(content["categories"]):
        where = f"{path}: categories[{i}]"
        if not isinstance(category.get("id"), int):
            raise ValueError(f"{where} has id {category.get('id')!r}, expected a whole number")
        names = category.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(n, (str, int, float)) for n in names):
            raise ValueError(f"{where}: keypoints is {_kind(names)}, expected a list of names")
        edges = category.get("skeleton") or []
        if not isinstance(edges, list) or not all(_is_pair(edge) for edge in edges):
            raise ValueError(f"{where}: skeleton is not a list of pairs of whole numbers")


def _is_pair(edge: Any) -> bool:
    return isinstance(edge, list) and len(edge) == 2 and all(isinstance(i, int) for i in edge)


def _kind(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) < 40 else shown[:36] + '...'}"


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) index pairs found in the names: `left_eye`/`right_eye`, `Eye_Left`/`Eye_Right`,
    `L_Eye`/`R_Eye`, `eyeL`/`eyeR`, `forelegL1`/`forelegR1`. A name without its partner is no pair.
    """
    place = {name: i for i, name in reversed(list(enumerate(names)))}
    partner: dict[int, tuple[int, bool]] = {}  # and whether this one is the left one
    for i, name in enumerate(names):
        for other, is_left in _other_side(name):
            if other in place:
                partner.setdefault(i, (place[other], is_left))
    pairs = {i: j for i, (j, is_left) in partner.items() if is_left}
    return tuple((i, j) for i, j in pairs.items() if partner.get(j, (-1, True))[0] == i)


_SIDES = (
    ("left|right", "left", "right"),
    ("Left|Right", "Left", "Right"),
    ("LEFT|RIGHT", "LEFT", "RIGHT"),
    ("[LR]", "L", "R"),
    ("(?<![A-Za-z])[lr](?![A-Za-z])", "l", "r"),
)


def _other_side(name: str) -> Iterator[tuple[str, bool]]:
    """What a name may be in the mirror, the likeliest first, and whether the side it says first is left."""
    for pattern, left, right in _SIDES:
        other = {left: right, right: left}
        found = list(re.finditer(pattern, name))
        if len(found) > 1:  # "left_eye_right_corner" is "right_eye_left_corner"
            parts = re.split(f"({pattern})", name)
            yield "".join(other.get(part, part) for part in parts), found[0].group() == left
        for m in found:
            yield name[: m.start()] + other[m.group()] + name[m.end() :], m.group() == left


def _of_categories(path: Path) -> dict[str, Any]:
    """What a COCO keypoints json says of its skeleton, as a yaml would."""
    content = read_coco_json(path)
    named = [c for c in content["categories"] if c.get("keypoints")]
    if len({tuple(c["keypoints"]) for c in named}) > 1:
        raise ValueError(f"{path}: its categories differ in keypoints; give a skeleton by name")
    if named:
        names = [str(k).strip() for k in named[0]["keypoints"]]
        edges = coco_edges(named[0].get("skeleton") or [], len(names), path)
    else:
        given_rows = (a.get("keypoints") for a in content["annotations"])
        rows: list[Any] = next((r for r in given_rows if r and isinstance(r, list)), [])
        count = len(rows) if rows and isinstance(rows[0], list) else len(rows) // 3
        names, edges = [f"keypoint_{i}" for i in range(count)], []
    return {"name": path.stem, "keypoints": names, "edges": edges}


def coco_edges(pairs: Sequence[Sequence[int]], count: int, path: Path) -> list[tuple[int, int]]:
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
    except (yaml.YAMLError, ValueError) as error:  # also UnicodeDecodeError
        raise ValueError(f"{path} is not a yaml file: {error}") from None
    known = {"name", "annotations", "keypoints", "edges", "flip_pairs", "sigmas", "upper_body"}
    if not isinstance(content, dict) or set(content) - known:
        got = sorted(set(content) - known) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path}: got {got}, expected only {sorted(known)}")
    content.setdefault("name", path.stem)
    if "annotations" in content:
        content = _of_categories(path.parent / str(content.pop("annotations"))) | content
    if "keypoints" not in content:
        raise ValueError(f"{path}: expected `keypoints` (names) or `annotations` (a COCO json)")
    return _build(content, path)


def _build(given: dict[str, Any], path: Path) -> Skeleton:
    """The skeleton of a file's facts; `path` is the file that a mistake in them is said of."""

    def listed(key: str) -> list[Any]:
        value = given.get(key)
        if value is not None and not isinstance(value, (list, tuple)):
            raise ValueError(f"{path}: {key} is {_kind(value)}, expected a list")
        return list(value or ())

    names = tuple(str(k) for k in listed("keypoints"))

    def at(key: str, keypoint: Any) -> int:
        if isinstance(keypoint, int):
            return keypoint
        if keypoint not in names:
            raise ValueError(f"{path}: {key}: no keypoint {keypoint!r}; there are {list(names)}")
        return names.index(keypoint)

    def pairs(key: str) -> tuple[tuple[int, int], ...]:
        rows = listed(key)
        if any(not isinstance(row, (list, tuple)) or len(row) != 2 for row in rows):
            raise ValueError(f"{path}: {key} must be pairs of keypoints, got {rows}")
        return tuple((at(key, a), at(key, b)) for a, b in rows)

    sigmas = given.get("sigmas", DEFAULT_SIGMA)
    if isinstance(sigmas, str):
        if sigmas not in OKS_SIGMAS:
            raise ValueError(f"{path}: no sigmas {sigmas!r}; known by name: {sorted(OKS_SIGMAS)}")
        sigmas = OKS_SIGMAS[sigmas]
    elif isinstance(sigmas, (int, float)):
        sigmas = [sigmas] * len(names)
    try:
        numbers = tuple(float(s) for s in sigmas)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{path}: sigmas is {_kind(sigmas)}, expected a number, one for each keypoint, or a name "
            f"of {sorted(OKS_SIGMAS)}"
        ) from None
    return Skeleton(
        name=str(given["name"]),
        keypoints=names,
        edges=pairs("edges"),
        flip_pairs=pairs("flip_pairs") if "flip_pairs" in given else mirror_pairs(names),
        sigmas=numbers,
        upper_body=tuple(at("upper_body", k) for k in listed("upper_body")),
    )
