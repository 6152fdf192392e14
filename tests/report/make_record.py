"""A made-up evaluation whose errors are planted: what the report says of it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from genloc.report.record import Record, Shown
from genloc.skeleton import AP10K

K = AP10K.num_keypoints
SPECIES = {1: "antelope", 8: "<b>dog</b>", 25: "cat"}


def make(
    instances: int = 12, shown: int = 16, seed: int = 0
) -> tuple[Record, list[dict[str, Any]]]:
    """A record and its results: every third instance is mirrored, every fourth far off, others good."""
    rng = np.random.default_rng(seed)
    box = np.array([20.0, 10, 160, 120])
    truth = np.concatenate(
        [
            box[:2] + rng.random((instances, K, 2)) * box[2:],
            rng.choice([0.0, 1, 2], (instances, K, 1), p=[0.2, 0.1, 0.7]),
        ],
        axis=-1,
    )
    truth[truth[..., 2] == 0] = 0
    xy = truth[..., :2] + rng.normal(0, 0.4, (instances, K, 2))
    scores = rng.uniform(0.6, 0.9, (instances, K))
    flip = list(AP10K.flip_index)
    both = (truth[..., 2] > 0) & (truth[:, flip, 2] > 0)
    for i in range(instances):
        if i % 4 == 3:
            xy[i] += 2000
            scores[i] = rng.uniform(0.1, 0.4, K)
        elif i % 3 == 2:
            xy[i] = np.where(both[i][:, None], xy[i, flip], xy[i])
    ids = 101 + np.arange(instances)
    category = np.array(sorted(SPECIES))[np.arange(instances) % len(SPECIES)]
    to_image = np.array([[2.5, 0, 10], [0, 2.5, -20]])
    record = Record(
        skeleton=AP10K,
        species=SPECIES,
        annotation_id=ids,
        image_id=1 + np.arange(instances),
        category_id=category,
        area=np.full(instances, box[2] * box[3]),
        boxes=np.tile(box, (instances, 1)),
        keypoints=truth,
        mean_pose=np.full((K, 2), 0.5),
        mean_pose_of="the training set",
        shown=tuple(
            Shown(
                int(id_),
                rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) // 64 * 20,
                to_image,
                rng.random((K, 8, 8)).astype(np.float32),
            )
            for id_ in ids[:shown]
        ),
    )
    results = [
        {
            "image_id": int(record.image_id[i]),
            "category_id": int(category[i]),
            "annotation_id": int(ids[i]),
            "keypoints": np.column_stack([xy[i], scores[i]]).ravel().tolist(),
            "score": float(scores[i].mean()),
        }
        for i in range(instances)
    ]
    return record, results


def write_scores(run: Path, instances: int = 24) -> None:
    """The files that `genloc test` writes for the report, into a run's folder."""
    record, results = make(instances, shown=instances)
    record.write(run / "record-test.npz")
    (run / "results-test.json").write_text(json.dumps(results))
    metrics = {
        "test": {
            "AP": 0.5,
            "AP50": 0.75,
            "APM": None,
            "PCK@0.1": 0.625,
            "per_species": {},
            "other_sigmas": {"ap10k-legacy": {"AP": 0.47, "PCK@0.1": 0.61}},
            "mean_pose": {"of": "the training set", "AP": 0.0, "AP50": None},
            "protocol": ["annotations: <script>alert(1)</script>.json", "boxes: ground truth"],
            "notes": ["2 of 26 instances have no result"],
            "genloc": "0",
        }
    }
    (run / "metrics.json").write_text(json.dumps(metrics))
