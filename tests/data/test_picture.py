from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genloc.data.image import image_size, read_image
from genloc.data.picture import FilePicture, as_picture
from genloc.data.transforms import square_crop


def noise(mode: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "I;16"])
def test_a_pil_image_is_read_as_its_file(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    else:
        picture = noise(mode)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(as_picture(picture).rgb(), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("stated", [None, (40, 30), (30, 40)])
def test_size_is_that_of_the_picture_read(
    tmp_path: Path, orientation: int, stated: tuple[int, int] | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise("RGB").save(tmp_path / "a.jpg", exif=exif)
    height, width = read_image(tmp_path / "a.jpg", size=stated).shape[:2]
    assert image_size(tmp_path / "a.jpg", size=stated) == (width, height)
    if stated is None:
        pil = as_picture(Image.open(tmp_path / "a.jpg"))
        assert pil.size == (width, height)
        # Pillow and OpenCV decode a JPEG to within rounding of each other.
        apart = np.abs(pil.rgb().astype(int) - read_image(tmp_path / "a.jpg"))
        assert np.median(apart) <= 1


def test_grey_and_transparent_arrays() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (as_picture(grey).rgb() == grey[..., None]).all()
    assert as_picture(grey).rgb().shape == (3, 4, 3)
    assert as_picture(np.zeros((3, 4, 4), np.uint8)).rgb().shape == (3, 4, 3)


def test_a_file_is_decoded_once_for_all_its_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise("RGB", (400, 300)).save(tmp_path / "a.jpg")
    read: list[int] = []

    def counted(path: Path, **options: Any) -> np.ndarray:
        read.append(options["reduction"])
        return read_image(path, **options)

    monkeypatch.setattr("genloc.data.picture.read_image", counted)
    picture = FilePicture(tmp_path / "a.jpg")
    for box in ([0, 0, 60, 60], [30, 20, 64, 50], [0, 0, 400, 300]):
        picture.crop(square_crop(np.array(box), 64))
    assert read == [1, 4]  # the third box needs it a quarter as fine


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot read image .*a\.png \(0 bytes\)"):
        image_size(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"no image file .*b\.png"):
        image_size(tmp_path / "b.png")
