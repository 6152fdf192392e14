"""Write a zoo to disk as AP-10K is published, and the seeds that keep its parts apart."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from genloc.data.zoo.picture import Labelled, draw_picture
from genloc.data.zoo.scene import STYLES
from genloc.data.zoo.species import SPECIES

# First words of every generator's key. Pictures of the prior can never be pictures of a zoo on disk.
SEED_ZOO, SEED_PRIOR = 1, 2
SPLITS = {"train": 7, "val": 1, "test": 2}  # tenths, per species, as AP-10K's published splits

KEYPOINTS = (
    "left_eye", "right_eye", "nose", "neck", "root_of_tail",
    "left_shoulder", "left_elbow", "left_front_paw", "right_shoulder", "right_elbow", "right_front_paw",
    "left_hip", "left_knee", "left_back_paw", "right_hip", "right_knee", "right_back_paw",
)  # fmt: skip
EDGES = (
    (1, 2), (1, 3), (2, 3), (3, 4), (4, 5), (4, 6), (6, 7), (7, 8), (4, 9), (9, 10), (10, 11),
    (5, 12), (12, 13), (13, 14), (5, 15), (15, 16), (16, 17),
)  # fmt: skip

SMALLEST = 32  # pixels of a side; below, hardly an animal shows the pixels that a label needs


def check_size(size: int) -> None:
    """Raises ValueError where pictures of this side, in pixels, are too small to draw an animal in."""
    if size < SMALLEST:
        raise ValueError(
            f"size is {size}; give --size {SMALLEST} or more, an animal needs so many pixels"
        )


def picture_rng(purpose: int, seed: int, category_id: int, index: int) -> np.random.Generator:
    """The generator of one picture: a function of its four numbers alone, on every machine."""
    return np.random.Generator(
        np.random.Philox(key=[(purpose << 32) | seed, (category_id << 32) | index])
    )


def _draw_one(job: tuple[str, int, int, int, int, str, int]) -> tuple[int, list[Labelled]]:
    path, seed, category_id, index, size, style, quality = job
    cv2.setNumThreads(1)
    attempt = 0
    while True:
        rng = picture_rng(SEED_ZOO, seed, category_id, index + 1_000_000 * attempt)
        chosen = str(rng.choice(list(STYLES))) if style == "mixed" else style
        picture = draw_picture(category_id, rng, size=size, style=chosen)
        if picture.animals:  # a picture whose every animal is hidden is drawn again
            break
        attempt += 1
    write_jpeg(Path(path), picture.image, quality)
    return index, picture.animals


def write_jpeg(path: Path, image: np.ndarray, quality: int = 92) -> None:
    """Write uint8 RGB [H,W,3]."""
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise OSError(f"could not encode {path} as JPEG")
    path.write_bytes(data.tobytes())


Job = TypeVar("Job")
Made = TypeVar("Made")


def in_processes(
    draw: Callable[[Job], Made],
    jobs: Sequence[Job],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[Made]:
    """`draw` of every job, in their order; arguments as in `write_zoo`."""
    count = workers if workers is not None else (os.cpu_count() or 1)
    results = []
    with ProcessPoolExecutor(count) if count > 1 else nullcontext() as pool:
        made: Iterable[Made] = (
            map(draw, jobs) if pool is None else pool.map(draw, jobs, chunksize=8)
        )
        for n, result in enumerate(made):
            results.append(result)
            if progress:
                progress(n + 1, len(jobs))
    return results


def refuse_labels_of_others(path: Path) -> None:
    """Raises FileExistsError where a json is not the zoo's own: it has the names of AP-10K's and MP-100's."""
    if not path.is_file():
        return
    try:
        made_by = json.loads(path.read_bytes())["info"]["description"]
    except (ValueError, KeyError, TypeError):
        made_by = ""
    if not str(made_by).startswith("GenLoc zoo"):
        raise FileExistsError(
            f"{path} holds other labels than the zoo's, which would be overwritten; choose another folder"
        )


def write_json(path: Path, content: Any) -> None:
    """Write a json file, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


def annotation(image_id: int, n: int, animal: Labelled) -> dict[str, Any]:
    """The n-th animal of a picture as COCO's json has it."""
    keypoints = animal.keypoints.round(2)
    x, y, w, h = animal.box
    return {
        "id": image_id * 10 + n,
        "image_id": image_id,
        "category_id": animal.category_id,
        "bbox": [x, y, w, h],
        "area": w * h,  # as AP-10K has it: the box's
        "iscrowd": 0,
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "keypoints": [float(v) if i % 3 < 2 else int(v) for i, v in enumerate(keypoints.ravel())],
    }


