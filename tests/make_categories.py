"""Writes small sets whose categories each have keypoints of their own, as MP-100 is laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genloc.skeleton import Skeleton
from tests.make_coco import write_coco

FISH = Skeleton(
    "fish", ("mouth", "left_fin", "right_fin", "tail"), ((0, 3),), ((1, 2),), (0.05,) * 4
)
CHAIR = Skeleton(
    "chair", ("seat", "left_foot", "right_foot"), ((0, 1), (0, 2)), ((1, 2),), (0.05,) * 3
)


def write_categories(
    folder: Path, *, images: int = 6, name: str = "categories.json", seed: int = 0, **options: Any
) -> Path:
    """Write `folder/name` and `folder/images/{fish,chair}/*.png`: `images` of each category.

    The annotations of the two categories take turns, and images are listed backwards, so that no
    order is that of the ids.
    """
    parts = []
    for n, skeleton in enumerate((FISH, CHAIR)):
        own = folder / "images" / skeleton.name
        path = write_coco(
            own, skeleton=skeleton, images=images, species=(7 + n,), seed=seed + n, **options
        )
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["id"] += 1000 * n
            image["file_name"] = f"{skeleton.name}/images/{image['file_name']}"
        for annotation in content["annotations"]:
            annotation["id"] += 1000 * n
            annotation["image_id"] += 1000 * n
        content["categories"][0]["name"] = skeleton.name
        parts.append(content)
    turns = [a for pair in zip(*(p["annotations"] for p in parts), strict=True) for a in pair]
    whole = {
        "images": [i for p in parts for i in p["images"]][::-1],
        "annotations": turns,
        "categories": [c for p in parts for c in p["categories"]],
    }
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(whole), encoding="utf-8")
    return folder / name
