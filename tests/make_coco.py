"""Writes COCO keypoint sets of a few pixels: pictures and json, the same bytes for the same arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from genloc.skeleton import AP10K, Skeleton

SPECIES = {1: ("antelope", "Bovidae"), 8: ("dog", "Canidae"), 25: ("cat", "Felidae")}


def write_coco(
    folder: Path,
    *,
    skeleton: Skeleton = AP10K,
    images: int = 6,
    instances: int = 1,
    size: tuple[int, int] = (48, 36),
    species: Sequence[int] = (1, 8),
    hidden: float = 0.1,
    missing: float = 0.2,
    seed: int = 0,
    name: str = "annotations.json",
    change: Callable[[dict[str, Any]], object] | None = None,
) -> Path:
    """Write `folder/name` and `folder/images/*.png`.

    Each instance is a random box of at least 12 pixels with its keypoints inside, each drawn as a dot
    of its own colour; image ids start at 1, annotation ids at 101.

    Args:
        folder: made where absent.
        skeleton: keypoints of every category.
        images, instances: how many pictures, and instances in each.
        size: width and height of the pictures.
        species: category ids, taken in turn by the images.
        hidden, missing: parts of the keypoints with v = 1 and v = 0.
        seed: of everything random.
        name: of the json.
        change: edits the json's object before it is written.

    Returns:
        the json's path.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    width, height = size
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [
            {
                "id": i,
                "name": SPECIES.get(i, (f"species {i}", "Family"))[0],
                "supercategory": SPECIES.get(i, ("", "Family"))[1],
                "keypoints": list(skeleton.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in skeleton.edges],
            }
            for i in species
        ],
    }
    for image in range(1, images + 1):
        picture = rng.integers(60, 120, (height, width, 3), dtype=np.uint8)
        file = f"{image:04d}.png"
        content["images"].append({"id": image, "file_name": file, "width": width, "height": height})
        for _ in range(instances):
            w, h = rng.integers(12, width - 2), rng.integers(12, height - 2)
            x, y = rng.integers(0, width - w), rng.integers(0, height - h)
            n = skeleton.num_keypoints
            xy = np.array([x, y]) + rng.random((n, 2)) * [w - 1, h - 1]
            v = rng.choice([0, 1, 2], n, p=[missing, hidden, 1 - missing - hidden])
            v[0] = 2
            for k in np.flatnonzero(v == 2).tolist():
                colour = (37 * k % 256, 101 * k % 256, 255 - 13 * k % 256)
                cv2.circle(picture, tuple(np.rint(xy[k]).astype(int).tolist()), 1, colour, -1)
            points = np.concatenate([np.where(v[:, None] > 0, xy.round(2), 0), v[:, None]], axis=1)
            content["annotations"].append(
                {
                    "id": 100 + len(content["annotations"]) + 1,
                    "image_id": image,
                    "category_id": species[(image - 1) % len(species)],
                    "bbox": [int(x), int(y), int(w), int(h)],
                    "area": int(w * h),
                    "iscrowd": 0,
                    "num_keypoints": int((v > 0).sum()),
                    "keypoints": points.ravel().tolist(),
                }
            )
        cv2.imwrite(str(folder / "images" / file), picture)
    if change is not None:
        change(content)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name
