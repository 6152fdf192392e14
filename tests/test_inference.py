from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genloc.codecs.heatmap import decode, gaussian_target, to_cells, to_pixels
from genloc.data.transforms import square_crop
from genloc.inference import heatmaps, latent_noise, localize
from genloc.skeleton import Skeleton

SKELETON = Skeleton(
    name="pair",
    keypoints=("left_ear", "right_ear", "nose"),
    edges=(),
    flip_pairs=((0, 1),),
    sigmas=(0.05, 0.05, 0.05),
)


@pytest.mark.parametrize("flip", [False, True])
def test_points_come_back_to_the_image_they_were_cropped_from(flip: bool) -> None:
    box = (40.0, 25.0, 60.0, 90.0)
    truth = np.array([[[50.0, 40.0], [90.0, 44.5], [71.25, 101.0]]])
    crop = square_crop(box, 128, rotation=30.0, flip=flip)
    cells = to_cells(torch.from_numpy(crop.points(truth)).float(), 128 / 64)
    maps = gaussian_target(cells, (64, 64), 0.8)
    found = localize(
        maps / maps.sum((-2, -1), keepdim=True),
        torch.from_numpy(crop.inverse)[None],
        torch.tensor([box]),
        crop_size=128,
        skeleton=SKELETON,
        keep_heatmaps=True,
    )
    # a quarter of a cell, in pixels of the image
    assert np.abs(found.xy - truth).max() < 0.25 * 2 / crop.scale
    assert found.heatmaps is not None
    assert found.heatmaps.shape == (1, 3, 64, 64)
    assert (found.scores > 0.9).all()
    assert (found.scores <= 1 + 1e-6).all()


def test_a_model_of_other_keypoints_is_refused() -> None:
    with pytest.raises(ValueError, match="gives 4 maps"):
        localize(
            torch.rand(1, 4, 8, 8),
            torch.eye(3)[None, :2].double(),
            torch.rand(1, 4),
            crop_size=64,
            skeleton=SKELETON,
        )


def colours(image: Tensor, *_: Tensor, **__: Tensor) -> Tensor:
    """A localizer that answers with the picture itself: one map for each colour."""
    return image.clone()


def test_flip_test_averages_the_swapped_maps_of_the_mirrored_crop() -> None:
    image = torch.rand(2, 3, 8, 8)
    maps = heatmaps(colours, image, flip_test=True, flip_index=SKELETON.flip_index)
    # mirrored twice is the picture again; left and right have changed places
    torch.testing.assert_close(maps[:, 2], image[:, 2])
    torch.testing.assert_close(maps[:, 0], (image[:, 0] + image[:, 1]) / 2)
    torch.testing.assert_close(maps[:, 1], maps[:, 0])


def blocks(image: Tensor, *_: Tensor) -> Tensor:
    """A localizer with cells of 8 pixels: each colour's light in each cell."""
    return F.avg_pool2d(image, 8) * 64


def lights(points: Tensor, size: int) -> Tensor:
    """[B, 3, size, size]: one lit pixel for each colour, at whole pixels [B, 3, 2]."""
    image = torch.zeros(*points.shape[:2], size * size)
    image.scatter_(2, (points[..., 1] * size + points[..., 0]).long()[..., None], 1.0)
    return image.unflatten(-1, (size, size))


def test_a_mirrored_crop_half_a_cell_off_says_where_in_the_cell() -> None:
    points = torch.randint(8, 56, (20, 3, 2), generator=torch.Generator().manual_seed(0)).float()
    image = lights(points, 64)
    errors = []
    for flip_test in (True, "half-cell"):
        maps = heatmaps(blocks, image, flip_test=flip_test, flip_index=(0, 1, 2))  # type: ignore[arg-type]
        torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(20, 3))
        cells, scores = decode(maps)
        assert scores.max() <= 1 + 1e-6
        errors.append(to_pixels(cells, 64 / maps.shape[-1]) - points)
    # A cell of 8 pixels says no more than 3.5 pixels on either side, two that overlap half of it.
    assert errors[0].abs().max() == 3.5
    assert errors[1].abs().max() <= 2
    assert errors[1].mean().abs() < 0.2  # to no side


def test_maps_of_peaks_stay_as_high_half_a_cell_off() -> None:
    class Peaks:
        score = "peak"

        def __call__(self, image: Tensor, *_: Tensor, **__: Tensor) -> Tensor:
            return torch.ones(len(image), 3, 4, 4)

    maps = heatmaps(Peaks(), torch.zeros(1, 3, 16, 16), flip_test="half-cell", flip_index=(0, 1, 2))
    torch.testing.assert_close(maps, torch.ones(1, 3, 8, 8))


def test_a_flip_test_that_cannot_be_is_refused() -> None:
    image = torch.zeros(1, 3, 20, 20)
    given: dict[str, Any] = {"flip_index": (0, 1, 2)}
    with pytest.raises(ValueError, match="half a cell is no whole number of pixels"):
        heatmaps(colours, image, flip_test="half-cell", **given)
    with pytest.raises(ValueError, match="flip_test is 'both'"):
        heatmaps(colours, image, flip_test="both", **given)  # type: ignore[arg-type]


def test_noise_is_mirrored_with_its_crop() -> None:
    noise = torch.rand(1, 4, 8, 8)
    seen: list[Tensor] = []

    def spy(image: Tensor, *_: Tensor, **given: Tensor) -> Tensor:
        seen.append(given["noise"])
        return image

    flip: dict[str, Any] = {"flip_test": True, "flip_index": SKELETON.flip_index}
    heatmaps(spy, torch.rand(1, 3, 8, 8), noise=noise, **flip)
    assert torch.equal(seen[0], noise)
    assert torch.equal(seen[1], noise.flip(-1))


class Noisy:
    """As much of a `GenLoc` as noise is drawn for."""

    noise = True

    class prior:
        stride = 8

        class vae:
            class config:
                latent_channels = 4


def test_noise_is_drawn_from_seed_epoch_and_id_alone() -> None:
    many = latent_noise(Noisy(), 64, [7, 8, 9], seed=1, epoch=2)
    assert many is not None
    assert many.shape == (3, 4, 8, 8)
    one = latent_noise(Noisy(), 64, [9], seed=1, epoch=2)
    assert one is not None
    assert torch.equal(one[0], many[2])
    for seed, epoch in ((0, 2), (1, 1)):
        other = latent_noise(Noisy(), 64, [9], seed=seed, epoch=epoch)
        assert other is not None
        assert not torch.equal(other, one)
    large = latent_noise(Noisy(), 512, [1])
    assert large is not None
    assert abs(float(large.mean())) < 0.05
    assert abs(float(large.std()) - 1) < 0.05
    assert latent_noise(object(), 64, [1]) is None
