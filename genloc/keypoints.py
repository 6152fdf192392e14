"""`Keypoints`: the one result type. N instances of one skeleton, in image pixels.

Letters: N instances, K keypoints, h, w cells of the finest map. Pixels: (0, 0) is the centre of the
top-left pixel.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genloc.skeleton import Skeleton

if TYPE_CHECKING:
    import pandas
    import supervision


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
        image_index: int64 [N], which of the pictures given together each instance is in, or None.

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
    image_index: np.ndarray | None = None

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
        if self.image_index is not None:
            self.image_index = np.asarray(self.image_index, np.int64)
            expected["image_index"] = (n,)
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

    def __getitem__(self, which: slice | Sequence[int] | np.ndarray) -> Keypoints:
        """Some of the instances: a slice, indices, or booleans [N]."""
        index = which if isinstance(which, slice) else np.asarray(which)
        if isinstance(index, np.ndarray) and index.size == 0:
            index = index.astype(np.int64)
        given = {name: getattr(self, name) for name in _ROWS}
        rows = {name: None if rows is None else rows[index] for name, rows in given.items()}
        return Keypoints(skeleton=self.skeleton, **rows)  # type: ignore[arg-type]

    def of_image(self, index: int) -> Keypoints:
        """The instances in one of the pictures that were given together.

        Raises:
            ValueError: `image_index` is None.
        """
        if self.image_index is None:
            raise ValueError(
                "image_index is None: these keypoints do not say which picture is whose"
            )
        return self[self.image_index == index]

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
    def none(cls, skeleton: Skeleton) -> Keypoints:
        """No instance at all."""
        k = skeleton.num_keypoints
        return cls(
            xy=np.zeros((0, k, 2)),
            scores=np.zeros((0, k)),
            boxes=np.zeros((0, 4)),
            box_scores=np.zeros(0),
            skeleton=skeleton,
            crops=np.zeros((0, 2, 3)),
            image_index=np.zeros(0),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Keypoints]) -> Keypoints:
        """The instances of all parts, in order. What may be None is kept if all have it.

        Raises:
            ValueError: no parts, or different skeletons.
        """
        if not parts:
            raise ValueError("parts is empty, expected at least one Keypoints")
        if any(p.skeleton != parts[0].skeleton for p in parts):
            raise ValueError(
                f"parts have different skeletons: {sorted({p.skeleton.name for p in parts})}"
            )

        def joined(name: str) -> Any:
            values = [getattr(p, name) for p in parts]
            return None if any(v is None for v in values) else np.concatenate(values)

        return cls(skeleton=parts[0].skeleton, **{name: joined(name) for name in _ROWS})

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each keypoint of each instance: image, instance, keypoint, x, y, score.

        `instance` counts from 0 within its image. Needs pandas.
        """
        pandas = _optional("pandas")
        n, k = len(self), self.skeleton.num_keypoints
        image = np.zeros(n, np.int64) if self.image_index is None else self.image_index
        instance = [int((image[:i] == image[i]).sum()) for i in range(n)]
        return pandas.DataFrame(
            {
                "image": np.repeat(image, k),
                "instance": np.repeat(np.array(instance, np.int64), k),
                "keypoint": list(self.names) * n,
                "x": self.xy[..., 0].ravel(),
                "y": self.xy[..., 1].ravel(),
                "score": self.scores.ravel(),
            }
        )

    def to_supervision(self) -> supervision.KeyPoints:
        """The same as `supervision.KeyPoints`; its class is 0, its data holds boxes and images.

        Needs supervision. Edges for its `EdgeAnnotator`, which counts from 1:
        `[(a + 1, b + 1) for a, b in keypoints.skeleton.edges]`.
        """
        data: dict[str, Any] = {"xywh": self.boxes}
        if self.image_index is not None:
            data["image_index"] = self.image_index
        return _optional("supervision").KeyPoints(
            xy=self.xy,
            keypoint_confidence=self.scores,
            detection_confidence=self.instance_scores(),
            class_id=np.zeros(len(self), int),
            data=data,
        )


_ROWS = ("xy", "scores", "boxes", "box_scores", "heatmaps", "crops", "image_index")


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs {name}: pip install {name} ({error})") from error
