"""Label Studio's json export of pictures with keypoints.

https://labelstud.io/guide/export and https://labelstud.io/tags/keypointlabels: positions are in
percent of the picture's size. Keypoints belong to a rectangle by a relation or by `parentID`;
without rectangles all keypoints of a picture are one animal. (sleap-io 0.9 reads only what it
wrote itself: it wants a video in `meta`, which Label Studio does not write, and drops the boxes.
What it writes is read here, too.)
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from genloc.labels.labelled import Animal, Labelled, Picture, Pictures, no_labels


def read_label_studio(path: Path, images: Path | None = None) -> Labelled:
    """Read a json export ("JSON", not "JSON-MIN").

    Args:
        path: the export.
        images: folder of the pictures; the export's own by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not in the format.
    """
    try:
        tasks = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path.absolute()}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{path} is not a Label Studio export: expected a list of tasks")
    finder = Pictures([p for p in (images, path.absolute().parent) if p is not None])
    names: dict[str, int] = {}
    remarks: dict[str, int] = {}
    pictures = []
    for number, task in enumerate(tasks, 1):
        where = f"{path}: task {task.get('id', number)}"
        try:
            picture = _picture(task, names, remarks, finder)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise ValueError(f"{where} is not in Label Studio's format: {error!r}") from None
        if picture is not None:
            pictures.append(picture)
    if not names:
        raise no_labels(path, "no keypoint is labelled (type keypointlabels)")
    return Labelled(
        tool="Label Studio",
        keypoints=tuple(names),
        edges=(),
        pictures=[_padded(picture, len(names)) for picture in pictures],
        remarks=[f"{count} {remark}" for remark, count in remarks.items()],
    )


def _picture(
    task: dict[str, Any], names: dict[str, int], remarks: dict[str, int], finder: Pictures
) -> Picture | None:
    done = task["annotations"] if "annotations" in task else task["completions"]
    done = [entry for entry in done if not entry.get("was_cancelled")]
    if not done:
        return None
    if len(done) > 1:
        remark = "tasks were labelled more than once: the first counts"
        remarks[remark] = remarks.get(remark, 0) + 1
    result = done[0]["result"]
    points = {r["id"]: r for r in result if r.get("type") == "keypointlabels"}
    boxes = {r["id"]: r for r in result if r.get("type") == "rectanglelabels"}
    parent = {i: r["parentID"] for i, r in points.items() if r.get("parentID") in boxes}
    for relation in result:
        if relation.get("type") == "relation":
            a, b = relation["from_id"], relation["to_id"]
            if a in points and b in boxes:
                parent[a] = b
            elif b in points and a in boxes:
                parent[b] = a
    if len(boxes) == 1:  # what else should they belong to
        parent = {i: next(iter(boxes)) for i in points} | parent
    rows: dict[str | None, dict[int, tuple[float, float]]] = {box: {} for box in boxes}
    size = None
    for i, point in points.items():
        value = point["value"]
        size = (int(point["original_width"]), int(point["original_height"]))
        (name,) = value["keypointlabels"][:1]
        place = names.setdefault(str(name), len(names))
        animal = rows.setdefault(parent.get(i), {})
        if place in animal:
            remark = "keypoints were set twice in one animal: the first counts"
            remarks[remark] = remarks.get(remark, 0) + 1
            continue
        animal[place] = (value["x"] * size[0] / 100, value["y"] * size[1] / 100)
    animals = []
    for key, found in rows.items():
        keypoints = np.zeros((len(names), 3))
        for place, (x, y) in found.items():
            keypoints[place] = x, y, 2
        animals.append(_boxed(keypoints, boxes.get(key) if key is not None else None))
    image, name = _image(task, finder)
    return Picture(name, image, tuple(a for a in animals if a.keypoints[:, 2].any()), size)


def _boxed(keypoints: np.ndarray, rectangle: dict[str, Any] | None) -> Animal:
    if rectangle is None:
        return Animal(keypoints)
    value = rectangle["value"]
    w, h = rectangle["original_width"] / 100, rectangle["original_height"] / 100
    box = (value["x"] * w, value["y"] * h, value["width"] * w, value["height"] * h)
    label = str((value.get("rectanglelabels") or [""])[0])
    # sleap-io writes the whole picture, in pixels instead of percent, under this name
    if label == "instance_class":
        return Animal(keypoints)
    return Animal(keypoints, tuple(float(v) for v in box), label)  # type: ignore[arg-type]


def _image(task: dict[str, Any], finder: Pictures) -> tuple[Path | None, str]:
    """Where a task's picture is, and how the task names it."""
    data = task.get("data") or {}
    named = [
        v for k, v in data.items() if isinstance(v, str) and (k in ("image", "img") or "/" in v)
    ]
    if named:
        url = urlsplit(named[0])
        local = parse_qs(url.query).get("d")  # /data/local-files/?d=folder/picture.png
        name = local[0] if local else unquote(url.path)
        # an upload gets eight random digits and a dash before its name
        plain = re.sub(r"^[0-9a-f]{8}-", "", name.rsplit("/", 1)[-1])
        return finder.find(name) or finder.find(plain), name
    video = (task.get("meta") or {}).get("video") or {}
    names, index = video["filename"], int(video["frame_idx"])
    if isinstance(names, list):
        name = str(names[index])
        return (Path(name) if Path(name).is_file() else finder.find(name)), name
    return None, f"{names}, frame {index}"


def _padded(picture: Picture, count: int) -> Picture:
    """Names are met one by one: early animals have too few rows."""
    animals = tuple(
        Animal(
            np.concatenate([a.keypoints, np.zeros((count - len(a.keypoints), 3))]),
            a.box,
            a.category,
        )
        for a in picture.animals
    )
    return Picture(picture.name, picture.file, animals, picture.size)
