"""Annotation files for tests of splits: records only, no pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from genloc.splits import Label, Source

FAMILIES = {
    "antelope": "Bovidae",
    "cow": "Bovidae",
    "dog": "Canidae",
    "fox": "Canidae",
    "horse": "Equidae",
    "cat": "Felidae",
    "hamster": "Cricetidae",
}


@st.composite
def sources(draw: st.DrawFn, file: str = "train.json", first: int = 1) -> Source:
    """Up to 60 animals on up to 30 images, several on some, of two or more families."""
    names = draw(st.lists(st.sampled_from(sorted(FAMILIES)), min_size=2, max_size=60))
    if len({FAMILIES[name] for name in names}) < 2:
        names = [*names, "dog", "horse"]
    images = draw(
        st.lists(st.integers(first, first + 29), min_size=len(names), max_size=len(names))
    )
    labels = tuple(
        Label(1000 * first + i, image, name, FAMILIES[name])
        for i, (name, image) in enumerate(zip(names, images, strict=True))
    )
    return Source(file, f"{first:016x}", labels, ("nose", "tail", "left_paw"))


def record(id_: int, image: int, category: int, *, v: int = 2) -> dict[str, Any]:
    return {
        "id": id_,
        "image_id": image,
        "category_id": category,
        "bbox": [1, 1, 20, 20],
        "area": 400,
        "iscrowd": 0,
        "keypoints": [5, 5, v, 0, 0, 0, 7, 7, v],
    }


def content(images: int = 40, seed: int = 0, first: int = 1) -> dict[str, Any]:
    """A COCO keypoints object: each image shows one to three animals, mostly of one species."""
    species = sorted(FAMILIES)
    annotations = []
    for image in range(first, first + images):
        main = 1 + image % len(species)
        for n in range(1 + (image * image + seed) % 3):
            category = main if n == 0 else 1 + (5 * image + 3 * n + seed) % len(species)
            annotations.append(record(100 * image + n, image, category))
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(first, first + images)],
        "annotations": annotations,
        "categories": [
            {
                "id": n,
                "name": name,
                "supercategory": FAMILIES[name],
                "keypoints": ["nose", "tail", "left_paw"],
            }
            for n, name in enumerate(species, 1)
        ],
    }


def write(path: Path, given: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(given), encoding="utf-8")
    return path
