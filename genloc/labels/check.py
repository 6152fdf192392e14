"""`check_labels`: everything wrong or odd in a COCO keypoints json, at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genloc.data.folder import image_folder
from genloc.labels.files import check_files
from genloc.labels.findings import Findings
from genloc.labels.geometry import check_geometry
from genloc.labels.records import Group, Records, read_records
from genloc.labels.sides import Shapes, compare_shapes, crossed_pairs, unlike_others
from genloc.skeleton import mirror_pairs, read_coco_json


@dataclass
class Report:
    """What `check_labels` found.

    Args:
        annotations: the file.
        folder: of the pictures.
        records: the file's content as arrays.
        findings: all of them.
        shapes: one for each group of `records`.
        readable: ids of pictures that can be shown.
    """

    annotations: Path
    folder: Path
    records: Records
    findings: Findings
    shapes: list[Shapes]
    readable: set[int]


def keypoint_counts(group: Group) -> list[tuple[str, int, int]]:
    """(keypoint, labelled, of these hidden) for each of the K keypoints."""
    v = group.keypoints[..., 2]
    return [
        (name, int((v[:, i] > 0).sum()), int((v[:, i] == 1).sum()))
        for i, name in enumerate(group.names)
    ]


def check_labels(
    annotations: Path,
    images: Path | None = None,
    *,
    pairs: tuple[tuple[str, str], ...] | None = None,
    decode: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Check a file and its pictures.

    Args:
        annotations: a COCO keypoints json.
        images: folder that `file_name` is relative to; looked for around the file by default.
        pairs: names of left and right keypoints; None reads them from `left` and `right` in the names.
        decode: read every pixel of every picture, not only its ends.
        progress: called with (pictures done, of how many).

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: not a COCO json at all, or an unknown keypoint in `pairs`.
    """
    content = read_coco_json(annotations, strict=False)
    findings = Findings()
    records = read_records(content, findings)
    names = [image["file_name"] for image in records.images.values()]
    folder = image_folder(annotations, names) if images is None else images
    if not folder.is_dir():
        raise FileNotFoundError(f"images: no folder {folder.absolute()}")
    readable = check_files(records.images, folder, findings, decode=decode, progress=progress)
    findings.odd("without annotations", "image", sorted(records.without))
    shapes = []
    for group in records.groups:
        check_geometry(group, records.images, findings)
        shapes.append(_check_shapes(group, pairs, findings))
        for name, labelled, _ in keypoint_counts(group):
            if not labelled:
                findings.odd("a keypoint that nobody labels", "category", [name])
    return Report(annotations, folder, records, findings, shapes, readable)


def _check_shapes(
    group: Group, pairs: tuple[tuple[str, str], ...] | None, findings: Findings
) -> Shapes:
    if pairs is None:
        indices = mirror_pairs(group.names)
    else:
        unknown = sorted({n for pair in pairs for n in pair} - set(group.names))
        if unknown:
            raise ValueError(f"pairs: no keypoints {unknown}; there are {list(group.names)}")
        indices = tuple((group.names.index(a), group.names.index(b)) for a, b in pairs)
    used = (group.keypoints[..., 2] > 0) & np.isfinite(group.keypoints[..., :2]).all(axis=2)
    shapes = compare_shapes(group.keypoints, used, indices)
    crossed = crossed_pairs(group.keypoints, used, indices, group.edges)
    for i, joined in enumerate(crossed):
        seen = {place for pair in joined for place in pair}
        suspected = tuple(indices[place] for place in sorted(seen))
        shapes.exchange[i] = tuple(dict.fromkeys((*shapes.exchange[i], *suspected)))
    swapped = [int(i) for i, pairs_ in zip(group.ids, shapes.exchange, strict=True) if pairs_]
    findings.odd("left and right look exchanged", "annotation", swapped)
    findings.odd(
        "a pose like no other in the file", "annotation",
        group.ids[unlike_others(shapes)].tolist(),
    )  # fmt: skip
    return shapes
