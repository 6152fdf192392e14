"""`evaluate`: score anybody's COCO keypoint results file.

The annotations come as a COCO json object, so that one reader (`genloc.data.coco.CocoKeypoints`)
serves training and evaluation:

    truth = CocoKeypoints("annotations.json", None, skeleton=skeleton).ground_truth()
    print(evaluate("results.json", truth, skeleton).table().markdown())
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genloc.metrics.coco import CocoAP
from genloc.metrics.mean_pose import mean_pose, place
from genloc.metrics.pck import pck
from genloc.metrics.table import AP_OF_MEAN_POSE, Protocol, Table
from genloc.skeleton import OKS_SIGMAS, Skeleton


@dataclass(frozen=True)
class Evaluation:
    """Scores of one results file.

    Args:
        scores: as `CocoAP.compute` gives them, with `PCK@0.1` where results name their annotation.
        mean_pose: the same for the mean pose.
        mean_pose_of: what the mean pose was taken from, in words.
        mean_pose_results: its COCO keypoint results.
        protocol: how they were made.
        notes: what the reader should know besides.
        areas: whether the annotations have areas, without which OKS and AP measure against the boxes' sizes.
    """

    scores: Mapping[str, Any]
    mean_pose: Mapping[str, Any]
    mean_pose_of: str
    mean_pose_results: list[dict[str, Any]]
    protocol: Protocol
    notes: tuple[str, ...] = ()
    areas: bool = True

    def table(
        self,
        title: str = "Keypoints",
        row: str = "results",
        more: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Table:
        """Both rows with the protocol, and `more` below them."""
        rows = {row: self.scores, "mean pose": self.mean_pose, **(more or {})}
        return Table(title, self.shown(rows), self.protocol, self._said)

    @property
    def _said(self) -> tuple[str, ...]:
        return (f"mean pose: of {self.mean_pose_of}, placed in each box", *self.notes)

    def shown(self, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """Rows for a table: PCK alone where there are no areas, as the notes say."""
        if self.areas or "PCK@0.1" not in self.scores:
            return dict(rows)
        return {
            name: {key: value for key, value in row.items() if key.startswith("PCK")}
            for name, row in rows.items()
        }

    def species_table(self) -> Table:
        """AP of each species, and the mean pose's beside it."""
        pose = self.mean_pose["per_species"]
        species: dict[str, dict[str, float]] = {
            name: {"AP": ap, AP_OF_MEAN_POSE: pose.get(name, math.nan)}
            for name, ap in self.scores["per_species"].items()
        }
        return Table("AP of each species", species, self.protocol, self._said)

    def folder_table(self, folders: Mapping[str, Mapping[str, Any]]) -> Table:
        """What `folder_scores` found."""
        return Table("Each folder", folders, self.protocol, self._said)


@dataclass(frozen=True)
class _Truth:
    """A labelled instance of the truth, as `mean_pose` takes it."""

    id: int
    image_id: int
    category_id: int
    box: tuple[float, float, float, float]
    keypoints: np.ndarray


