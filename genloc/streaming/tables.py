"""From the journal to what other tools read: COCO results, and DeepLabCut's csv. A frame in memory at a time."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from genloc.skeleton import Skeleton
from genloc.streaming.journal import Journal

SCORER = "genloc"


def write_coco(journal: Journal, path: Path, image_ids: dict[str, int] | None = None) -> int:
    """Write COCO keypoint results. Returns how many.

    Each record also has `bbox`, the box that was looked in, and `file_name`, the frame's.

    Args:
        image_ids: name of a frame -> its image id; without it the frame's place from 0.
    """
    count = 0
    with _whole(path) as file:
        file.write("[")
        for record in journal.records():
            for one in record["instances"]:
                image = image_ids[record["name"]] if image_ids else record["index"]
                flat = [value for point in one["keypoints"] for value in point]
                result = {
                    "image_id": image,
                    "category_id": one["category_id"],
                    "keypoints": flat,
                    "score": one["score"],
                    "bbox": one["bbox"],
                    "file_name": record["name"],
                }
                if "annotation_id" in one:
                    result["annotation_id"] = one["annotation_id"]
                file.write(("," if count else "") + "\n" + json.dumps(result))
                count += 1
        file.write("\n]\n")
    return count


def write_deeplabcut(journal: Journal, path: Path, skeleton: Skeleton, *, numbered: bool) -> int:
    """Write a csv in DeepLabCut's layout: `pandas.read_csv(path, header=[0, 1, 2], index_col=0)`.

    Columns are scorer, bodyparts and coords (x, y, likelihood); where a frame has several animals a level
    `individuals` comes second, and header is [0, 1, 2, 3]. Rows are frame numbers or file names; cells are
    empty where nothing was found. A likelihood is the keypoint's score.

    Args:
        numbered: rows are frame numbers (a video).

    Returns:
        The number of individuals.
    """
    most = max((len(record["instances"]) for record in journal.records()), default=0)
    individuals = [f"individual{i + 1}" for i in range(max(most, 1))]
    columns = [
        (SCORER, individual, part, coordinate)
        for individual in individuals
        for part in skeleton.keypoints
        for coordinate in ("x", "y", "likelihood")
    ]
    levels = [("scorer", 0), ("individuals", 1), ("bodyparts", 2), ("coords", 3)]
    if most <= 1:
        del levels[1]
    empty = [""] * (3 * skeleton.num_keypoints)
    with _whole(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        for name, level in levels:
            rows.writerow([name, *(column[level] for column in columns)])
        for record in journal.records():
            cells: list[str | float] = []
            for i in range(len(individuals)):
                if i < len(record["instances"]):
                    cells += [value for p in record["instances"][i]["keypoints"] for value in p]
                else:
                    cells += empty
            rows.writerow([record["index"] if numbered else record["name"], *cells])
    return most


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """A text file that appears when it is whole."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
