"""`Crops`: the boxes of one picture, cut out as evaluation cuts them.

Letters: N boxes, S crop pixels. Boxes: x, y, width, height in picture pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genloc.data.batch import normalised
from genloc.data.picture import Picture
from genloc.data.transforms import square_crop

Boxes = Sequence[Sequence[float]] | Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class Crops:
    """The N crops of one picture, ready to be looked at.

    Args:
        image: float32 [N, 3, S, S], RGB in [-1, 1].
        to_image: float64 [N, 2, 3], crop pixels to picture pixels.
        boxes: float32 [N, 4].
        box_scores: float32 [N].
        ids: N numbers that noise is drawn by, for a model that wants noise.
    """

    image: Tensor
    to_image: Tensor
    boxes: Tensor
    box_scores: Tensor
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: slice) -> Crops:
        return Crops(
            self.image[rows],
            self.to_image[rows],
            self.boxes[rows],
            self.box_scores[rows],
            self.ids[rows],
        )

    def inside(self, points: Any, name: str = "image") -> Tensor:
        """Places of the picture as pixels of its one crop.

        Args:
            points: [P, 2] or [2], x, y in pixels of the picture.
            name: what errors call the picture.

        Returns:
            float64 [P, 2].

        Raises:
            ValueError: points of another shape or outside of the crop, or not one crop.
        """
        given = torch.as_tensor(np.asarray(_cpu(points), np.float64))
        if given.ndim not in (1, 2) or given.shape[-1] != 2 or len(self) != 1:
            raise ValueError(
                f"{name}: points has shape {list(given.shape)} for {len(self)} boxes; expected [P, 2] or [2], x, y "
                "in pixels of the picture, and one box"
            )
        given = given.reshape(-1, 2)
        (affine,), size = self.to_image, self.image.shape[-1]
        found = (given - affine[:, 2]) @ torch.linalg.inv(affine[:, :2]).mT
        seen = ((found >= -0.5) & (found <= size - 0.5)).all(-1)
        if not seen.all():
            x, y = given[~seen][0].tolist()
            raise ValueError(
                f"{name}: the point {x:g}, {y:g} lies outside of the box {self.boxes[0].tolist()} (x, y, width, height "
                "in pixels) and its margin; choose a place inside it, or widen the box"
            )
        return found

    @classmethod
    def none(cls, size: int) -> Crops:
        """No crop, of S = size: of a picture with nothing to look at."""
        to_image = torch.empty(0, 2, 3, dtype=torch.float64)
        return cls(torch.empty(0, 3, size, size), to_image, torch.empty(0, 4), torch.empty(0), ())

    @classmethod
    def join(cls, parts: Sequence[Crops]) -> Crops:
        """The crops of all parts, in order."""
        return cls(
            torch.cat([part.image for part in parts]),
            torch.cat([part.to_image for part in parts]),
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.box_scores for part in parts]),
            sum((part.ids for part in parts), ()),
        )


def cut_crops(
    picture: Picture,
    boxes: Boxes | None,
    box_scores: Sequence[float] | np.ndarray | Tensor | None = None,
    *,
    size: int,
    padding: float,
    ids: Sequence[int] | None = None,
    name: str = "image",
) -> Crops:
    """Cut the crops of one picture.

    Args:
        picture: where the pixels come from.
        boxes: [N, 4] or [4]; None for one box, the whole picture.
        box_scores: [N]; ones where left out.
        size: S. padding: of the box; see `square_crop`.
        ids: N numbers; zeros where left out.
        name: what errors call the picture.

    Raises:
        ValueError: a box without area, one outside of the picture, or not N scores or ids.
        OSError: the file cannot be read.
    """
    width, height = picture.size
    whole = [0, 0, width, height]
    where = _checked_boxes(whole if boxes is None else boxes, (width, height), name)
    n = len(where)
    scores = np.ones(n) if box_scores is None else np.asarray(_cpu(box_scores)).reshape(-1)
    ids = [0] * n if ids is None else ids
    for what, values in (("box_scores", scores), ("ids", ids)):
        if len(values) != n:
            raise ValueError(f"{name}: {len(values)} {what} for {n} boxes, expected one each")
    image = torch.empty(n, 3, size, size)
    to_image = torch.empty(n, 2, 3, dtype=torch.float64)
    for i, box in enumerate(where):
        crop = square_crop(box, size, padding=padding)
        image[i] = torch.from_numpy(normalised(picture.crop(crop)))
        to_image[i] = torch.from_numpy(crop.inverse)
    return Crops(
        image,
        to_image,
        torch.from_numpy(where.astype(np.float32)),
        torch.from_numpy(scores.astype(np.float32)),
        tuple(int(i) for i in ids),
    )


def for_each(name: str, values: Any, n: int) -> list[Any]:
    """`values` as a list of n, one for each picture; None stands for n times None.

    Raises:
        ValueError: not n.
    """
    if values is None:
        return [None] * n
    values = list(values)
    if len(values) != n:
        raise ValueError(
            f"{name} has {len(values)} entries for {n} pictures, expected one for each"
        )
    return values


def _cpu(values: Any) -> Any:
    return values.cpu() if isinstance(values, Tensor) else values


def _checked_boxes(boxes: Any, size: tuple[int, int], name: str) -> np.ndarray:
    """float64 [N, 4], or ValueError where one of them is no box in the picture."""
    array = np.asarray(_cpu(boxes), np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(
            f"{name}: boxes has shape {list(array.shape)}, expected [N, 4]: x, y, width, height"
        )
    for i, (x, y, w, h) in enumerate(array):
        if not (np.isfinite(array[i]).all() and w > 0 and h > 0):
            raise ValueError(
                f"{name}: boxes[{i}] is {array[i].tolist()}, expected finite x, y, width > 0, height > 0"
            )
        if x >= size[0] or y >= size[1] or x + w <= 0 or y + h <= 0:
            raise ValueError(
                f"{name}: boxes[{i}] = {array[i].tolist()} (x, y, width, height) lies outside of the "
                f"picture of {size[0]} x {size[1]} pixels"
            )
    return array
