"""MPII Human Pose: the published .mat, or the json list that pose toolboxes made of it.

http://human-pose.mpi-inf.mpg.de/#download: 16 joints by id, positions as MATLAB counts, the first
pixel being 1; they become 0 here. The json (HRNet, mmpose) knows only labelled or not, so v is 0
or 2; the .mat says hidden or not, too.
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
        pictures=[
            Picture(name, finder.find(name), tuple(Animal(k, category="person") for k in found))
            for name, found in people.items()
        ],
        remarks=["positions are one less than in the file, which counts pixels from 1"],
    )


def _from_json(path: Path) -> dict[str, list[np.ndarray]]:
    try:
        records = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    people: dict[str, list[np.ndarray]] = {}
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
        kept = people.setdefault(name, [])
        if seen.any():
            kept.append(keypoints)
    return people


def _from_mat(path: Path) -> dict[str, list[np.ndarray]]:
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
    people: dict[str, list[np.ndarray]] = {}
    for entry, is_training in zip(entries, training, strict=True):
        if not is_training:  # the labels of the test pictures are not published
            continue
        found = [_person(rectangle) for rectangle in np.atleast_1d(getattr(entry, "annorect", []))]
        people[str(entry.image.name)] = [k for k in found if k is not None]
    return {name: found for name, found in people.items() if found}


def _person(rectangle: Any) -> np.ndarray | None:
    points = getattr(getattr(rectangle, "annopoints", None), "point", None)
    if points is None:
        return None
    keypoints = np.zeros((16, 3))
    for point in np.atleast_1d(points):
        hidden = str(getattr(point, "is_visible", "")) in ("0", "0.0")
        keypoints[int(point.id)] = float(point.x) - 1, float(point.y) - 1, 1 if hidden else 2
    return keypoints if keypoints[:, 2].any() else None
