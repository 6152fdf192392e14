"""`genloc import`: labels of other tools as COCO keypoints"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """Labels of DeepLabCut (csv, h5, project folder), Lightning Pose (csv), SLEAP (.slp,
.pkg.slp), Label Studio (json), CVAT (annotations.xml) and MPII (mat, json) as one COCO keypoints
json. Pictures stay where they are; frames of videos are written beside the json. Needs
pip install 'genloc[labels]' for SLEAP, DeepLabCut and .mat files."""

FORMATS = (
    *("deeplabcut", "deeplabcut-project", "lightning-pose", "sleap"),
    *("label-studio", "cvat", "mpii"),
)


def run(arguments: Sequence[str]) -> None:
    """labels of other tools as COCO keypoints"""
    parser = argparse.ArgumentParser(prog="genloc import", description=DESCRIPTION)
    parser.add_argument("labels", type=Path, help="file, or folder of a DeepLabCut project")
    parser.add_argument("out", type=Path, help="COCO keypoints json to write")
    parser.add_argument("--format", choices=FORMATS, help="the tool; default: found out")
    parser.add_argument(
        "--images", type=Path, help="folder of the pictures or videos; default: around the labels"
    )
    parser.add_argument(
        "--category", default="animal", help="where the tool names none (%(default)s)"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.1,
        help="around the keypoints where the tool has no box, in parts of their extent (%(default)s)",
    )
    parser.add_argument(
        "--missing",
        choices=("error", "drop"),
        default="error",
        help="what to do where pictures are not found (%(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the json if it is there")
    given = parser.parse_args(arguments)
    if given.out.suffix.lower() != ".json":
        raise ValueError(f"out: {given.out} must end in .json")
    if given.out.exists() and not given.overwrite:
        raise FileExistsError(f"out: {given.out} is there already; replace it with --overwrite")
    if not 0 <= given.margin < 10:
        raise ValueError(f"--margin is {given.margin}, expected a part of the extent, 0 or more")

    from rich.progress import Progress

    from genloc.labels.coco_file import write_coco
    from genloc.labels.formats import read_labels

    labels = read_labels(given.labels, given.images, given.format)
    with Progress(transient=True) as progress:
        task = progress.add_task("pictures")
        content = write_coco(
            labels,
            given.out,
            category=given.category,
            margin=given.margin,
            missing=given.missing,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(
        f"{labels.tool}: {len(content['annotations'])} animals in {len(content['images'])} pictures, "
        f"{len(labels.keypoints)} keypoints: {', '.join(labels.keypoints)}"
    )
    print(content["info"]["note"])
    print(f"{given.out}\nlook at it next: genloc check {given.out}")
