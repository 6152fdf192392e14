"""A picture that a person gives to the page: checked before it is decoded, and its file deleted.

Pixels: (0, 0) is the centre of the top-left pixel. Three sizes of the same picture occur: the file's,
the one that is kept (never wider or higher than `KEPT`), and the one on the page (`ON_PAGE` along the
longer side). Points and boxes here are in pixels of the kept one.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from genloc.data.image import read_image
from genloc.data.zoo import SPECIES, Labelled, draw_picture, picture_rng
from genloc.visualize.marks import COLOURS, MISS, cross, frame
from genloc.visualize.scale import enlarged, fitted

MOST_BYTES = 20_000_000
MOST_PIXELS = 40_000_000  # 120 MB once decoded
LEAST_SIDE = 8
KEPT = 1600
ON_PAGE = 768
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")

# The example pictures: of species whose names a reader has a picture of, none of them in a data set.
SEED_PAGE = 5
EXAMPLES = ("horse", "dog", "giraffe", "cat", "cow", "elephant")
EXAMPLE_SIDE = 384

Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class PagePicture:
    """One picture of the page.

    Args:
        name: the file's name, for people and for the download.
        rgb: uint8 [H, W, 3], the kept picture.
        file_size: (width, height) in pixels of the file, upright.
        box: x, y, width, height of where to look; None for everywhere.
        corner: the first of two clicked corners.
    """

    name: str
    rgb: np.ndarray
    file_size: tuple[int, int]
    box: Box | None = None
    corner: Point | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the kept picture."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def where(self) -> Box:
        """The box, or that of the whole picture."""
        return self.box or (0.0, 0.0, float(self.size[0]), float(self.size[1]))

    def from_page(self, x: float, y: float) -> Point:
        """A pixel of the picture on the page -> kept pixels."""
        zoom = ON_PAGE / max(self.size)
        return (x + 0.5) / zoom - 0.5, (y + 0.5) / zoom - 0.5

    def to_file(self, points: np.ndarray) -> np.ndarray:
        """Kept pixels [..., 2] -> pixels of the file, float64."""
        zoom = np.array(self.file_size, float) / np.array(self.size, float)
        return (np.asarray(points, float) + 0.5) * zoom - 0.5

    def with_corner(self, at: Point) -> PagePicture:
        """A corner of the box was clicked: the first of a new box, or the second of this one.

        Raises:
            ValueError: both corners lie in the same row or column.
        """
        if self.corner is None:
            return replace(self, box=None, corner=at)
        (x1, x2), (y1, y2) = (sorted(pair) for pair in zip(self.corner, at, strict=True))
        if x2 - x1 < 2 or y2 - y1 < 2:
            raise ValueError("These two corners make no box: click two opposite corners.")
        return replace(self, box=(x1, y1, x2 - x1 + 1, y2 - y1 + 1), corner=None)

    def reaching(self, at: Point) -> PagePicture:
        """With a box that has this point in it."""
        if self.box is None:
            return self
        x, y, w, h = self.box
        low = min(x, at[0] - 1), min(y, at[1] - 1)
        high = max(x + w, at[0] + 2), max(y + h, at[1] + 2)
        return replace(self, box=(*low, high[0] - low[0], high[1] - low[1]))

    def everywhere(self) -> PagePicture:
        """Without a box."""
        return replace(self, box=None, corner=None)

    def on_page(self) -> np.ndarray:
        """The picture as the page shows it, with its box: uint8, ON_PAGE along the longer side."""
        canvas, zoom = enlarged(self.rgb, ON_PAGE)
        canvas = canvas.copy()
        if self.box is not None:
            frame(canvas, np.array(self.box) * [*zoom, *zoom], COLOURS["centre"], 3)
        if self.corner is not None:
            cross(canvas, (np.array(self.corner) + 0.5) * zoom - 0.5, MISS, 9)
        return canvas


def take_upload(path: str | Path, *, most_pixels: int = MOST_PIXELS) -> PagePicture:
    """Read an uploaded file and delete it, whatever comes of it.

    Raises:
        ValueError: too large, too small, of another format, damaged, or gone; says which, without the
            path.
    """
    path = Path(path)
    try:
        return _read(path, most_pixels)
    except FileNotFoundError:  # two pages were given the same file, which is kept once
        raise ValueError(f"{path.name} is gone already: give it once more.") from None
    finally:
        _delete(path)


def take_uploads(paths: Sequence[str | Path], *, most: int) -> list[PagePicture]:
    """Read several uploaded files and delete them all, whatever comes of any.

    Args:
        paths: of the files; the same picture given twice has one file.
        most: how many pictures may be taken; with more, none is decoded.

    Raises:
        ValueError: too many, or what is wrong with those that cannot be taken.
    """
    files = list(dict.fromkeys(map(Path, paths)))
    if len(files) > most:
        for path in files:
            _delete(path)
        raise ValueError(f"These are {len(files)} pictures; {most} more can be taken.")
    taken, wrong = [], []
    for path in files:
        try:
            taken.append(take_upload(path))
        except (ValueError, OSError) as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError(" ".join(wrong))
    return taken


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
        path.parent.rmdir()  # the page makes a folder for every file


def _read(path: Path, most_pixels: int) -> PagePicture:
    length = path.stat().st_size
    if length > MOST_BYTES:
        raise ValueError(
            f"{path.name} has {length / 1e6:.0f} MB; pictures of up to {MOST_BYTES / 1e6:.0f} MB are taken."
        )
    width, height = _size(path)
    if width * height > most_pixels:
        raise ValueError(
            f"{path.name} has {width} x {height} pixels; up to {most_pixels / 1e6:.3g} million are taken. "
            "Make it smaller first."
        )
    if min(width, height) < LEAST_SIDE:
        raise ValueError(
            f"{path.name} has {width} x {height} pixels; at least {LEAST_SIDE} a side are needed."
        )
    try:
        rgb = read_image(path)
    except (OSError, ValueError):
        raise ValueError(f"{path.name} cannot be read: it is truncated or damaged.") from None
    kept = fitted(rgb, KEPT) if max(rgb.shape[:2]) > KEPT else rgb
    return PagePicture(path.name, np.ascontiguousarray(kept), (rgb.shape[1], rgb.shape[0]))


def _size(path: Path) -> tuple[int, int]:
    """Of the stored picture, from the head alone. Few formats: some others start programs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as head:
                return head.size
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path.name} has more pixels than can be taken; make it smaller first."
        ) from None
    except (OSError, ValueError, SyntaxError):
        kinds = ", ".join(FORMATS)
        raise ValueError(f"{path.name} cannot be read: it is no picture ({kinds}).") from None


