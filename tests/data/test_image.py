from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from genloc.data.image import read_image


def picture(height: int = 24, width: int = 40) -> np.ndarray:
    """Smooth, without any symmetry, different in each channel."""
    y, x = np.mgrid[:height, :width]
    planes = [255 * x / width, 255 * y / height, 255 * (x + 2 * y) / (width + 2 * height)]
    return np.stack(planes, axis=2).astype(np.uint8)


def saved(path: Path, array: np.ndarray, orientation: int | None = None, **options: Any) -> Path:
    image = Image.fromarray(array)
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


def test_png_is_exact_and_jpeg_close(tmp_path: Path) -> None:
    rgb = picture()
    assert np.array_equal(read_image(saved(tmp_path / "a.png", rgb)), rgb)
    read = read_image(saved(tmp_path / "a.jpg", rgb, quality=98, subsampling=0))
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - rgb).max() < 12  # red and blue exchanged would be 200 off


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    assert np.array_equal(read_image(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpeg(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    image.save(tmp_path / "a.jpg", quality=98)
    read = read_image(tmp_path / "a.jpg")
    assert read.shape == (24, 40, 3)
    assert np.abs(read.astype(int) - np.asarray(image.convert("RGB"))).max() < 16


def test_sixteen_bit_grey_is_scaled_by_257(tmp_path: Path) -> None:
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 1], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_obeyed_as_pillow_does(tmp_path: Path, orientation: int, kind: str) -> None:
    path = saved(tmp_path / f"a.{kind}", picture(), orientation)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    read = read_image(path)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() <= (0 if kind == "png" else 8)


def test_the_stated_size_decides_about_a_quarter_turn(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", picture(24, 40), orientation=6)
    assert read_image(path).shape == (40, 24, 3)
    assert read_image(path, size=(24, 40)).shape == (40, 24, 3)  # labelled upright
    assert read_image(path, size=(40, 24)).shape == (24, 40, 3)  # labelled as stored


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_is_the_mean_of_blocks(
    tmp_path: Path, kind: str, reduction: int, orientation: int
) -> None:
    path = saved(tmp_path / f"a.{kind}", picture(32, 48), orientation)
    whole = read_image(path).astype(float)
    h, w = whole.shape[0] // reduction, whole.shape[1] // reduction
    blocks = whole.reshape(h, reduction, w, reduction, 3).mean(axis=(1, 3))
    read = read_image(path, reduction=reduction)
    assert read.shape == blocks.shape
    assert np.abs(read - blocks).max() < 5


def test_reduced_size_is_rounded_up(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        path = saved(tmp_path / name, picture(25, 41))
        assert read_image(path, reduction=4).shape == (7, 11, 3)


def test_a_jpeg_with_something_behind_it_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", picture())
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + b"\n\0made by a camera\0")
    assert np.abs(read_image(path).astype(int) - whole).max() <= 2


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6, 0.97])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, kind: str, kept: float) -> None:
    rng = np.random.default_rng(0)
    path = saved(tmp_path / f"cut.{kind}", rng.integers(0, 256, (80, 80, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(OSError, match=rf"cannot read image .*cut\.{kind} .*truncated"):
        read_image(path)


def test_no_picture_and_no_file_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(OSError, match=r"cannot read image .*a\.jpg.*not a picture"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"no image file .*b\.jpg"):
        read_image(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match="reduction is 3"):
        read_image(tmp_path / "a.jpg", reduction=3)


def test_floating_point_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(OSError, match="floating-point"):
        read_image(tmp_path / "a.tif")
