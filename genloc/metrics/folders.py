"""Scores of each folder of pictures by itself: Human-Art's folders are its scenes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from genloc.metrics.coco import CocoAP
from genloc.metrics.table import AP_OF_MEAN_POSE
from genloc.skeleton import Skeleton


def folder_scores(
    results: list[dict[str, Any]],
    ground_truth: dict[str, Any],
    skeleton: Skeleton,
    *,
    mean_pose: list[dict[str, Any]] | None = None,
    sigmas: str | None = None,
    nms: float | None = None,
) -> dict[str, dict[str, Any]]:
    """`CocoAP.compute` of the results and the truth in each folder that `file_name` gives.

    Args:
        results: COCO keypoint results. ground_truth: of `CocoKeypoints.ground_truth()`.
        skeleton, sigmas, nms: as for `CocoAP`.
        mean_pose: results of the mean pose (`Evaluation.mean_pose_results`); with them each folder has
            "AP of mean pose", too.

    Returns:
        Name of the folder (the whole path where two folders have one name) -> scores, in alphabetical order;
        without folders that have no annotation.

    Raises:
        ValueError: as `CocoAP` does.
    """
    images: defaultdict[str, set[int]] = defaultdict(set)
    for image in ground_truth["images"]:
        images[str(PurePosixPath(image["file_name"]).parent)].add(image["id"])
    last = [PurePosixPath(path).name for path in images]
    found = {}
    for path, ids in images.items():
        truth = {
            **ground_truth,
            "images": [i for i in ground_truth["images"] if i["id"] in ids],
            "annotations": [a for a in ground_truth["annotations"] if a["image_id"] in ids],
        }
        if not truth["annotations"]:
            continue
        ap = CocoAP(truth, skeleton, sigmas, nms)
        ap.add(r for r in results if r["image_id"] in ids)
        scores = ap.compute(part=True)
        if mean_pose is not None:
            pose = CocoAP(truth, skeleton, sigmas, None)
            pose.add(r for r in mean_pose if r["image_id"] in ids)
            scores[AP_OF_MEAN_POSE] = pose.compute()["AP"]
        name = PurePosixPath(path).name
        found[name if name and last.count(name) == 1 else path] = scores
    return dict(sorted(found.items()))
