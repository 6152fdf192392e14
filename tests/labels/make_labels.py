"""Writes small label sets in the published forms of other tools, and the truth that is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("snout", "left_ear", "right_ear", "tail")
SIZE = (64, 48)


def write_pictures(folder: Path, names: list[str]) -> None:
    """Grey pictures, each of its own grey."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        grey = np.full(SIZE[::-1], 40 + 10 * number, np.uint8)
        Image.fromarray(grey).save(folder / name)


def truth(pictures: int, animals: int = 1, seed: int = 0) -> np.ndarray:
    """float64 [pictures, animals, 4, 2], quarter pixels inside the picture; the second picture's
    first animal has no left ear (NaN)."""
    rng = np.random.default_rng(seed)
    xy = rng.integers(8, 150, (pictures, animals, len(NAMES), 2)) / 4
    if pictures > 1:
        xy[1, 0, 1] = np.nan
    return xy


def same_points(annotation: dict, xy: np.ndarray) -> bool:
    """Whether a COCO annotation holds these points, NaN being v = 0."""
    rows = np.reshape(annotation["keypoints"], (-1, 3))
    there = np.isfinite(xy).all(axis=1)
    return bool(
        np.array_equal(rows[:, 2] > 0, there)
        and np.allclose(rows[there, :2], xy[there])
        and not rows[~there].any()
    )


def write_deeplabcut(path: Path, truth: dict) -> None:
    """The first animal of each picture in DeepLabCut's layout."""
    names = truth["categories"][0]["keypoints"]
    columns = [name for name in names for _ in "xy"]
    lines = [["scorer", *("me" for _ in columns)], ["bodyparts", *columns]]
    lines.append(["coords", *("xy"[i % 2] for i in range(len(columns)))])
    for image in truth["images"]:
        one = next(a for a in truth["annotations"] if a["image_id"] == image["id"])
        points = zip(*(one["keypoints"][i::3] for i in range(3)), strict=True)
        numbers = [str(n) if v else "" for x, y, v in points for n in (x, y)]
        lines.append([f"images/{image['file_name']}", *numbers])
    path.write_text("\n".join(",".join(line) for line in lines), encoding="utf-8")
