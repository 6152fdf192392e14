"""`Keypoints`: the one result type. N instances of one skeleton, in image pixels.

Letters: N instances, K keypoints, h, w cells of the finest map. Pixels: (0, 0) is the centre of the
top-left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genloc.skeleton import Skeleton


@dataclass
class Keypoints:
    """Located keypoints of N instances.

    Args:
        xy: float32 [N, K, 2], image pixels.
        scores: float32 [N, K], at least 0.
        boxes: float32 [N, 4], x, y, width, height of the box each instance was looked for in.
        box_scores: float32 [N]; 1 for ground-truth boxes.
        skeleton: what the K rows are.
        heatmaps: float32 [N, K, h, w] in crop cells, or None.
        crops: float64 [N, 2, 3], affine from crop pixels to image pixels, or None.

    Raises:
        ValueError: a shape does not fit the others.
    """

    xy: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    box_scores: np.ndarray
    skeleton: Skeleton
    heatmaps: np.ndarray | None = None
    crops: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.xy = np.asarray(self.xy, np.float32)
        self.scores = np.asarray(self.scores, np.float32)
        self.boxes = np.asarray(self.boxes, np.float32)
        self.box_scores = np.asarray(self.box_scores, np.float32)
        n, k = len(self.xy), self.skeleton.num_keypoints
        expected: dict[str, tuple[int, ...]] = {
            "xy": (n, k, 2),
            "scores": (n, k),
            "boxes": (n, 4),
            "box_scores": (n,),
        }
        if self.crops is not None:
            self.crops = np.asarray(self.crops, np.float64)
            expected["crops"] = (n, 2, 3)
        if self.heatmaps is not None:
            expected["heatmaps"] = (n, k, *np.shape(self.heatmaps)[2:4])
        for name, shape in expected.items():
            got = np.shape(getattr(self, name))
            if got != shape:
                raise ValueError(
                    f"{name} has shape {list(got)}, expected {list(shape)} "
                    f"({n} instances of {self.skeleton.name!r} with {k} keypoints)"
                )

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def names(self) -> tuple[str, ...]:
        """The K keypoint names."""
        return self.skeleton.keypoints

    def instance_scores(self) -> np.ndarray:
        """float32 [N]: box score x mean keypoint score.

        No threshold: a map that sums to 1 may have no score above the customary 0.2 anywhere, and
        leaving those out would score the whole instance 0.
        """
        return self.box_scores * self.scores.mean(axis=1)

    def to_coco(
        self,
        image_ids: Sequence[int],
        category_ids: Sequence[int],
        annotation_ids: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """N records of a COCO keypoint results file.

        Args:
            image_ids: N ids.
            category_ids: N ids: the species of each instance, as the annotations have it.
            annotation_ids: N ids of the annotations whose boxes were used, kept as `annotation_id`;
                evaluation drops duplicates by it.

        Raises:
            ValueError: not N ids.
        """
        ids: dict[str, Sequence[int]] = {"image_id": image_ids, "category_id": category_ids}
        if annotation_ids is not None:
            ids["annotation_id"] = annotation_ids
        for name, values in ids.items():
            if len(values) != len(self):
                raise ValueError(f"{name}s: got {len(values)}, expected {len(self)}, one each")
        rows = np.concatenate([self.xy, self.scores[..., None]], axis=-1).astype(float)
        scores = self.instance_scores()
        return [
            {name: int(values[i]) for name, values in ids.items()}
            | {"keypoints": rows[i].ravel().tolist(), "score": float(scores[i])}
            for i in range(len(self))
        ]

    @classmethod
    def concatenate(cls, parts: Sequence[Keypoints]) -> Keypoints:
        """The instances of all parts, in order. `heatmaps` and `crops` are kept if all have them.

        Raises:
            ValueError: no parts, or different skeletons.
        """
        if not parts:
            raise ValueError("parts is empty, expected at least one Keypoints")
        if any(p.skeleton != parts[0].skeleton for p in parts):
            raise ValueError(
                f"parts have different skeletons: {sorted({p.skeleton.name for p in parts})}"
            )

        def joined(name: str) -> np.ndarray | None:
            values = [getattr(p, name) for p in parts]
            return None if any(v is None for v in values) else np.concatenate(values)

        return cls(
            xy=np.concatenate([p.xy for p in parts]),
            scores=np.concatenate([p.scores for p in parts]),
            boxes=np.concatenate([p.boxes for p in parts]),
            box_scores=np.concatenate([p.box_scores for p in parts]),
            skeleton=parts[0].skeleton,
            heatmaps=joined("heatmaps"),
            crops=joined("crops"),
        )
