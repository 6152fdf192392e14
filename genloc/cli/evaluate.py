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
    parser.add_argument(
        "--split", help="score a part of the annotations only: FILE#part of genloc split"
    )
    parser.add_argument(
        "--per-folder", action="store_true", help="score each folder of pictures by itself, too"
    )
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file, too")
    given = parser.parse_args(arguments)

    from genloc.data.coco import CocoKeypoints
    from genloc.metrics.evaluate import evaluate as score
    from genloc.metrics.evaluate import read_results
    from genloc.metrics.folders import folder_scores
    from genloc.metrics.table import table_console
    from genloc.skeleton import load_skeleton
    from genloc.splits import read_split

    skeleton = load_skeleton(given.skeleton)
    part = None
    if given.split is not None:
        path, _, name = given.split.partition("#")
        part = read_split(path).part(name or "test")
        part.check(given.annotations, f"--split {given.split}")
    source = CocoKeypoints(
        given.annotations,
        None,
        skeleton=skeleton,
        image_ids=None if part is None else part.image_ids,
        annotation_ids=None if part is None else part.annotation_ids,
        keypoints=None if part is None else part.keypoints,
    )
    truth = source.ground_truth()
    rules = {"sigmas": given.sigmas, "nms": given.nms}
    result = score(given.results, truth, skeleton, **rules, remarks=source.remarks())
    tables = [result.table()]
    if len(result.scores["per_species"]) > 1:
        tables.append(result.species_table())
    if given.per_folder:
        records, pose = read_results(given.results), result.mean_pose_results
        folders = folder_scores(records, truth, skeleton, mean_pose=pose, **rules)
        tables.append(result.folder_table(folders))
    console = table_console()
    for table in tables:
        console.print(table.rich())
    if given.out is not None:
        text = "\n\n".join(table.markdown() for table in tables)
        given.out.write_text(text + "\n", encoding="utf-8")