def split_of(index: int, per_species: int) -> str:
    """Which split a species' index-th picture belongs to: 7:1:2, in blocks."""
    train = min(round(per_species * SPLITS["train"] / 10), per_species - 2)
    val = max(1, round(per_species * SPLITS["val"] / 10))
    return "train" if index < train else "val" if index < train + val else "test"


def write_zoo(
    out: Path | str,
    *,
    per_species: int = 100,
    size: int = 256,
    seed: int = 0,
    style: str = "photo",
    species: tuple[int, ...] | None = None,
    splits: Collection[str] = tuple(SPLITS),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """Draw a zoo and write it in AP-10K's layout.

    Writes `data/*.jpg` and `annotations/ap10k-{train,val,test}-split1.json`. The same arguments give
    the same bytes, whatever the number of workers.

    Args:
        out: folder to write; made if absent.
        per_species: pictures of each species, split 7:1:2; at least 3.
        size: side of the pictures in pixels, at least 32.
        seed: 0 to 2**31 - 1.
        style: one of photo, cartoon, sketch, painting, night; or mixed.
        species: category ids to draw; all 54 by default.
        splits: those of train, val and test to draw and write, as they are in the whole.
        workers: processes; the number of cores by default.
        progress: called with (pictures done, pictures in all).

    Returns:
        Split name -> its annotation file.

    Raises:
        ValueError: for an unknown style, species or split, too small pictures, or fewer than 3 per species.
    """
    if style not in (*STYLES, "mixed"):
        raise ValueError(f"style is {style!r}; choose one of {', '.join(STYLES)}, mixed")
    check_size(size)
    if per_species < 3:
        raise ValueError(
            f"per_species is {per_species}; three splits need at least 3 pictures of each"
        )
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}; it must be between 0 and 2**31 - 1")
    chosen = tuple(species) if species is not None else tuple(range(1, len(SPECIES) + 1))
    unknown = [c for c in chosen if not 1 <= c <= len(SPECIES)]
    if unknown:
        raise ValueError(
            f"species {unknown} do not exist; category ids run from 1 to {len(SPECIES)}"
        )
    if not splits or set(splits) - set(SPLITS):
        raise ValueError(f"splits is {list(splits)}; choose among {', '.join(SPLITS)}")
    out = Path(out)
    for split in splits:
        refuse_labels_of_others(out / "annotations" / f"ap10k-{split}-split1.json")
    (out / "data").mkdir(parents=True, exist_ok=True)
    (out / "annotations").mkdir(exist_ok=True)
    jobs = []
    for species_id in chosen:
        for index in range(per_species):
            if split_of(index, per_species) not in splits:
                continue
            image_id = species_id * 10_000 + index
            jobs.append(
                (
                    str(out / "data" / f"{image_id:012d}.jpg"),
                    seed,
                    species_id,
                    index,
                    size,
                    style,
                    92,
                )
            )
    results = [animals for _, animals in in_processes(_draw_one, jobs, workers, progress)]
    written = [split for split in SPLITS if split in splits]
    return _write_annotations(out, jobs, results, written, per_species, size, seed, style)


def _write_annotations(
    out: Path,
    jobs: list,
    results: list,
    splits: list[str],
    per_species: int,
    size: int,
    seed: int,
    style: str,
) -> dict[str, Path]:
    categories = [
        {
            "id": n + 1,
            "name": name,
            "supercategory": family,
            "keypoints": list(KEYPOINTS),
            "skeleton": [list(e) for e in EDGES],
        }
        for n, (name, family) in enumerate(SPECIES)
    ]
    files = {}
    for split in splits:
        images, annotations = [], []
        for (path, _, species_id, index, *_), animals in zip(jobs, results, strict=True):
            if split_of(index, per_species) != split:
                continue
            image_id = species_id * 10_000 + index
            images.append(
                {
                    "id": image_id,
                    "file_name": Path(path).name,
                    "width": size,
                    "height": size,
                    "license": 1,
                }
            )
            for n, animal in enumerate(animals):
                annotations.append(annotation(image_id, n, animal))
        content = {
            "info": {"description": "GenLoc zoo", "version": "1", "seed": seed, "style": style,
                     "per_species": per_species, "size": size, "split": split},
            "licenses": [{"id": 1, "name": "CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
            "images": images,
            "annotations": annotations,
            "categories": categories,
        }  # fmt: skip
        files[split] = out / "annotations" / f"ap10k-{split}-split1.json"
        write_json(files[split], content)
    return files
