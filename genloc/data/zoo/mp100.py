"""Write the zoo's twenty-five categories as MP-100 is published: for asking by an example."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2

from genloc.data.zoo.bodies import CATEGORIES, PLANS, Category
from genloc.data.zoo.picture import Labelled, draw_scene
from genloc.data.zoo.scene import STYLES
from genloc.data.zoo.write import (
    annotation,
    check_size,
    in_processes,
    picture_rng,
    refuse_labels_of_others,
    write_jpeg,
    write_json,
)

SEED_CATEGORIES = 3  # first word of the generators' keys, beside SEED_ZOO and SEED_PRIOR
SPLITS = 5
TRAINED_ON = 8  # tenths of the pictures of a training category; the others are `val`


def categories_of(split: int) -> tuple[list[Category], list[Category]]:
    """(20 to train on, 5 unseen) of split 1 to 5: one category of each body plan is unseen."""
    if not 1 <= split <= SPLITS:
        raise ValueError(f"split is {split}; there are 1 to {SPLITS}")
    unseen = [
        [category for category in CATEGORIES if category.plan == plan][split - 1] for plan in PLANS
    ]
    return [category for category in CATEGORIES if category not in unseen], unseen


def _draw_one(job: tuple[str, int, int, int, int, str]) -> list[Labelled]:
    path, seed, number, index, size, style = job
    cv2.setNumThreads(1)
    category = CATEGORIES[number]
    attempt = 0
    while True:
        rng = picture_rng(SEED_CATEGORIES, seed, category.id, index + 1_000_000 * attempt)
        chosen = str(rng.choice(list(STYLES))) if style == "mixed" else style
        ground = str(rng.choice(category.stage.grounds))
        picture = draw_scene([category.make], rng, category.stage, ground, size=size, style=chosen)
        if picture.animals:
            break
        attempt += 1
    write_jpeg(Path(path), picture.image)
    return [
        Labelled(category.id, animal.keypoints, animal.box, animal.facts)
        for animal in picture.animals
    ]


def write_categories(
    out: Path | str,
    *,
    per_category: int = 40,
    size: int = 256,
    seed: int = 0,
    style: str = "photo",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """Draw the twenty-five categories and write them in MP-100's layout.

    Writes `images/<category>/*.jpg`, `annotations/mp100_split{1..5}_{train,val,test}.json` and, for
    each body plan left out of training, `cross_category_annotations/fewshot_{train,test}_<plan>.json`.
    `test` holds all pictures of 5 unseen categories, one of each plan; `train` four fifths of the
    pictures of the 20 others, and `val` the rest of theirs (MP-100's own `val` has categories of its
    own). The same arguments give the same bytes.

    Args:
        out: folder to write; made if absent.
        per_category: pictures of each category, at least 5.
        size: side of the pictures in pixels, at least 32.
        seed: 0 to 2**31 - 1.
        style: one of photo, cartoon, sketch, painting, night; or mixed.
        workers: processes; the number of cores by default.
        progress: called with (pictures done, pictures in all).

    Returns:
        File name without its ending -> annotation file.

    Raises:
        ValueError: an unknown style, too small pictures, or fewer than 5 of them.
        FileExistsError: labels of others, such as MP-100's own, lie where the zoo's would.
    """
    if style not in (*STYLES, "mixed"):
        raise ValueError(f"style is {style!r}; choose one of {', '.join(STYLES)}, mixed")
    check_size(size)
    if per_category < 5:
        raise ValueError(f"per_category is {per_category}; episodes need at least 5 pictures")
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}; it must be between 0 and 2**31 - 1")
    out = Path(out)
    for name in _annotation_files():
        refuse_labels_of_others(out / name)  # before minutes of drawing
    jobs = []
    for number, category in enumerate(CATEGORIES):
        (out / "images" / category.name).mkdir(parents=True, exist_ok=True)
        for index in range(per_category):
            file = out / "images" / category.name / f"{category.id * 10_000 + index}.jpg"
            jobs.append((str(file), seed, number, index, size, style))
    drawn = in_processes(_draw_one, jobs, workers, progress)
    pictures: dict[int, list[tuple[dict, list[dict]]]] = {c.id: [] for c in CATEGORIES}
    for (path, _, number, index, *_), animals in zip(jobs, drawn, strict=True):
        category = CATEGORIES[number]
        image_id = category.id * 10_000 + index
        name = f"{category.name}/{Path(path).name}"
        image = {"id": image_id, "file_name": name, "width": size, "height": size}
        found = [annotation(image_id, n, animal) for n, animal in enumerate(animals)]
        pictures[category.id].append((image, found))

    files: dict[str, Path] = {}

    def write(folder: str, name: str, chosen: Iterable[Category], part: slice) -> None:
        chosen = list(chosen)
        kept = [pair for category in chosen for pair in pictures[category.id][part]]
        content = {
            "info": {"description": "GenLoc zoo, categories", "version": "1", "seed": seed,
                     "style": style, "per_category": per_category, "size": size, "part": name},
            "images": [image for image, _ in kept],
            "annotations": [one for _, found in kept for one in found],
            "categories": [_listed(category) for category in chosen],
        }  # fmt: skip
        (out / folder).mkdir(exist_ok=True)
        files[name] = out / folder / f"{name}.json"
        write_json(files[name], content)

    cut = per_category * TRAINED_ON // 10
    for split in range(1, SPLITS + 1):
        seen, unseen = categories_of(split)
        for part, chosen, rows in (
            ("train", seen, slice(cut)), ("val", seen, slice(cut, None)), ("test", unseen, slice(None)),
        ):  # fmt: skip
            write("annotations", f"mp100_split{split}_{part}", chosen, rows)
    for plan in PLANS:
        others = [category for category in CATEGORIES if category.plan != plan]
        own = [category for category in CATEGORIES if category.plan == plan]
        write("cross_category_annotations", f"fewshot_train_{plan}", others, slice(None))
        write("cross_category_annotations", f"fewshot_test_{plan}", own, slice(None))
    return files


def _annotation_files() -> list[str]:
    """All that is written but pictures, below the folder."""
    own = [f"mp100_split{n}_{p}" for n in range(1, SPLITS + 1) for p in ("train", "val", "test")]
    across = [f"fewshot_{part}_{plan}" for plan in PLANS for part in ("train", "test")]
    return [f"annotations/{name}.json" for name in own] + [
        f"cross_category_annotations/{name}.json" for name in across
    ]


def _listed(category: Category) -> dict[str, Any]:
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.plan,
        "keypoints": list(category.keypoints),
        "skeleton": [list(edge) for edge in category.edges],
    }
