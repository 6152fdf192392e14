"""`genloc evaluate`: score anybody's COCO results file"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def run(arguments: Sequence[str]) -> None:
    """score anybody's COCO results file"""
    parser = argparse.ArgumentParser(prog="genloc evaluate", description=__doc__)
    parser.add_argument("results", type=Path, help="COCO keypoint results, json")
    parser.add_argument("annotations", type=Path, help="COCO keypoint annotations, json")
    parser.add_argument(
        "--skeleton",
        required=True,
        help="ap10k, coco, human_art, animalpose, or a json or yaml file that says it",
    )
    parser.add_argument(
        "--sigmas", help="OKS sigmas by name, such as ap10k-legacy; default: the skeleton's own"
    )
    parser.add_argument("--nms", type=float, help="OKS above which detections are the same one")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file, too")
    given = parser.parse_args(arguments)

    import rich

    from genloc.data.coco import CocoKeypoints
    from genloc.metrics.evaluate import evaluate as score
    from genloc.skeleton import load_skeleton

    skeleton = load_skeleton(given.skeleton)
    source = CocoKeypoints(given.annotations, None, skeleton=skeleton)
    result = score(
        given.results, source.ground_truth(), skeleton, sigmas=given.sigmas, nms=given.nms
    )
    tables = [result.table()]
    if len(result.scores["per_species"]) > 1:
        tables.append(result.species_table())
    for table in tables:
        rich.print(table.rich())
    if given.out is not None:
        text = "\n\n".join(table.markdown() for table in tables)
        given.out.write_text(text + "\n", encoding="utf-8")
