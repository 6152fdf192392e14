"""`genloc zoo`: draw the built-in animals as a data set in AP-10K's layout"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def run(arguments: Sequence[str]) -> None:
    """draw the built-in animals as a data set in AP-10K's layout"""
    parser = argparse.ArgumentParser(prog="genloc zoo", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument(
        "--per-species", type=int, default=40, help="pictures of each of 54 species (%(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="side in pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (%(default)s)")
    parser.add_argument(
        "--style",
        default="photo",
        help="photo, cartoon, sketch, painting, night or mixed (%(default)s)",
    )
    parser.add_argument("--workers", type=int, help="processes; default: one for each core")
    given = parser.parse_args(arguments)

    from rich.progress import Progress

    from genloc.data.coco import CocoKeypoints, read_image
    from genloc.data.zoo import write_zoo
    from genloc.skeleton import load_skeleton
    from genloc.visualize import overlay_sheet

    with Progress() as progress:
        task = progress.add_task("drawing")
        written = write_zoo(
            given.out,
            per_species=given.per_species,
            size=given.size,
            seed=given.seed,
            style=given.style,
            workers=given.workers,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    source = CocoKeypoints(written["train"], given.out / "data", skeleton=load_skeleton("ap10k"))
    few = source.instances[:: max(1, len(source) // 24)][:24]
    overlay_sheet(
        [read_image(instance.file) for instance in few],
        [instance.keypoints[:, :2] for instance in few],
        None,
        None,
        given.out / "sheet.png",
        skeleton=source.skeleton,
        visible=[instance.keypoints[:, 2] for instance in few],
        captions=[source.species(instance.category_id) for instance in few],
        title="The zoo as labelled: discs are seen, rings are hidden",
        columns=6,
    )
    for path in (*written.values(), given.out / "sheet.png"):
        print(path)
