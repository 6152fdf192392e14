"""`write_coco`: labels of any tool as one COCO keypoints json, with its pictures beside it."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image

from genloc import __version__
from genloc.labels.labelled import Animal, Box, Labelled, Picture

TURNED = {5, 6, 7, 8}  # EXIF orientations that exchange width and height


def write_coco(
    labels: Labelled,
    out: Path,
    *,
    category: str = "animal",
    margin: float = 0.1,
    missing: Literal["error", "drop"] = "error",
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Write labels as a COCO keypoints json.

    Pictures stay where they are; `file_name` leads from the json's folder to them. Frames of videos
    are written as PNG to `<out>-frames/`. The json appears whole, and last.

    Args:
        labels: of a reader.
        out: the json to write; its folder is made.
        category: of animals whose tool names none.
        margin: a box that the tool does not have is the extent of the labelled keypoints, wider on
            each side by this part of its longer side (at least 2 pixels), cut to the picture.
        missing: `error` refuses labels of pictures that are not there; `drop` leaves them out.
        progress: called with (done, of how many).

    Returns:
        the json's object.

    Raises:
        FileNotFoundError: pictures are missing.
        OSError: a picture cannot be read; names it.
        ValueError: nothing is left.
    """
    absent = [p for p in labels.pictures if p.file is None and p.pixels is None]
    if absent and missing == "error":
        raise FileNotFoundError(
            f"{len(absent)} of {len(labels.pictures)} pictures were not found, the first is "
            f"{absent[0].name!r}; say where they are with --images, or leave them out with "
            "--missing drop"
        )
    pictures = [p for p in labels.pictures if p.file is not None or p.pixels is not None]
    if not pictures:
        raise ValueError(f"none of the {len(labels.pictures)} pictures was found; nothing is left")
    out.parent.mkdir(parents=True, exist_ok=True)
    categories = list(
        dict.fromkeys(a.category or category for p in pictures for a in p.animals)
    ) or [category]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for number, picture in enumerate(pictures, 1):
        file = picture.file or _write_frame(picture, out.with_name(f"{out.stem}-frames"))
        size = picture.size or picture_size(file)
        relative = Path(os.path.relpath(file.absolute(), out.absolute().parent)).as_posix()
        images.append({"id": number, "file_name": relative, "width": size[0], "height": size[1]})
        for animal in picture.animals:
            box, made = _box(animal, margin, size)
            seen["own" if not made else "made"] += 1
            x, y, v = animal.keypoints.T
            rows = np.column_stack([x.round(3), y.round(3), v])
            annotations.append(
                {
                    **animal.more,
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories.index(animal.category or category) + 1,
                    "keypoints": [int(n) if n == int(n) else float(n) for n in rows.ravel()],
                    "num_keypoints": int((v > 0).sum()),
                    "bbox": [round(n, 3) for n in box],
                    "area": round(box[2] * box[3], 3),
                    "iscrowd": 0,
                }
            )
        if progress is not None:
            progress(number, len(pictures))
    if not annotations:
        raise ValueError("no animal with a labelled keypoint is left")
    boxes = []
    if seen["own"]:
        boxes.append(f"{seen['own']} boxes are the tool's")
    if seen["made"]:
        boxes.append(
            f"{seen['made']} boxes are the extent of the labelled keypoints, wider on each side by "
            f"{margin:g} of its longer side, cut to the picture"
        )
    remarks = [*labels.remarks]
    if absent:
        remarks.append(f"{len(absent)} pictures were not found and are left out")
    content = {
        "info": {
            "description": f"Labels of {labels.tool}, imported by GenLoc {__version__}",
            "note": "; ".join([*boxes, "area is that of the box", *remarks]),
        },
        "images": images,
        "annotations": annotations,
        "categories": [
            {
                "id": i,
                "name": name,
                "supercategory": name,
                "keypoints": list(labels.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in labels.edges],
            }
            for i, name in enumerate(categories, 1)
        ],
    }
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, out)
    return content


def picture_size(file: Path) -> tuple[int, int]:
    """(width, height) of a picture as it is seen, read from its head alone.

    Raises:
        OSError: it is no picture; names the file.
    """
    try:
        with Image.open(file) as picture:
            width, height = picture.size
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
    except Exception as error:  # Pillow's plugins raise of every kind on damaged heads
        raise OSError(
            f"cannot read image {file.absolute()}: {error}; it is truncated, damaged or not a "
            "picture"
        ) from None
    return (height, width) if turned else (width, height)


def _box(animal: Animal, margin: float, size: tuple[int, int]) -> tuple[Box, bool]:
    """Its box within the picture, and whether it was made here."""
    if animal.box is not None and animal.box[2] > 0 and animal.box[3] > 0:
        return animal.box, False
    points = animal.keypoints[animal.keypoints[:, 2] > 0, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    wider = max(2.0, margin * float((high - low).max()))
    inside_low = np.maximum(low - wider, 0)
    inside_high = np.minimum(high + wider, size)
    if (inside_high - inside_low > 0).all():  # else all of it lies outside: the checker says so
        low, high = inside_low, inside_high
    else:
        low, high = low - wider, high + wider
    x, y, right, bottom = (float(v) for v in (*low, *high))
    return (x, y, right - x, bottom - y), True


def _write_frame(picture: Picture, folder: Path) -> Path:
    assert picture.pixels is not None
    path = folder / picture.name
    try:
        pixels = picture.pixels()
    except Exception as error:  # video readers raise of every kind
        raise OSError(f"cannot read {picture.name} from its video: {error}") from None
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    folder.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(encoded, "PNG")
    part = path.with_name(path.name + ".part")
    part.write_bytes(encoded.getvalue())
    os.replace(part, path)
    return path
