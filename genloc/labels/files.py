"""What is wrong or odd with the pictures of an annotation file.

By default a picture's head and end are looked at, which finds absent, empty, cut-off and foreign
files in a fraction of a millisecond each; decoding every pixel is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from genloc.data.image import read_image
from genloc.labels.coco_file import TURNED
from genloc.labels.findings import Findings

LARGE = 100e6  # pixels: such a picture takes seconds and a gigabyte for every crop
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # JPEG and PNG: how a whole file ends


def check_files(
    images: dict[int, dict[str, Any]],
    folder: Path,
    findings: Findings,
    *,
    decode: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> set[int]:
    """Look at every picture, adding what is wrong to `findings`.

    Args:
        images: id -> record with `file_name`, and `width` and `height` where stated.
        folder: that `file_name` is relative to.
        findings: added to.
        decode: read every pixel.
        progress: called with (done, of how many).

    Returns:
        ids of the pictures that can be read.
    """
    readable = set()
    for done, (id_, image) in enumerate(images.items(), 1):
        file = folder / image["file_name"]
        problem = _problem(file) if file.is_file() else "its picture is not there"
        if problem is None:
            problem = _compare(id_, image, file, findings)
        if problem is None and decode:
            try:
                read_image(file)
            except (OSError, ValueError, MemoryError):
                problem = "its picture cannot be read: truncated, damaged or not a picture"
        if problem is None:
            readable.add(id_)
        else:
            findings.error(problem, "image", [id_])
        if progress is not None:
            progress(done, len(images))
    return readable


def _problem(file: Path) -> str | None:
    """What is wrong with the bytes at its two ends, or None."""
    try:
        with file.open("rb") as opened:
            head = opened.read(2)
            if not head:
                return "its picture has no bytes"
            opened.seek(0, 2)
            opened.seek(max(0, opened.tell() - 64))
            tail = opened.read()
    except OSError:
        return "its picture cannot be opened"
    end = ENDS.get(head)
    # Some cameras write behind the end; then only decoding can tell.
    if end is not None and end not in tail:
        try:
            read_image(file)
        except OSError:
            return "its picture cannot be read: truncated, damaged or not a picture"
    return None


def _compare(id_: int, image: dict[str, Any], file: Path, findings: Findings) -> str | None:
    """Set the file's size beside the stated one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures: said below
            with Image.open(file) as picture:
                size = picture.size
                turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
    except Image.DecompressionBombError:
        return "its picture is too large to be read safely"
    except Exception:  # Pillow's plugins raise of every kind on damaged heads
        return "its picture cannot be read: truncated, damaged or not a picture"
    if size[0] * size[1] > LARGE:
        findings.odd("its picture has over 100 million pixels: cut it up first", "image", [id_])
    if turned:
        findings.odd(
            "its picture is turned by EXIF: the stated size says how it was labelled",
            "image",
            [id_],
        )
    stated = (image.get("width"), image.get("height"))
    if None in stated:
        findings.odd("width and height are not stated", "image", [id_])
    elif stated != size and not (turned and stated == size[::-1]):
        findings.error("its picture has another size than stated: labels are off", "image", [id_])
    return None
