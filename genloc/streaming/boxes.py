"""Where to look in a frame: boxes of a file, of a detector, or the whole picture.

Boxes: x, y, width, height in picture pixels.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from genloc.data.coco import CocoKeypoints
from genloc.media import Frame, Pictures, name_in
from genloc.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Found:
    """The boxes of one frame.

    Args:
        boxes: float64 [N, 4].
        scores: float64 [N].
        category_ids: N species, as results have them.
        annotation_ids: N ids of the annotations they are from, or None.
        notes: what was left out, in words.
    """

    boxes: np.ndarray
    scores: np.ndarray
    category_ids: Sequence[int]
    annotation_ids: Sequence[int] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)

    def inside(self, size: tuple[int, int]) -> Found:
        """Without those that lie outside of a picture of that width and height."""
        x, y, w, h = self.boxes.T
        inside = (x < size[0]) & (y < size[1]) & (x + w > 0) & (y + h > 0)
        keep = np.flatnonzero(inside).tolist()
        if len(keep) == len(self):
            return self
        out = [self.boxes[i].tolist() for i in range(len(self)) if i not in keep]
        note = f"left out, outside of the picture of {size[0]} x {size[1]} pixels: boxes {out}"
        ids = self.annotation_ids
        return Found(
            self.boxes[keep],
            self.scores[keep],
            [self.category_ids[i] for i in keep],
            None if ids is None else [ids[i] for i in keep],
            (*self.notes, note),
        )


class BoxSource(Protocol):
    """Says where to look."""

    @property
    def facts(self) -> str:
        """What the boxes depend on; a run goes on only with the same."""
        ...

    def find(self, frame: Frame) -> Found:
        """The boxes of a frame whose picture is there."""
        ...


@dataclass(frozen=True)
class WholePicture:
    """One box, the whole picture."""

    facts: str = "the whole picture"

    def find(self, frame: Frame) -> Found:
        assert frame.picture is not None
        width, height = frame.picture.size
        return Found(np.array([[0.0, 0.0, width, height]]), np.ones(1), [1])


@dataclass(frozen=True, eq=False)
class FileBoxes:
    """Boxes that a file states; a frame it does not name has none."""

    facts: str
    by_frame: dict[str | int, Found] = field(repr=False)

    def find(self, frame: Frame) -> Found:
        found = self.by_frame.get(frame.name, self.by_frame.get(frame.index))
        return Found(np.zeros((0, 4)), np.zeros(0), []) if found is None else found

    def unknown(self, names: Sequence[str]) -> list[str | int]:
        """The frames that the file names and an input with these names does not have.

        Raises:
            ValueError: that are all of them.
        """
        known = {*names, *range(len(names))}
        unknown = [frame for frame in self.by_frame if frame not in known]
        if len(unknown) == len(self.by_frame):
            raise ValueError(
                f"boxes: {self.facts.split()[0]} names none of the {len(names)} frames of the input. It has "
                f"{unknown[:2]}, the input {list(names[:2])}; name pictures by their path below the input"
            )
        return unknown


def coco_boxes(
    file: Path, images: Path, skeleton: Skeleton, *, all_boxes: bool = False
) -> tuple[Pictures, FileBoxes, dict[str, int], str]:
    """The boxes of a COCO json, as `genloc test` takes them.

    Args:
        file: the json, with `images` and `annotations`.
        images: folder that its `file_name` is relative to.
        skeleton: the keypoints to be found.
        all_boxes: take boxes without labelled keypoints as well where others have them. A file in which none
            has any always gives all its boxes.

    Returns:
        The pictures that have boxes, their boxes, name -> image id, and what was read in words.

    Raises:
        FileNotFoundError, ValueError: see `CocoKeypoints`.
    """
    source = CocoKeypoints(file, images, skeleton=skeleton, require_keypoints=False)
    labelled = [i for i in source.instances if (i.keypoints[:, 2] > 0).any()]
    if labelled and not all_boxes:
        source = CocoKeypoints(file, images, skeleton=skeleton)
    grouped: dict[Path, list[Any]] = {}
    for instance in source.instances:
        grouped.setdefault(instance.file, []).append(instance)
    if not grouped:
        raise ValueError(f"boxes: {file} has no box to look in\n{source.summary()}")
    by_frame: dict[str | int, Found] = {}
    ids, sizes = {}, {}
    for path, instances in grouped.items():
        name = name_in(images, path)
        ids[name] = instances[0].image_id
        if instances[0].image_size:
            sizes[name] = instances[0].image_size
        by_frame[name] = Found(
            np.array([i.box for i in instances], np.float64),
            np.ones(len(instances)),
            [i.category_id for i in instances],
            [i.annotation_id for i in instances],
        )
    pictures = Pictures(images, list(grouped), sizes)
    facts = f"{file.name} {source.checksum}"
    return pictures, FileBoxes(facts, by_frame), ids, source.summary()


def csv_boxes(file: Path) -> FileBoxes:
    """Boxes of a csv with a header: `image` (file name) or `frame` (number from 0), then x, y, width, height
    and, where known, score.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, or a row is no box; names the line.
    """
    import hashlib

    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"boxes: no file {file.absolute()}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"boxes: {file} is not text: {error}") from None
    reader = csv.DictReader(text.splitlines())
    columns = [name.strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    key = next((name for name in ("image", "frame") if name in columns), None)
    lacking = {"x", "y", "width", "height"} - set(columns)
    if key is None or lacking:
        raise ValueError(
            f"boxes: {file} has the columns {columns}; expected image (a file name) or frame (a number from "
            "0), x, y, width, height and, where known, score"
        )
    rows: dict[str | int, list[tuple[float, ...]]] = {}
    for row in reader:
        where = f"boxes: {file}, line {reader.line_num}"
        try:
            x, y, w, h = (float(row[name]) for name in ("x", "y", "width", "height"))
            score = float(row.get("score") or 1)
            place: str | int = int(row[key]) if key == "frame" else row[key].strip()
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{where} is no box: {error}") from None
        if not (w > 0 and h > 0 and math.isfinite(x + y + w + h) and 0 <= score < math.inf):
            raise ValueError(
                f"{where}: {x}, {y}, {w}, {h}, score {score}; expected finite numbers, width and height "
                "above 0, score at least 0"
            )
        rows.setdefault(place, []).append((x, y, w, h, score))
    if not rows:
        raise ValueError(f"boxes: {file} has no row")
    by_frame = {
        place: Found(np.array(r)[:, :4], np.array(r)[:, 4], [1] * len(r))
        for place, r in rows.items()
    }
    return FileBoxes(f"{file.name} {hashlib.sha256(data).hexdigest()[:16]}", by_frame)
