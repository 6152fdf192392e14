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
        "--bodies",
        choices=["quadrupeds", "all"],
        default="quadrupeds",
        help="quadrupeds: 54 species with AP-10K's keypoints; all: 25 categories of quadrupeds, birds, fish, "
        "insects and furniture, each with keypoints of its own, in MP-100's layout (%(default)s)",
    )
    parser.add_argument(
        "--per-species",
        type=int,
        default=100,
        help="pictures of each species or category (%(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=256, help="side in pixels, at least 32 (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (%(default)s)")
    parser.add_argument(
        "--style",
        default="photo",
        help="photo, cartoon, sketch, painting, night or mixed (%(default)s)",
    )
    parser.add_argument("--workers", type=int, help="processes; default: one for each core")
    given = parser.parse_args(arguments)

    from rich.progress import Progress

    from genloc.data.zoo import write_zoo
    from genloc.data.zoo.mp100 import write_categories

    how = {"size": given.size, "seed": given.seed, "style": given.style, "workers": given.workers}
    with Progress() as progress:
        task = progress.add_task("drawing")

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if given.bodies == "all":
            written = write_categories(
                given.out, per_category=given.per_species, progress=show, **how
            )
            _category_sheet(given.out, written)
        else:
            written = write_zoo(given.out, per_species=given.per_species, progress=show, **how)
            _species_sheet(given.out, written["train"])
    for path in (*written.values(), given.out / "sheet.png"):
        print(path)


TITLE = "The zoo as labelled: discs are seen, rings are hidden"


def _species_sheet(out: Path, annotations: Path) -> None:
    from genloc.data.coco import CocoKeypoints, read_image
    from genloc.skeleton import load_skeleton
    from genloc.visualize import overlay_sheet

    source = CocoKeypoints(annotations, out / "data", skeleton=load_skeleton("ap10k"))
    few = source.instances[:: max(1, len(source) // 24)][:24]
    overlay_sheet(
        [read_image(instance.file) for instance in few],
        [instance.keypoints[:, :2] for instance in few],
        None,
        None,
        out / "sheet.png",
        skeleton=source.skeleton,
        visible=[instance.keypoints[:, 2] for instance in few],
        captions=[source.species(instance.category_id) for instance in few],
        title=TITLE,
        columns=6,
    )


def _category_sheet(out: Path, written: dict[str, Path]) -> None:
    """Two pictures of every category, one body plan a row."""
    import cv2
    import numpy as np

    from genloc.data.categories import CategorySets, slots
    from genloc.data.coco import read_image
    from genloc.visualize.overlay import draw_keypoints
    from genloc.visualize.sheet import sheet, write_png

    plans: dict[str, tuple[list[np.ndarray], list[str]]] = {}
    for name, path in written.items():
        if not name.startswith("fewshot_test_"):
            continue
        source = CategorySets(path, out / "images", skeleton=slots("slots:100"))
        pictures, words = plans.setdefault(name.removeprefix("fewshot_test_"), ([], []))
        for category, rows in source.by_category.items():
            skeleton = source.skeletons[category]
            for instance in (source.instances[i] for i in rows[:2]):
                labels, image = (
                    instance.keypoints[: skeleton.num_keypoints],
                    read_image(instance.file),
                )
                zoom = 512 / max(image.shape)  # marks come out smooth on a larger picture
                large = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
                points = (labels[:, :2] + 0.5) * zoom - 0.5
                pictures.append(
                    draw_keypoints(large, points, skeleton=skeleton, visible=labels[:, 2])
                )
                words.append(skeleton.name)
    write_png(
        out / "sheet.png",
        sheet(
            [pictures for pictures, _ in plans.values()],
            captions=[words for _, words in plans.values()],
            row_names=list(plans),
            title=TITLE,
            tile=192,
        ),
    )
