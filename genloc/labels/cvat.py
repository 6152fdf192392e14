"""CVAT's "CVAT for images 1.1" export: annotations.xml.

https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. (datumaro reads it, too, but
holds back numpy, pandas and OpenCV by a major version.) CVAT's own "COCO Keypoints" export needs no
import.
"""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from genloc.labels.labelled import Animal, Box, Labelled, Picture, Pictures, no_labels


def read_cvat(path: Path, images: Path | None = None) -> Labelled:
    """Read skeletons; where a file has none, single points that are grouped, or all that are not, are one animal.

    `outside` is v = 0, `occluded` v = 1. Beside skeletons single points are no keypoints, and left out.

    Args:
        path: annotations.xml.
        images: folder of the pictures; `images/` beside the file or its own by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not in the format.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path.absolute()}") from None
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError(f"{path}: it declares entities, which CVAT never writes; it is not read")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"{path} is not an xml file: {error}") from None
    if root.tag != "annotations":
        raise ValueError(f"{path} is not a CVAT export: it is <{root.tag}>, expected <annotations>")
    if root.find("track") is not None:
        raise ValueError(
            f"{path} is an export of a video task; export it as `CVAT for images 1.1` (or as "
            "`COCO Keypoints 1.0`, which needs no import)"
        )
    folder = path.absolute().parent
    roots = [images] if images is not None else [folder / "images", folder]
    finder = Pictures([r for r in roots if r is not None and (images is not None or r.is_dir())])
    names, edges = _skeleton(root, path)
    pictures = []
    skeletons = root.find("image/skeleton") is not None
    free = len(root.findall("image/points")) if skeletons else 0
    for image in root.iter("image"):
        try:
            size = (int(image.attrib["width"]), int(image.attrib["height"]))
            name = image.attrib["name"]
            pictures.append(
                Picture(name, finder.find(name), _animals(image, names, skeletons), size)
            )
        except (KeyError, ValueError) as error:
            which = f"{path}: image {image.get('name', image.get('id'))}"
            odd = f" is not in CVAT's format: {error!r} is lacking"
            raise ValueError(
                which + (odd if isinstance(error, KeyError) else f": {error}")
            ) from None
    if not any(picture.animals for picture in pictures):
        raise no_labels(path, "no skeleton and no point is labelled")
    remarks = [f"{free} points that belong to no skeleton are left out"] if free else []
    return Labelled("CVAT", tuple(names), edges, pictures, remarks)


def _skeleton(root: ET.Element, path: Path) -> tuple[list[str], tuple[tuple[int, int], ...]]:
    """Keypoint names in the order of the labels, and the edges drawn in the skeleton's picture."""
    labels = [label for label in root.iter("label") if label.find("name") is not None]
    skeletons = [label for label in labels if label.findtext("type") == "skeleton"]
    children: dict[str, list[str]] = {}
    for label in labels:
        if parent := label.findtext("parent"):
            children.setdefault(parent, []).append(label.findtext("name", ""))
    if len({tuple(sorted(v)) for v in children.values()}) > 1:
        raise ValueError(
            f"{path}: its skeletons {sorted(children)} differ in keypoints; export one at a time"
        )
    names = next(iter(children.values()), [])
    if not names:  # old exports list no sublabels, and tasks of single points have none
        points = [*root.iter("points"), *root.iter("point")]
        names = list(dict.fromkeys(p.attrib.get("label", "") for p in points))
    svg = next((s for label in skeletons if (s := label.findtext("svg"))), "")
    try:
        drawn = list(ET.fromstring(f"<svg>{html.unescape(svg)}</svg>").iter())
    except ET.ParseError:
        drawn = []
    nodes = {
        n.attrib["data-node-id"]: n.attrib["data-label-name"]
        for n in drawn
        if n.tag.endswith("circle") and {"data-node-id", "data-label-name"} <= n.attrib.keys()
    }
    edges = []
    for n in drawn:
        a, b = nodes.get(n.get("data-node-from", "")), nodes.get(n.get("data-node-to", ""))
        if a in names and b in names:
            edges.append((names.index(a), names.index(b)))
    return names, tuple(edges)


def _animals(image: ET.Element, names: list[str], skeletons: bool) -> tuple[Animal, ...]:
    boxes: dict[str, list[ET.Element]] = {}
    for box in image.findall("box"):
        boxes.setdefault(_group(box), []).append(box)
    found = []
    for skeleton in image.findall("skeleton"):
        points = [p for p in skeleton if p.tag in ("points", "point")]
        own = boxes.get(_group(skeleton), []) if _group(skeleton) else []
        where = _box(own[-1]) if own else None
        found.append(Animal(_keypoints(points, names), where, skeleton.attrib["label"]))
    groups: dict[str, list[ET.Element]] = {}
    for point in [] if skeletons else image.findall("points"):
        groups.setdefault(_group(point), []).append(point)
    for group, points in groups.items():
        own = boxes.get(group, [])
        if not own and len(groups) == 1:  # the only animal, and perhaps the only box
            own = [box for grouped in boxes.values() for box in grouped]
        where, category = (_box(own[0]), own[0].get("label", "")) if len(own) == 1 else (None, "")
        found.append(Animal(_keypoints(points, names), where, category))
    return tuple(animal for animal in found if animal.keypoints[:, 2].any())


def _group(shape: ET.Element) -> str:
    """Empty where it is in none, which CVAT also writes as 0."""
    group = shape.get("group_id", "")
    return "" if group == "0" else group


def _keypoints(points: list[ET.Element], names: list[str]) -> np.ndarray:
    keypoints = np.zeros((len(names), 3))
    labels = [point.get("label") for point in points]
    if twice := sorted({str(label) for label in labels if labels.count(label) > 1}):
        raise ValueError(
            f"the points {twice} are there twice in one animal; group the points of each animal (in CVAT: G)"
        )
    for point in points:
        if point.get("outside", "0") == "1":
            continue
        places = [tuple(map(float, p.split(","))) for p in point.attrib["points"].split(";")]
        if len(places) != 1 or len(places[0]) != 2:
            raise ValueError(f"label {point.get('label')} has {len(places)} points, expected one")
        v = 1 if point.get("occluded", "0") == "1" else 2
        keypoints[names.index(point.attrib["label"])] = *places[0], v
    return keypoints


def _box(box: ET.Element) -> Box:
    x, y, right, bottom = (float(box.attrib[k]) for k in ("xtl", "ytl", "xbr", "ybr"))
    return (x, y, right - x, bottom - y)
