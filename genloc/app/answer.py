"""What is shown and written down of an answer: a drawing, a map for each keypoint, a table, COCO json.

Letters: K keypoints, S crop pixels. Pixels as in `genloc.app.picture`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from genloc import __version__
from genloc.app.picture import ON_PAGE, PagePicture, Point
from genloc.data.transforms import square_crop
from genloc.keypoints import Keypoints
from genloc.visualize import draw_keypoints, draw_map, enlarged, zoomed
from genloc.visualize.marks import COLOURS, MISS, cross, words

TILE = 256  # side of a map on the page
PALEST = 0.3  # the score from which on dots fade no further: all must be seen on the page
NAMED = 8  # at most so many keypoints have their names written beside them

Answers = Sequence[tuple[PagePicture, Keypoints]]


def drawn(picture: PagePicture, found: Keypoints) -> np.ndarray:
    """The keypoints of one instance on the picture, uint8, ON_PAGE along the longer side."""
    large, zoom = enlarged(picture.rgb, ON_PAGE)
    xy = zoomed(found.xy[0], zoom)
    sure = np.maximum(found.scores[0], PALEST)
    canvas = draw_keypoints(large, xy, skeleton=found.skeleton, scores=sure, radius=9)
    if len(found.names) <= NAMED:
        for name, place in zip(found.names, xy, strict=True):
            words(canvas, name, place + np.array([12, -6]), COLOURS["centre"], 28)
    return canvas


def maps(picture: PagePicture, found: Keypoints, *, padding: float) -> list[tuple[np.ndarray, str]]:
    """Each keypoint's map over what the model saw, with a caption: name and score.

    Raises:
        ValueError: `found` has no maps.
    """
    if found.heatmaps is None:
        raise ValueError("found has no heatmaps; keep them when locating")
    crop = square_crop(picture.where, TILE, padding=padding).image(picture.rgb)
    return [
        (draw_map(crop, one), f"{name}  {score:.2f}")
        for name, one, score in zip(found.names, found.heatmaps[0], found.scores[0], strict=True)
    ]


def rows(answers: Answers) -> list[list[Any]]:
    """Picture, keypoint, x, y (pixels of the file) and score, a row for each keypoint."""
    found = []
    for picture, keypoints in answers:
        # Plain floats: numpy's reach the page as text, and text is sorted as such.
        places = picture.to_file(keypoints.xy[0]).tolist()
        for name, (x, y), score in zip(
            keypoints.names, places, keypoints.scores[0].tolist(), strict=True
        ):
            found.append([picture.name, name, round(x, 1), round(y, 1), round(score, 3)])
    return found


def pointed_at(picture: PagePicture, at: Point) -> np.ndarray:
    """The picture as the page shows it, with a cross at a place."""
    canvas = picture.on_page()
    zoom = np.array(canvas.shape[1::-1]) / np.array(picture.size)
    cross(canvas, (np.array(at) + 0.5) * zoom - 0.5, MISS, 11)
    return canvas


def coco(answers: Answers) -> dict[str, Any]:
    """A COCO keypoints data set of the answers, in pixels of the files.

    Each annotation has v = 2 for all keypoints, and `score` and `keypoint_scores` beside COCO's own fields.

    Raises:
        ValueError: no answer, or answers about different keypoints.
    """
    skeletons = {found.skeleton for _, found in answers}
    if len(skeletons) != 1:
        raise ValueError(f"answers are about {len(skeletons)} sets of keypoints, expected one")
    (skeleton,) = skeletons
    images, annotations = [], []
    for number, (picture, found) in enumerate(answers, start=1):
        width, height = picture.file_size
        zoom = np.array(picture.file_size) / np.array(picture.size)
        box = (np.array(picture.where) * [*zoom, *zoom]).round(2).tolist()
        (record,) = found.to_coco([number], [1], [number])
        places = picture.to_file(found.xy[0])
        flat = np.column_stack([places, np.full(len(places), 2)]).round(2).ravel().tolist()
        images.append({"id": number, "file_name": picture.name, "width": width, "height": height})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "num_keypoints": len(places),
                "keypoints": flat,
                "score": record["score"],
                "keypoint_scores": record["keypoints"][2::3],
            }
        )
    return {
        "info": {"description": f"found by GenLoc {__version__}"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {
                "id": 1,
                "name": skeleton.name,
                "keypoints": list(skeleton.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in skeleton.edges],
            }
        ],
    }


def write_coco(answers: Answers, path: Path) -> Path:
    """Write `coco` of the answers, whole or not at all; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(coco(answers), indent=1), encoding="utf-8")
    part.replace(path)
    return path


def thumbnail(picture: PagePicture, side: int = 160) -> np.ndarray:
    """A small square of the middle, for a row of pictures to choose from."""
    height, width = picture.rgb.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    middle = picture.rgb[top : top + edge, left : left + edge]
    return cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA)
