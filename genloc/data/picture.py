"""`Picture`: where the pixels of crops come from, be it a file or an array.

Training, evaluation and prediction cut their crops here, so that the same box gives the same pixels.
Letters: H, W picture pixels, S crop pixels.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from genloc.data.image import REDUCTIONS, image_size, read_image, upright_rgb
from genloc.data.transforms import Crop


class Picture(Protocol):
    """One picture."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright."""
        ...

    def crop(self, crop: Crop) -> np.ndarray:
        """uint8 [S, S, 3] RGB. Raises OSError naming a file that cannot be read."""
        ...

    def rgb(self) -> np.ndarray:
        """The whole picture, uint8 [H, W, 3] RGB."""
        ...


class FilePicture:
    """A picture file, decoded only as finely as a crop can show.

    Args:
        path: any picture `read_image` reads.
        stated_size: (width, height) that annotations state; it decides about EXIF, see `read_image`.
    """

    def __init__(self, path: str | Path, stated_size: tuple[int, int] | None = None) -> None:
        self.path = Path(path)
        self.stated_size = stated_size
        self._kept: tuple[int, np.ndarray] | None = None

    @cached_property
    def size(self) -> tuple[int, int]:
        return image_size(self.path, size=self.stated_size)

    def crop(self, crop: Crop) -> np.ndarray:
        # The crop has no more pixels to show than the picture has after this.
        reduction = max(r for r in REDUCTIONS if r == 1 or r * crop.scale <= 1)
        return crop.image(self._read(reduction), reduction=reduction)

    def rgb(self) -> np.ndarray:
        return self._read(1)

    def _read(self, reduction: int) -> np.ndarray:
        # Several boxes of one picture mostly want it alike; one decoding is kept, never more.
        if self._kept is None or self._kept[0] != reduction:
            self._kept = None
            rgb = read_image(self.path, size=self.stated_size, reduction=reduction)
            self._kept = (reduction, rgb)
        return self._kept[1]


class ArrayPicture:
    """A picture in memory.

    Args:
        rgb: uint8 [H, W, 3] RGB.
    """

    def __init__(self, rgb: np.ndarray) -> None:
        self._rgb = rgb

    @property
    def size(self) -> tuple[int, int]:
        return self._rgb.shape[1], self._rgb.shape[0]

    def crop(self, crop: Crop) -> np.ndarray:
        return crop.image(self._rgb)

    def rgb(self) -> np.ndarray:
        return self._rgb


def as_picture(given: Any, name: str = "image") -> Picture:
    """A picture of whatever a user has.

    Args:
        given: a path; a PIL image (its EXIF orientation is applied, as for a file); a numpy array,
            uint8 [H, W, 3] RGB (OpenCV reads BGR: turn it round first), [H, W, 4] (transparency is
            ignored) or [H, W] grey; a torch tensor [3 or 1, H, W], uint8 or floats in 0 to 1; or a
            `Picture`.
        name: what errors call it.

    Raises:
        TypeError: something else.
        ValueError: another shape, dtype or range.
        FileNotFoundError: a path without a file.
    """
    if isinstance(given, str | Path):
        if not Path(given).is_file():
            raise FileNotFoundError(f"{name}: no image file {Path(given).absolute()}")
        return FilePicture(given)
    if isinstance(given, Image.Image):
        return ArrayPicture(upright_rgb(given))
    if isinstance(given, np.ndarray):
        return ArrayPicture(_rgb_array(given, name))
    if callable(getattr(given, "crop", None)) and callable(getattr(given, "rgb", None)):
        return given
    if hasattr(given, "detach"):
        return ArrayPicture(_rgb_tensor(given, name))
    raise TypeError(
        f"{name} is a {type(given).__name__}; expected a path, a PIL image, a numpy array [H, W, 3] "
        "or a torch tensor [3, H, W]"
    )


def _rgb_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(
            f"{name} is {array.dtype} {list(array.shape)}; expected uint8 [H, W, 3] RGB or [H, W] grey"
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"{name} has shape {list(array.shape)}; expected the colours last, [H, W, 3] "
            "(a torch tensor has them first)"
        )
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    return np.ascontiguousarray(array)


def _rgb_tensor(tensor: Any, name: str) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        raise ValueError(
            f"{name} is a tensor of shape {list(tensor.shape)}; expected [3, H, W] RGB or [1, H, W]"
        )
    array = tensor.detach().cpu().numpy()
    if array.dtype.kind == "f":
        if not (array.min(initial=0) >= 0 and array.max(initial=0) <= 1):  # NaN fails, too
            raise ValueError(
                f"{name} is a tensor of floats from {array.min():.4g} to {array.max():.4g}; expected "
                "0 to 1 (or uint8, 0 to 255)"
            )
        array = (array * 255 + 0.5).astype(np.uint8)
    return _rgb_array(array.transpose(1, 2, 0), name)
