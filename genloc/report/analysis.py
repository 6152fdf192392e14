"""The numbers of the report, from the record of an evaluation and its results.

Letters: N instances, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genloc.metrics.coco import CocoAP
from genloc.metrics.errors import KINDS, corrected, error_kinds
from genloc.metrics.mean_pose import place
from genloc.metrics.oks import oks
from genloc.report.record import Record
from genloc.skeleton import Skeleton

PCK_AT = np.linspace(0, 0.3, 61)
OKS_AT = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Group:
    """Numbers of one species or one keypoint; 0 to 1, NaN where nothing counts under them.

    Args:
        name: of it. count: instances of the species, or labelled keypoints.
        ap: average precision. pck10, pck5: PCK@0.1 and PCK@0.05.
        oks: mean over the instances; for a keypoint its mean similarity.
        kinds: share of each of `KINDS` among the labelled keypoints.
        score: mean score of the keypoints.
    """

    name: str
    count: int
    ap: float
    pck10: float
    pck5: float
    oks: float
    kinds: dict[str, float]
    score: float


@dataclass(frozen=True)
class Calibration:
    """How far a score tells right from wrong.

    Args:
        score: mean score in bins of equally many, from low to high. right: mean truth in them.
        count: in each bin. error: expected calibration error, mean |right - score|.
        ranking: chance that a right one scores above a wrong one (area under the ROC curve).
    """

    score: np.ndarray
    right: np.ndarray
    count: np.ndarray
    error: float
    ranking: float


@dataclass(frozen=True)
class Analysis:
    """Everything that the page shows; arrays are by instance, in the record's order.

    Args:
        xy: [N, K, 2] located. scores: [N, K] of keypoints. oks: [N]. kinds: [N, K], -1 not labelled.
        species, keypoints: groups.
        shares: share of each of `KINDS`. without: AP with one kind of error removed.
        exchanged: instances whose OKS would gain at least 0.1 if left and right were exchanged.
        together: of the left and right partners that are both labelled, the share located at one place, within
            0.01 of the longer side of the box, and the share labelled so.
        oks_curve, pck_curve: name -> share at `OKS_AT` and `PCK_AT`.
        calibration: of keypoint scores against PCK@0.1.
        ap: recomputed from the record, which `without` compares with.
    """

    xy: np.ndarray
    scores: np.ndarray
    oks: np.ndarray
    kinds: np.ndarray
    species: list[Group]
    keypoints: list[Group]
    shares: dict[str, float]
    without: dict[str, float]
    exchanged: np.ndarray
    together: tuple[float, float]
    oks_curve: dict[str, np.ndarray]
    pck_curve: dict[str, np.ndarray]
    calibration: Calibration
    ap: float


def analyse(record: Record, results: Sequence[dict[str, Any]], name: str = "this run") -> Analysis:
    """Compare the results with the labels in every way that the page shows.

    Args:
        record: of the evaluation.
        results: COCO keypoint results of the same evaluation, each with its `annotation_id`, or with its
            `detection` where boxes are a detector's.
        name: of the run, for the curves.

    Raises:
        ValueError: results do not name their boxes, or are of another evaluation.
    """
    found, instance_scores = _in_order(record, results)
    skeleton, truth = record.skeleton, record.keypoints.astype(np.float64)
    xy, scores = found[..., :2], found[..., 2]
    sigmas = np.array(skeleton.sigmas)
    labelled = truth[..., 2] > 0
    similar = oks(xy, truth, record.area, sigmas)
    kinds = error_kinds(xy, truth, record.area, record.image_id, skeleton.flip_index, sigmas)
    off = _offsets(xy, record)
    each = np.exp(
        -((xy - truth[..., :2]) ** 2).sum(-1) / (2 * record.area[:, None] * (2 * sigmas) ** 2)
    )
    ap = _score(record, xy, instance_scores)
    mirrored = oks(xy[:, list(skeleton.flip_index)], truth, record.area, sigmas)
    pose = place(record.mean_pose, record.boxes, skeleton).xy.astype(np.float64)
    mean_name = f"mean pose of {record.mean_pose_of}"

    def group(title: str, rows: np.ndarray, ap: float, value: float) -> Group:
        count = labelled & rows
        return Group(
            name=title,
            count=int(count.sum()),
            ap=ap,
            pck10=_mean(off[count] <= 0.1),
            pck5=_mean(off[count] <= 0.05),
            oks=value,
            kinds={kind: _mean(kinds[count] == i) for i, kind in enumerate(KINDS)},
            score=_mean(scores[count]),
        )

    species = []
    for id_ in sorted(set(record.category_id.tolist()), key=lambda i: record.species[i]):
        rows = record.category_id == id_
        title = record.species[id_]
        of = group(title, rows[:, None], ap["per_species"].get(title, np.nan), _mean(similar[rows]))
        species.append(Group(**{**vars(of), "count": int(rows.sum())}))
    keypoints = []
    for k, title in enumerate(skeleton.keypoints):
        column = np.arange(skeleton.num_keypoints) == k
        of_one = _ap_of_keypoint(record, xy, scores, k)
        keypoints.append(group(title, column[None], of_one, _mean(each[labelled[:, k], k])))

    return Analysis(
        xy=xy,
        scores=scores,
        oks=similar,
        kinds=kinds,
        species=species,
        keypoints=keypoints,
        shares={kind: _mean(kinds[labelled] == i) for i, kind in enumerate(KINDS)},
        without={
            kind: _score(
                record, corrected(xy, truth, record.area, kinds, kind, sigmas), instance_scores
            )["AP"]
            for kind in KINDS[1:]
        },
        exchanged=mirrored >= similar + 0.1,
        together=(_together(record, xy), _together(record, truth[..., :2])),
        oks_curve={
            name: _share_above(similar, OKS_AT),
            mean_name: _share_above(oks(pose, truth, record.area, sigmas), OKS_AT),
        },
        pck_curve={
            name: _share_below(off[labelled], PCK_AT),
            mean_name: _share_below(_offsets(pose, record)[labelled], PCK_AT),
        },
        calibration=calibrate(scores[labelled], off[labelled] <= 0.1),
        ap=ap["AP"],
    )


def calibrate(scores: np.ndarray, right: np.ndarray, bins: int = 10) -> Calibration:
    """Bins of equally many by score, expected calibration error, and area under the ROC curve.

    Args:
        scores: [n]. right: bool [n].
        bins: at most; fewer where there are few.
    """
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // 5)))
    score = np.array([_mean(scores[p]) for p in parts])
    share = np.array([_mean(right[p]) for p in parts])
    count = np.array([len(p) for p in parts])
    # Mann and Whitney's U from ranks, ties sharing theirs.
    _, place, times = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(times) - (times - 1) / 2)[place]
    hits, all_ = int(right.sum()), len(right)
    pairs = hits * (all_ - hits)
    above = rank[right].sum() - hits * (hits + 1) / 2
    return Calibration(
        score=score,
        right=share,
        count=count,
        error=float((count * np.abs(share - score)).sum() / max(1, count.sum())),
        ranking=float(above / pairs) if pairs else float("nan"),
    )


def _in_order(record: Record, results: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [N, K, 3] and scores [N] of the results in the record's order."""
    boxes = record.detected
    key = "annotation_id" if boxes is None else "detection"
    by_id = {r.get(key): r for r in results}
    ids = (record.annotation_id if boxes is None else boxes.box_id).tolist()
    count = len(ids) if boxes is None else boxes.boxes
    if not set(ids) <= set(by_id) or len(by_id) != count:
        raise ValueError(
            f"results: they name {len(by_id)} boxes by {key!r}, the record is of {count}, and not the "
            "same: they are of another evaluation; genloc test writes both"
        )
    keypoints = np.array([by_id[i]["keypoints"] for i in ids], np.float64)
    return keypoints.reshape(len(ids), -1, 3), np.array([by_id[i]["score"] for i in ids])