def evaluate(
    results: str | Path | list[dict[str, Any]],
    ground_truth: dict[str, Any],
    skeleton: Skeleton,
    *,
    sigmas: str | None = None,
    nms: float | None = None,
    pose: np.ndarray | None = None,
    protocol: Protocol | None = None,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Score a COCO keypoint results file against annotations.

    Args:
        results: the json file, or its list of records (image_id, category_id, keypoints, score,
            and annotation_id where known).
        ground_truth: of `CocoKeypoints.ground_truth()`.
        skeleton: K keypoints.
        sigmas: a name of `OKS_SIGMAS` instead of the skeleton's own.
        nms: OKS above which detections are the same; None scores the file as it is, which is what
            pycocotools called by hand gives.
        pose: [K, 2] of `mean_pose` over the training set; without it the mean pose of the scored
            annotations themselves is used, and said to be.
        protocol: how the results were made, where that is known.
        remarks: what is to be known of the annotations (`CocoKeypoints.remarks()`); put below the notes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no annotation is labelled, or it is no results file, or not one of these annotations
            (species included).
    """
    ap = CocoAP(ground_truth, skeleton, sigmas, nms)
    truth = _instances(ground_truth)
    if not truth:
        raise ValueError(
            f"ground_truth: none of its {len(ground_truth['annotations'])} annotations has a labelled keypoint "
            f"of {skeleton.name!r} and is no crowd: there is nothing to score against; are they other annotations?"
        )
    ap.add(results if isinstance(results, list) else read_results(results))
    scores = ap.compute() | _pck(ap.results, truth)
    notes = []
    if ap.duplicates:
        notes.append(f"{ap.duplicates} results dropped: their annotation had one already")
    if "PCK@0.1" not in scores:
        notes.append("no PCK: the results do not name their annotations (annotation_id)")
    answered = {r.get("annotation_id") for r in ap.results} - {None}
    if answered and len(answered) < len(truth):
        notes.append(f"{len(truth) - len(answered)} of {len(truth)} instances have no result")

    areas = bool((ground_truth.get("info") or {}).get("areas", True))
    if not areas and "PCK@0.1" in scores:
        notes.append("no AP: the annotations have no areas; PCK measures against the boxes")
    elif not areas:
        notes.append("the annotations have no areas: those of the boxes are taken")
    of = "the training set"
    if pose is None:
        of, pose = "these annotations", mean_pose(truth)
    baseline = CocoAP(ground_truth, skeleton, sigmas, None)
    baseline.add(
        place(pose, np.array([t.box for t in truth]), skeleton).to_coco(
            [t.image_id for t in truth], [t.category_id for t in truth], [t.id for t in truth]
        )
    )
    return Evaluation(
        scores=scores,
        mean_pose=baseline.compute() | _pck(baseline.results, truth),
        mean_pose_of=of,
        mean_pose_results=baseline.results,
        protocol=protocol or _unknown_protocol(ground_truth, skeleton, sigmas, nms),
        notes=(*notes, *remarks),
        areas=areas,
    )


def read_results(path: str | Path) -> list[dict[str, Any]]:
    """The records of a COCO keypoint results file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a json list of objects.
    """
    path = Path(path)
    try:
        records = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no results file {path.absolute()}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise ValueError(
            f"{path} is not a COCO results file: expected a list of objects with image_id, "
            "category_id, keypoints and score"
            + (" (this looks like annotations)" if "annotations" in records else "")
        )
    return records


def sigmas_name(skeleton: Skeleton, sigmas: str | None) -> str:
    """What a table calls the sigmas: their name where they have one, else the numbers."""
    if sigmas is not None:
        return sigmas
    known = [name for name, values in OKS_SIGMAS.items() if values == skeleton.sigmas]
    if known:
        return known[0]
    if len(set(skeleton.sigmas)) == 1:
        return f"{skeleton.sigmas[0]} for every keypoint"
    return f"of skeleton {skeleton.name!r}"


def _unknown_protocol(
    ground_truth: dict[str, Any], skeleton: Skeleton, sigmas: str | None, nms: float | None
) -> Protocol:
    info = ground_truth.get("info") or {}
    unknown = "as in the results file"
    return Protocol(
        annotations=str(info.get("file", "given as an object")),
        checksum=str(info.get("checksum", "unknown")),
        boxes=unknown,
        padding=unknown,
        flip_test=unknown,
        decoding=unknown,
        sigmas=sigmas_name(skeleton, sigmas),
        nms="none besides" if nms is None else f"OKS {nms}",
    )


def _instances(ground_truth: dict[str, Any]) -> list[_Truth]:
    """Those that count: labelled, and no crowd."""
    return [
        _Truth(
            a["id"],
            a["image_id"],
            a["category_id"],
            tuple(a["bbox"]),
            np.array(a["keypoints"]).reshape(-1, 3),
        )
        for a in ground_truth["annotations"]
        if a["num_keypoints"] > 0 and not a.get("iscrowd")
    ]


def _pck(results: list[dict[str, Any]], truth: list[_Truth]) -> dict[str, float]:
    """PCK of results that name their annotation; labelled instances without a result count as
    missed. Empty where some result does not name it."""
    if not results or any(r.get("annotation_id") is None for r in results):
        return {}
    found = {r["annotation_id"]: np.array(r["keypoints"]).reshape(-1, 3) for r in results}
    target = np.array([t.keypoints for t in truth])
    boxes = np.array([t.box for t in truth])
    nowhere = np.full(target.shape[1:], np.inf)
    preds = np.array([found.get(t.id, nowhere) for t in truth])
    return {f"PCK@{a}": pck(preds, target, boxes, a) for a in (0.1, 0.05)}
