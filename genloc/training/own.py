"""Sets made of one annotation file of one's own: most of its images to train on, some to watch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from genloc.data.annotation import whole
from genloc.data.folder import image_folder
from genloc.skeleton import read_coco_json
from genloc.training.sets import SetSpec


def own_sets(
    annotations: str,
    images: str | None,
    root: Path,
    *,
    given: dict[str, SetSpec | None],
    fraction: float,
) -> tuple[SetSpec, SetSpec | None]:
    """`train` and `val` from one json.

    Images with labelled animals are divided, whole, so that two animals of one picture never stand on both
    sides. Which ones go to `val` is a function of their file names alone: the same ones in every run, on every
    machine, and nearly the same when labels are added later.

    Args:
        annotations: the json, relative to `root`.
        images: folder of its pictures, relative to `root`; looked for around the json by default.
        root: folder that paths start from.
        given: `train`, which must not be given, and `val`, which is taken as it is where it is given.
        fraction: of the images that `val` gets, at least one; 0 for no `val`.

    Raises:
        FileNotFoundError: no such json.
        ValueError: `train` is given, too, fewer than two images are labelled, or the fraction is not 0 to 0.9.
    """
    if given["train"] is not None:
        raise ValueError("data.annotations stands for data.train; give one of the two")
    if not 0 <= fraction <= 0.9:
        raise ValueError(f"data.val_fraction is {fraction}, expected 0 to 0.9")
    path = root / annotations
    if not path.is_file():
        raise FileNotFoundError(
            f"data.annotations: no file {path.absolute()}; it is a COCO keypoints json of your own labels "
            "(genloc import makes one of other tools' labels)"
        )
    content = read_coco_json(path)
    names = _labelled(content)
    if images is None:
        folder = str(image_folder(path, names.values()).absolute())
    else:
        folder = images
    every = SetSpec(annotations, folder)
    if given["val"] is not None or fraction == 0:
        return every, given["val"]
    if len(names) < 2:
        raise ValueError(
            f"data.annotations: {path} has {len(names)} images with labels, expected at least 2: one to train "
            "on and one to watch; with data.val_fraction 0 nothing is watched"
        )
    ranked = sorted(names, key=lambda i: hashlib.sha256(names[i].encode()).hexdigest())
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    val, train = sorted(ranked[:count]), sorted(ranked[count:])
    return SetSpec(annotations, folder, image_ids=train), SetSpec(
        annotations, folder, image_ids=val
    )


def _labelled(content: dict[str, Any]) -> dict[int, str]:
    """Id -> file name of images with an instance that could be trained on. Broken records and images that are
    on neither side are left to the reader, who refuses or counts them."""
    images = content["images"]
    if isinstance(images, dict):  # Animal Pose's own form
        images = [{"id": i, "file_name": name} for i, name in images.items()]
    with_labels = {
        whole(a.get("image_id"))
        for a in content["annotations"]
        if not a.get("iscrowd") and _any_labelled(a.get("keypoints"))
    } - {None}
    listed = ((whole(image.get("id")), str(image.get("file_name"))) for image in images)
    return {i: name for i, name in listed if i is not None and i in with_labels}


def _any_labelled(keypoints: Any) -> bool:
    if not isinstance(keypoints, list) or not keypoints:
        return False
    rows = keypoints if isinstance(keypoints[0], list) else [keypoints[2::3]]
    return any(row[-1] if len(row) == 3 and rows is keypoints else any(row) for row in rows)
