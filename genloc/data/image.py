"""`read_image`: one picture file to RGB bytes, upright as its labels expect it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

_TURNED = {5, 6, 7, 8}  # EXIF orientations that exchange width and height
_JPEG_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
REDUCTIONS = tuple(_JPEG_FLAGS)
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


def read_image(
    path: str | Path, *, size: tuple[int, int] | None = None, reduction: int = 1
) -> np.ndarray:
    """The picture as uint8 [H, W, 3] RGB.

    Grey, palette, CMYK and 16-bit files (grey value / 257) become 8-bit RGB; transparency is
    ignored.

    Args:
        path: any file Pillow can read; JPEG is decoded by OpenCV.
        size: (width, height) the annotations state. It decides whether an EXIF quarter turn is
            applied: COCO-like sets were labelled partly on turned and partly on raw pictures, and
            the stated size says which. Without it, or where both agree, EXIF is obeyed.
        reduction: 1, 2, 4 or 8: shrink by this while decoding (cheap for JPEG). The result has
            ceil(H / reduction) x ceil(W / reduction) pixels.

    Raises:
        FileNotFoundError: no such file.
        OSError: truncated, damaged or not a picture. Both name the file.
    """
    path = Path(path)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction}, expected one of {REDUCTIONS}")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file {path.absolute()}") from None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            orientation = _orientation(picture, size)
            upright = orientation == 1
            early = reduction if upright else 1
            # A JPEG without its end marker is cut off (OpenCV would fill the rest with grey); one
            # with something after it is whole. Pillow, which is slower, tells the two apart.
            if (
                picture.format == "JPEG"
                and picture.mode in ("RGB", "L")
                and data.endswith(b"\xff\xd9")
            ):
                rgb = _decode_jpeg(data, early)
            else:
                rgb = _decode_other(picture, early)
    except _UNREADABLE as error:
        raise _unreadable(path, len(data), error) from None
    if upright:
        return rgb
    rgb = _turn(rgb, orientation)
    if reduction > 1:
        rgb = np.asarray(Image.fromarray(rgb).reduce(reduction))
    return rgb


def image_size(path: str | Path, *, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """(width, height) of what `read_image` gives for the same arguments, from the file's head alone.

    Raises:
        FileNotFoundError: no such file.
        OSError: not a picture.
    """
    path = Path(path)
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            return (height, width) if _orientation(picture, size) in _TURNED else (width, height)
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file {path.absolute()}") from None
    except _UNREADABLE as error:
        raise _unreadable(path, path.stat().st_size, error) from None


def upright_rgb(picture: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3] RGB of a PIL image, as `read_image` gives it for the image's file.

    Raises:
        ValueError: it holds floating-point values.
    """
    rgb = _decode_other(picture, 1)
    orientation = _orientation(picture, None)
    return rgb if orientation == 1 else _turn(rgb, orientation)


def _orientation(picture: Image.Image, size: tuple[int, int] | None) -> int:
    """EXIF's orientation, 1 to 8; 1 where annotations of that size were made on the raw picture."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in _TURNED and size is not None:
        width, height = picture.size
        if (width, height) == tuple(size) and width != height:
            return 1
    return orientation if orientation in range(2, 9) else 1


def _unreadable(path: Path, length: int, error: Exception) -> OSError:
    return OSError(
        f"cannot read image {path.absolute()} ({length} bytes): {error}; "
        "it is truncated, damaged or not a picture"
    )


def _decode_jpeg(data: bytes, reduction: int) -> np.ndarray:
    flags = _JPEG_FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if bgr is None:
        raise ValueError("the JPEG decoder gave up")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _decode_other(picture: Image.Image, reduction: int) -> np.ndarray:
    picture.load()  # raises where the file is truncated
    if picture.mode.startswith("I"):
        # 16-bit grey. One fixed scale: stretching each picture to its own range would make the same
        # thing look different from frame to frame.
        values = np.asarray(picture).astype(np.int64)
        grey = np.clip((values + 128) // 257, 0, 255).astype(np.uint8)
        rgb_picture = Image.fromarray(grey).convert("RGB")
    elif picture.mode == "F":
        raise ValueError("it holds floating-point values; save it as 8 or 16 bit")
    else:
        rgb_picture = picture.convert("RGB")
    if reduction > 1:
        rgb_picture = rgb_picture.reduce(reduction)
    return np.array(rgb_picture)


def _turn(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation 2 to 8."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)  # 5 is exactly this; the others add flips
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb)