def _offsets(xy: np.ndarray, record: Record) -> np.ndarray:
    """[N, K] distance to the truth over the longer side of the box."""
    distance = np.linalg.norm(xy - record.keypoints[..., :2], axis=-1)
    return distance / record.boxes[:, None, 2:].max(axis=-1)


def _together(record: Record, xy: np.ndarray) -> float:
    """Share of pairs, both labelled, that lie within 0.01 of the box's longer side of each other."""
    left, right = np.array(record.skeleton.flip_pairs, int).reshape(-1, 2).T
    labelled = record.keypoints[..., 2] > 0
    apart = np.linalg.norm(xy[:, left] - xy[:, right], axis=-1)
    apart /= record.boxes[:, None, 2:].max(axis=-1)
    return _mean(apart[labelled[:, left] & labelled[:, right]] <= 0.01)


def _score(record: Record, xy: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """AP by pycocotools, as in the test itself; scores [N] rank the instances."""
    return _evaluate(record, record.skeleton, record.keypoints, xy, scores, record.category_id)


def _ap_of_keypoint(record: Record, xy: np.ndarray, scores: np.ndarray, k: int) -> float:
    """AP of instances that consist of one keypoint, ranked by its score, all species as one."""
    s = record.skeleton
    alone = Skeleton(s.keypoints[k], (s.keypoints[k],), (), (), (s.sigmas[k],))
    if not (record.keypoints[:, k, 2] > 0).any():
        return float("nan")
    truth, one = record.keypoints[:, k : k + 1], slice(k, k + 1)
    same = np.ones_like(record.category_id)
    return float(_evaluate(record, alone, truth, xy[:, one], scores[:, k], same)["AP"])


def _evaluate(record: Record, skeleton: Skeleton, truth: np.ndarray, xy: np.ndarray,
              scores: np.ndarray, category_id: np.ndarray) -> dict[str, Any]:  # fmt: skip
    rows = np.flatnonzero((truth[..., 2] > 0).any(axis=1)).tolist()
    ids = {
        name: [int(v) for v in values]
        for name, values in (
            ("id", record.annotation_id),
            ("image_id", record.image_id),
            ("category_id", category_id),
        )
    }
    named = [
        {"id": i, "name": record.species.get(i, str(i))} for i in sorted({*ids["category_id"]})
    ]
    ground_truth = {
        "images": [{"id": i} for i in sorted(set(ids["image_id"]))],
        "categories": [{**c, "keypoints": list(skeleton.keypoints)} for c in named],
        "annotations": [
            {name: values[i] for name, values in ids.items()}
            | {
                "bbox": record.boxes[i].astype(float).tolist(),
                "area": float(record.area[i]),
                "iscrowd": 0,
                "num_keypoints": int((truth[i, :, 2] > 0).sum()),
                "keypoints": truth[i].astype(float).ravel().tolist(),
            }
            for i in rows
        ],
    }
    evaluation = CocoAP(ground_truth, skeleton, nms=None)
    evaluation.add(
        {
            "image_id": ids["image_id"][i],
            "category_id": ids["category_id"][i],
            "annotation_id": ids["id"][i],
            "keypoints": np.pad(xy[i], ((0, 0), (0, 1))).ravel().tolist(),
            "score": float(scores[i]),
        }
        for i in rows
    )
    return evaluation.compute()


def _share_above(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return (values[:, None] >= at).mean(axis=0)


def _share_below(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return (values[:, None] <= at).mean(axis=0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
