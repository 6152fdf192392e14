from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from genloc.codecs.heatmap import gaussian_target, to_cells
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
    maps = heatmaps(colours, image, flip=SKELETON)
    # mirrored twice is the picture again; left and right have changed places
    torch.testing.assert_close(maps[:, 2], image[:, 2])
    torch.testing.assert_close(maps[:, 0], (image[:, 0] + image[:, 1]) / 2)
    torch.testing.assert_close(maps[:, 1], maps[:, 0])


def test_a_mirrored_crop_says_nothing_of_a_side_whose_partner_is_not_asked_for() -> None:
    alone = Skeleton("asked", ("the left paw", "the tail"), (), (), (0.1, 0.1))
    image, ramp = torch.rand(1, 2, 8, 8), torch.arange(8.0)

    def leaning(image: Tensor, *_: Tensor, **__: Tensor) -> Tensor:
        return image + ramp

    maps = heatmaps(leaning, image, flip=alone)
    assert torch.equal(maps[:, 0], image[:, 0] + ramp)
    torch.testing.assert_close(maps[:, 1], image[:, 1] + 3.5)


def test_there_is_no_flip_test_where_nothing_tells_left_from_right() -> None:
    """Each of these paws would be averaged with the one on the other side."""
    mouse = Skeleton("mouse", ("paw1LH_top", "paw4RH_top", "nose_top"), (), (), (0.05,) * 3)
    assert not mouse.tells_sides
    image, calls = torch.rand(1, 3, 8, 8), []

    def spy(image: Tensor, *_: Tensor, **__: Tensor) -> Tensor:
        calls.append(image)
        return image

    assert torch.equal(heatmaps(spy, image, flip=mouse), image)
    assert len(calls) == 1


def test_noise_is_mirrored_with_its_crop() -> None:
    noise = torch.rand(1, 4, 8, 8)
    seen: list[Tensor] = []

    def spy(image: Tensor, *_: Tensor, **given: Tensor) -> Tensor:
        seen.append(given["noise"])
        return image

    heatmaps(spy, torch.rand(1, 3, 8, 8), noise=noise, flip=SKELETON)
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
