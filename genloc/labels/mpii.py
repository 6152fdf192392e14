"""MPII Human Pose: the published .mat, or the json list that pose toolboxes made of it.

http://human-pose.mpi-inf.mpg.de/#download: 16 joints by id, positions as MATLAB counts, the first
pixel being 1; they become 0 here. The json (HRNet, mmpose) knows only labelled or not, so v is 0
or 2; the .mat says hidden or not, too.

Kept beside the joints where they are there: `center` (x, y in pixels) and `scale` (the person's
height in units of 200 pixels) of either form, and of the .mat `head_size`, the pixels that PCKh
measures errors by: 0.6 x the diagonal of the head's rectangle, as MPII's own evaluation has it
(evalMPII, getHeadSize.m: SC_BIAS = 0.6). The json has no rectangle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from genloc.labels.labelled import Animal, Labelled, Picture, Pictures, no_labels

JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", "upper_neck", "head_top"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)
"""By joint id, 0 to 15."""

HEAD = 0.6
"""Head size over the diagonal of the head's rectangle, in MPII's evaluation."""

EDGES = (
    *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)),
    *((7, 12), (12, 11), (11, 10), (7, 13), (13, 14), (14, 15)),
)


def read_mpii(path: Path, images: Path | None = None) -> Labelled:
    """Read either form.

    Args:
        path: the .mat or .json.
        images: folder of the pictures; around the file by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not in the format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.absolute()}")
    people = _from_mat(path) if path.suffix.lower() == ".mat" else _from_json(path)
    folder = path.absolute().parent
    beside = [folder, folder / "images", folder.parent / "images"]
    finder = Pictures([images] if images is not None else [f for f in beside if f.is_dir()])
    if not people:
        raise no_labels(path, "no person is labelled")
    return Labelled(
        tool="MPII",
        keypoints=JOINTS,
        edges=EDGES,
        pictures=[Picture(name, finder.find(name), found) for name, found in people.items()],
        remarks=["positions are one less than in the file, which counts pixels from 1"],
    )


People = dict[str, tuple[Animal, ...]]  # by picture


def _from_json(path: Path) -> People:
    try:
        records = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    people: People = {}
    for number, record in enumerate(records if isinstance(records, list) else [{}], 1):
        try:
            xy = np.array(record["joints"], float)
            seen = np.array(record["joints_vis"], float) > 0
            name = str(record["image"])
            if xy.shape != (16, 2) or seen.shape != (16,):
                raise ValueError(f"{xy.shape} joints, expected 16 of x, y")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: record {number} is not MPII's: {error!r}") from None
        keypoints = np.column_stack([np.where(seen[:, None], xy - 1, 0), 2.0 * seen])
        person = Animal(
            keypoints,
            category="person",
            more=_place(record.get("center"), record.get("scale")),
        )
        people[name] = people.get(name, ()) + ((person,) if seen.any() else ())
    return people


def _from_mat(path: Path) -> People:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError(f"{path}: a .mat needs scipy; pip install 'genloc[labels]'") from None
    try:
        release = loadmat(path, struct_as_record=False, squeeze_me=True)["RELEASE"]
        entries = np.atleast_1d(release.annolist)
        training = np.atleast_1d(release.img_train)
    except Exception as error:  # scipy raises of every kind on damaged files
        raise ValueError(f"{path} is not MPII's .mat: {error!r}") from None
    people: People = {}
    for entry, is_training in zip(entries, training, strict=True):
        if not is_training:  # the labels of the test pictures are not published
            continue
        found = [_person(rectangle) for rectangle in np.atleast_1d(getattr(entry, "annorect", []))]
        people[str(entry.image.name)] = tuple(person for person in found if person is not None)
    return {name: found for name, found in people.items() if found}


def _person(rectangle: Any) -> Animal | None:
    points = getattr(getattr(rectangle, "annopoints", None), "point", None)
    if points is None:
        return None
    keypoints = np.zeros((16, 3))
    for point in np.atleast_1d(points):
        hidden = str(getattr(point, "is_visible", "")) in ("0", "0.0")
        keypoints[int(point.id)] = float(point.x) - 1, float(point.y) - 1, 1 if hidden else 2
    if not keypoints[:, 2].any():
        return None
    where = getattr(rectangle, "objpos", None)
    more = _place([getattr(where, axis, None) for axis in "xy"], getattr(rectangle, "scale", None))
    head = [_number(getattr(rectangle, side, None)) for side in ("x1", "y1", "x2", "y2")]
    if None not in head:
        x1, y1, x2, y2 = (side for side in head if side is not None)
        more["head_size"] = round(HEAD * float(np.hypot(x2 - x1, y2 - y1)), 3)
    return Animal(keypoints, category="person", more=more)


def _place(center: Any, scale: Any) -> dict[str, Any]:
    """`center` and `scale` of a person, where they are numbers above 0 (MPII writes -1 for none)."""
    found: dict[str, Any] = {}
    at = [_number(value) for value in center] if isinstance(center, list) else []
    if len(at) == 2 and all(value is not None and value > 0 for value in at):
        found["center"] = [value - 1 for value in at if value is not None]
    size = _number(scale)
    if size is not None and size > 0:
        found["scale"] = size
    return found


def _number(value: Any) -> float | None:
    """MATLAB has an empty array where there is nothing."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
