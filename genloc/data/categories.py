"""`CategorySets`: files whose categories each have keypoints of their own, as MP-100's.

Keypoints are padded to K slots, so that instances of all categories stack. Slot k is the category's
own k-th keypoint; it means nothing across categories. (MP-100: Xu et al., ECCV 2022,
https://github.com/luminxu/Pose-for-Everything.) Boxes are as CapeFormer's `test_dataset.py` cleans
them, for the crops and for the threshold (https://github.com/flyinglynx/CapeFormer).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genloc.data.annotation import Annotation, Box, KeypointOrder, stated_size
from genloc.data.coco import OUTSIDE, CocoKeypoints, Instance
from genloc.skeleton import DEFAULT_SIGMA, Skeleton, mirror_pairs

SLOTS = "slots:"


def slots(spec: str) -> Skeleton:
    """The skeleton of K nameless keypoints that `slots:K` names, such as `slots:100`.

    Nothing is known to swap in the mirror, so pictures are never mirrored.

    Raises:
        ValueError: not of that form.
    """
    count = spec.removeprefix(SLOTS)
    if not spec.startswith(SLOTS) or not count.isdigit() or int(count) < 1:
        raise ValueError(
            f"skeleton {spec!r}: expected {SLOTS}K with K the most keypoints of a category"
        )
    n = int(count)
    return Skeleton(spec, tuple(f"keypoint_{k}" for k in range(n)), (), (), (DEFAULT_SIGMA,) * n)


def clean_box(box: Box, size: tuple[int, int] | None) -> Box:
    """The box as that protocol has it: within the picture, a pixel narrower and lower.

    Args:
        box: x, y, width, height.
        size: width and height of the picture; None where they are not known.

    Returns:
        x, y, width, height; not above 0 where nothing of it is in the picture.
    """
    x, y, w, h = box
    x1, y1 = max(0.0, x), max(0.0, y)
    x2, y2 = x1 + max(0.0, w - 1), y1 + max(0.0, h - 1)
    if size is not None:
        x2, y2 = min(size[0] - 1.0, x2), min(size[1] - 1.0, y2)
    return x1, y1, x2 - x1, y2 - y1


class CategorySets(CocoKeypoints):
    """The instances of one annotation file, category by category, with the boxes of `clean_box`.

    Args: as `CocoKeypoints`; `skeleton` of `slots`.

    Attributes:
        skeletons: category id -> its own keypoints and edges, pairs from left and right in the names.
        by_category: category id -> indices of its instances, in the order of the file's images and,
            within an image, of its annotations. Categories in the order of the file; those without
            instances are left out.

    Raises:
        ValueError: as `CocoKeypoints`, and where a category has more keypoints than there are slots.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None,
        *,
        skeleton: Skeleton,
        image_ids: Iterable[int] | None = None,
        annotation_ids: Iterable[int] | None = None,
        missing_images: Literal["error", "drop"] = "error",
    ) -> None:
        super().__init__(
            annotations,
            images,
            skeleton=skeleton,
            image_ids=image_ids,
            annotation_ids=annotation_ids,
            missing_images=missing_images,
        )
        self.skeletons = {i: self._skeleton(c) for i, c in self._categories.items()}
        place = {image: n for n, image in enumerate(self._images)}
        order = sorted(range(len(self)), key=lambda i: place[self.instances[i].image_id])
        found: dict[int, list[int]] = {category: [] for category in self._categories}
        for index in order:
            found.setdefault(self.instances[index].category_id, []).append(index)
        self.by_category = {category: rows for category, rows in found.items() if rows}

    def _reason(self, record: Annotation, require_keypoints: bool) -> str | None:
        reason = super()._reason(record, require_keypoints)
        if reason is None and record.box and min(self._clean(record, record.box)[2:]) <= 0:
            return OUTSIDE
        return reason

    def _instance(self, record: Annotation, box: Box) -> Instance:
        return super()._instance(record, self._clean(record, box))

    def _clean(self, record: Annotation, box: Box) -> Box:
        return clean_box(box, stated_size(self._images[record.image_id]))

    def _order(self, categories: list[dict[str, Any]]) -> KeypointOrder:
        return _PaddedOrder(self.skeleton, categories, self.annotations)

    def _skeleton(self, category: dict[str, Any]) -> Skeleton:
        names = tuple(str(name).strip() for name in category.get("keypoints") or ())
        if not names:  # some of MP-100's name none; how many they have, their annotations say
            names = self.skeleton.keypoints
        if len(set(names)) != len(names):
            names = tuple(f"{name}_{k}" for k, name in enumerate(names))
        edges = [(int(a) - 1, int(b) - 1) for a, b in category.get("skeleton") or ()]
        if any(not 0 <= k < len(names) for edge in edges for k in edge):
            edges = []
        pairs, sigmas = mirror_pairs(names), (DEFAULT_SIGMA,) * len(names)
        return Skeleton(str(category["name"]), names, tuple(edges), pairs, sigmas)


class _PaddedOrder(KeypointOrder):
    """A category's keypoints in its own order, then empty slots."""

    def _find(self, category: int, count: int) -> np.ndarray:
        if count > self.skeleton.num_keypoints:
            raise ValueError(
                f"{self.file}: category {category} has {count} keypoints, but there are "
                f"{self.skeleton.num_keypoints} slots; use the skeleton {SLOTS}{count} or more"
            )
        return np.arange(count)

    def take(
        self, record: dict[str, Any], category: int, where: str
    ) -> tuple[np.ndarray, int, int | None]:
        rows, labelled, stated = super().take(record, category, where)
        padded = np.zeros((self.skeleton.num_keypoints, 3), np.float32)
        padded[: len(rows)] = rows
        return padded, labelled, stated
