"""`read_support`: a labelled picture that says what to look for (`genloc predict --like`).

    {"keypoints": {"beak": [120, 84], "left_eye": [101.5, 70], "tail": null},
     "box": [40, 30, 200, 180], "edges": [["beak", "left_eye"]]}

`box` (x, y, width, height) and `edges` may be left out, null is a keypoint that this picture does not
show. A COCO keypoints json that lists the picture will do as well. Without a box (in COCO: `bbox`) the
example is the whole picture, as where to look is: points alone say nothing of how large their object is.
Pixels: (0, 0) is the centre of the top-left pixel.

Letters: K keypoints, H, W picture pixels, S shots.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genloc.data.annotation import FAR, stated_size, triples, whole
from genloc.data.image import read_image
from genloc.data.transforms import square_crop
from genloc.skeleton import DEFAULT_SIGMA, Skeleton, coco_edges, mirror_pairs, read_coco_json

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Support:
    """A picture and where its keypoints are.

    Args:
        image: uint8 [H, W, 3] RGB.
        points: float32 [K, 3]: x, y in picture pixels, v (0: not shown here).
        box: x, y, width, height of the object, or of the whole picture.
        skeleton: the K keypoints.
    """

    image: np.ndarray
    points: np.ndarray
    box: Box
    skeleton: Skeleton

    def crop(self, size: int, padding: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The crop around the box as models see it.

        Returns:
            float32 [3, size, size] in [-1, 1]; points float32 [K, 2] in crop pixels; bool [K], which
            are shown and inside the crop.
        """
        crop = square_crop(self.box, size, padding=padding)
        pixels = crop.image(self.image).astype(np.float32) / 127.5 - 1
        points = crop.points(self.points[:, :2]).astype(np.float32)
        inside = ((points >= -0.5) & (points <= size - 0.5)).all(axis=1)
        return (
            np.ascontiguousarray(pixels.transpose(2, 0, 1)),
            points,
            inside & (self.points[:, 2] > 0),
        )


def read_support(image: str | Path, points: str | Path) -> Support:
    """Read one support picture and its points.

    Args:
        image: a picture file.
        points: a json file; see the module.

    Raises:
        FileNotFoundError: one of the files is not there.
        OSError: the picture cannot be read.
        ValueError: the json does not say one set of points in this picture.
    """
    path, size = Path(points), None
    if not path.is_file():
        raise FileNotFoundError(f"points: no file {path.absolute()}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError
        raise ValueError(f"points: {path} is not a json file: {error}") from None
    if isinstance(content, dict) and "annotations" in content:
        content, size = _from_coco(read_coco_json(path), Path(image).name, path)
    if not isinstance(content, dict):
        raise ValueError(
            f"points: {path} holds a {type(content).__name__}, expected an object such as "
            '{"keypoints": {"nose": [120, 84]}}'
        )
    given = content.get(
        "keypoints", {k: v for k, v in content.items() if k not in ("box", "edges")}
    )
    pixels = read_image(image, size=size)
    height, width = pixels.shape[:2]
    names, rows = _points(given, (width, height), path)
    box = _box(content.get("box"), (width, height), path)
    edges = _edges(content.get("edges") or [], names, path)
    skeleton = Skeleton(path.stem, names, edges, mirror_pairs(names), (DEFAULT_SIGMA,) * len(names))
    return Support(pixels, rows, box, skeleton)


def read_supports(images: Sequence[str | Path], points: Sequence[str | Path]) -> list[Support]:
    """Read S shots of the same keypoints; the first one's order and edges count for all.

    Raises:
        ValueError: not as many points as pictures, or other keypoints than in the first shot; and as
            `read_support`.
    """
    if not images or len(images) != len(points):
        raise ValueError(
            f"got {len(images)} support picture(s) and {len(points)} file(s) of points; give --points "
            "once for each --like"
        )
    shots = [read_support(*pair) for pair in zip(images, points, strict=True)]
    first = shots[0].skeleton
    found = [shots[0]]
    for path, shot in zip(points[1:], shots[1:], strict=True):
        names = shot.skeleton.keypoints
        if set(names) != set(first.keypoints):
            odd = sorted(set(names) ^ set(first.keypoints))
            raise ValueError(
                f"points: {path} and {points[0]} differ in {odd}; name the same keypoints in all, "
                "null where one is not shown"
            )
        rows = shot.points[[names.index(name) for name in first.keypoints]]
        found.append(Support(shot.image, rows, shot.box, first))
    for k, name in enumerate(first.keypoints):
        if not any(shot.points[k, 2] > 0 for shot in found):
            raise ValueError(
                f"points: no support shows {name!r}; leave it out, or show it in one of them"
            )
    return found


def _points(given: Any, size: tuple[int, int], path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    if not isinstance(given, dict) or not given:
        raise ValueError(
            f"points: {path}: keypoints is {str(given)[:60]}, expected names with x and y, such as "
            '{"nose": [120, 84]}'
        )
    rows = np.zeros((len(given), 3), np.float32)
    for k, (name, place) in enumerate(given.items()):
        if place is None:
            continue
        where = f"points: {path}: {name!r} is {place}"
        numbers = isinstance(place, list) and len(place) in (2, 3)
        if not numbers or any(isinstance(v, bool) or not isinstance(v, int | float) for v in place):
            raise ValueError(f"{where}, expected [x, y] in pixels of the picture, or null")
        if len(place) == 3 and place[2] == 0:
            continue
        try:
            x, y = float(place[0]), float(place[1])
        except OverflowError:
            x = y = math.inf
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"{where}: not finite")
        if not (-0.5 <= x <= size[0] - 0.5 and -0.5 <= y <= size[1] - 0.5):
            raise ValueError(
                f"{where}, outside the picture of {size[0]} x {size[1]} pixels; give pixels of the "
                "picture as it is on disk, upright"
            )
        rows[k] = x, y, 2
    return tuple(str(name) for name in given), rows


def _edges(given: Any, names: tuple[str, ...], path: Path) -> tuple[tuple[int, int], ...]:
    if not isinstance(given, list):
        raise ValueError(
            f"points: {path}: edges is {str(given)[:60]}, expected a list of pairs of names, such as "
            '[["beak", "left_eye"]]'
        )
    for edge in given:
        if not isinstance(edge, list) or len(edge) != 2 or any(name not in names for name in edge):
            raise ValueError(f"points: {path}: edge {str(edge)[:60]} must be two of {list(names)}")
    return tuple((names.index(a), names.index(b)) for a, b in given)


def _box(given: Any, size: tuple[int, int], path: Path) -> Box:
    if given is None:
        return (0.0, 0.0, float(size[0]), float(size[1]))
    where = f"points: {path}: box is {str(given)[:60]}"
    if not isinstance(given, list) or len(given) != 4:
        raise ValueError(f"{where}, expected x, y, width, height")
    try:
        x, y, w, h = (float(v) for v in given)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}, expected x, y, width, height") from None
    if not (w > 0 and h > 0 and all(abs(v) < FAR for v in (x, y, w, h))):
        raise ValueError(f"{where}, expected width and height above 0, in pixels of the picture")
    if x >= size[0] or y >= size[1] or x + w <= 0 or y + h <= 0:
        raise ValueError(f"{where}, outside the picture of {size[0]} x {size[1]} pixels")
    return (x, y, w, h)