def _easy(image: np.ndarray, animal: Labelled) -> bool:
    """Whole, mostly in sight, neither far nor from the front, in colour and by day."""
    v, (_, _, w, h) = animal.keypoints[:, 2], animal.box
    large = 0.5 * EXAMPLE_SIDE < max(w, h) < 0.85 * EXAMPLE_SIDE
    by_day = image.mean() > 105 and np.ptp(image.mean(axis=(0, 1))) > 25
    return bool(
        by_day and (v > 0).all() and (v == 2).sum() >= 11 and large and min(w, h) > 0.5 * max(w, h)
    )


def zoo_pictures() -> list[PagePicture]:
    """Freshly drawn animals to try things on, each with its box."""
    names = [name for name, _ in SPECIES]
    found = []
    for name in EXAMPLES:
        category, index = names.index(name) + 1, 0
        while True:  # a picture with one animal, seen from its side and near
            rng = picture_rng(SEED_PAGE, 0, category, index)
            drawn = draw_picture(category, rng, size=EXAMPLE_SIDE, style="photo")
            if len(drawn.animals) == 1 and _easy(drawn.image, drawn.animals[0]):
                break
            index += 1
        side = (EXAMPLE_SIDE, EXAMPLE_SIDE)
        found.append(PagePicture(f"{name}.png", drawn.image, side, drawn.animals[0].box))
    return found