def _from_coco(
    content: dict[str, Any], name: str, path: Path
) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """The one annotation of a picture, in our own form, and the size that is stated for the picture."""
    if isinstance(content["images"], dict):  # Animal Pose's own form, where boxes are two corners
        raise ValueError(
            f"points: {path}: images is an object, expected a list; write the points of this one picture "
            'as {"keypoints": {"nose": [120, 84]}, "box": [x, y, width, height]}'
        )
    listed = {}
    for image in content["images"]:
        if Path(str(image.get("file_name"))).name != name:
            continue
        if (id_ := whole(image.get("id"))) is None:
            raise ValueError(
                f"points: {path}: image {name} has id {str(image.get('id'))[:30]}, expected a whole number"
            )
        listed[id_] = image
    found = []
    for record in content["annotations"]:
        if (image_id := whole(record.get("image_id"))) in listed:
            rows = _triples(record, path)
            if (rows[:, 2] > 0).any():
                found.append((record, rows.tolist(), listed[image_id]))
    if len(found) != 1:
        raise ValueError(
            f"points: {path} has {len(found)} labelled instances in the picture {name}, expected one"
        )
    one, rows, image = found[0]
    categories = {c["id"]: c for c in content["categories"]}
    named = categories.get(whole(one.get("category_id")), {})
    names = [str(k) for k in named.get("keypoints") or ()]
    names = names or [f"keypoint_{k}" for k in range(len(rows))]
    if len(names) != len(rows):
        raise ValueError(
            f"points: {path}: {len(rows)} keypoints are labelled but {len(names)} are named"
        )
    if len(set(names)) != len(names):
        raise ValueError(f"points: {path}: category {named['id']} has a name twice: {names}")
    edges = [
        [names[a], names[b]] for a, b in coco_edges(named.get("skeleton") or (), len(names), path)
    ]
    places = {k: (row[:2] if row[2] > 0 else None) for k, row in zip(names, rows, strict=True)}
    box = one.get("bbox") or None
    return {"keypoints": places, "box": box, "edges": edges}, stated_size(image)


def _triples(record: dict[str, Any], path: Path) -> np.ndarray:
    """Its keypoints as float64 [K, 3]: x, y, v, flat or nested in the file; null becomes NaN."""
    given = record.get("keypoints") or []
    with contextlib.suppress(ValueError):
        if isinstance(given, list):
            return triples(given, str(path))
    raise ValueError(
        f"points: {path}: annotation {str(record.get('id'))[:30]}: keypoints is {str(given)[:60]}, expected "
        "x, y, v for each"
    )
