from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genloc.data.transforms import Augmentation, Crop, square_crop
from genloc.skeleton import AP10K, Skeleton

coordinate = st.floats(-3000, 3000)
length = st.floats(1, 3000)
crops = st.builds(
    square_crop,
    st.tuples(coordinate, coordinate, length, length),
    st.sampled_from([7, 64, 256, 512]),
    padding=st.floats(0.5, 3),
    rotation=st.floats(-180, 180),
    scale=st.floats(0.5, 1.5),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    flip=st.booleans(),
)
points = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=17).map(np.array)


@given(crops, points)
def test_the_inverse_is_exact(crop: Crop, xy: np.ndarray) -> None:
    scale = max(1.0, 1 / crop.scale) * max(1.0, crop.scale)
    assert np.allclose(crop.to_image(crop.points(xy)), xy, atol=1e-8 * scale, rtol=0)
    assert np.allclose(crop.points(crop.to_image(xy)), xy, atol=1e-8 * scale, rtol=0)


@given(crops)
def test_it_is_a_similarity_and_mirrors_only_when_flipped(crop: Crop) -> None:
    turn = crop.matrix[:, :2]
    assert np.allclose(turn @ turn.T, np.eye(2) * crop.scale**2, atol=1e-9)
    assert (np.linalg.det(turn) < 0) == crop.flipped


@given(
    st.tuples(coordinate, coordinate, length, length),
    st.sampled_from([64, 256]),
    st.floats(0.5, 3),
    st.floats(-180, 180),
    st.booleans(),
)
def test_centre_and_scale_are_those_of_the_padded_box(
    box: tuple[float, float, float, float], size: int, padding: float, rotation: float, flip: bool
) -> None:
    crop = square_crop(box, size, padding=padding, rotation=rotation, flip=flip)
    x, y, w, h = box
    assert np.allclose(crop.points(np.array([x + w / 2, y + h / 2])), (size - 1) / 2, atol=1e-6)
    assert crop.scale == pytest.approx(size / (max(w, h) * padding))


@given(crops, points)
def test_flip_mirrors_the_same_crop(crop: Crop, xy: np.ndarray) -> None:
    mirror = np.array([[-1.0, 0, crop.size - 1], [0, 1, 0]])
    whole = mirror @ np.vstack([crop.matrix, [0, 0, 1]])
    other = Crop(whole, crop.size, not crop.flipped)
    expected = crop.points(xy) * [-1, 1] + [crop.size - 1, 0]
    assert np.allclose(other.points(xy), expected, atol=1e-6)


def test_known_crops_by_hand() -> None:
    same = square_crop((-0.5, -0.5, 8, 8), 8, padding=1.0)
    assert np.array_equal(same.matrix, [[1, 0, 0], [0, 1, 0]])
    # A quarter turn counter-clockwise takes what was right of the centre to above it.
    turned = square_crop((-0.5, -0.5, 9, 9), 9, padding=1.0, rotation=90)
    assert np.allclose(turned.points(np.array([6, 4])), [4, 2])
    flipped = square_crop((-0.5, -0.5, 9, 9), 9, padding=1.0, flip=True)
    assert np.allclose(flipped.points(np.array([[6, 4], [0, 1]])), [[2, 4], [8, 1]])
    shifted = square_crop((0, 0, 10, 20), 20, padding=1.0, shift=(0.5, -0.25))
    assert np.allclose(shifted.points(np.array([10, 5])), [9.5, 9.5])
    assert np.allclose(square_crop((0, 0, 4, 10), 20, scale=2.0, padding=1.0).scale, 1.0)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, math.nan, 5)])
def test_a_box_without_area_is_refused(box: tuple) -> None:
    with pytest.raises(ValueError, match=r"box is .*expected x, y, width > 0"):
        square_crop(box, 64)
    with pytest.raises(ValueError, match="must be above 0"):
        square_crop((0, 0, 5, 5), 64, padding=0)


def dot(height: int, width: int, x: float, y: float, spread: float) -> np.ndarray:
    """A Gaussian spot whose centre of mass is exactly at (x, y)."""
    ys, xs = np.mgrid[:height, :width]
    value = 250 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 2 / spread**2)
    return np.repeat(np.rint(value)[..., None], 3, axis=2).astype(np.uint8)


def centre_of_mass(rgb: np.ndarray) -> np.ndarray:
    weight = rgb[..., 0].astype(float)
    ys, xs = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    return np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(90, 210),
    y=st.floats(80, 160),
    rotation=st.floats(-180, 180),
    side=st.floats(60, 900),
    flip=st.booleans(),
    reduction=st.sampled_from([1, 2, 4]),
)
def test_the_picture_goes_where_the_points_go(
    x: float, y: float, rotation: float, side: float, flip: bool, reduction: int
) -> None:
    size = 64
    zoom = size / side
    crop = square_crop((x - side / 2 + 3, y - side / 2 - 2, side, side), size, padding=1.0,
                       rotation=rotation, flip=flip)  # fmt: skip
    spread = max(4.0, 1.5 / zoom)
    rgb = dot(261, 310, x, y, spread)
    if spread * zoom > 12:
        return  # the spot would leave the crop
    if reduction > 1:
        padded = np.pad(rgb.astype(float), ((0, -261 % reduction), (0, -310 % reduction), (0, 0)))
        h, w = padded.shape[0] // reduction, padded.shape[1] // reduction
        blocks = padded.reshape(h, reduction, w, reduction, 3).mean(axis=(1, 3))
        rgb = np.rint(blocks).astype(np.uint8)
    pixels = crop.image(rgb, reduction=reduction)
    assert pixels.shape == (size, size, 3)
    expected = crop.points(np.array([x, y]))
    assert np.abs(centre_of_mass(pixels) - expected).max() < 0.15


def test_the_identity_crop_is_the_picture_and_outside_is_zero() -> None:
    rgb = np.random.default_rng(0).integers(1, 255, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(square_crop((-0.5, -0.5, 16, 16), 16, padding=1.0).image(rgb), rgb)
    wide = square_crop((-0.5, -0.5, 16, 16), 32, padding=2.0).image(rgb)
    assert np.array_equal(wide[8:24, 8:24], rgb)
    assert wide[:8].max() == wide[24:].max() == wide[:, :8].max() == 0
    far = square_crop((500, 500, 16, 16), 8).image(rgb)
    assert far.max() == 0


def test_an_unshrunk_crop_equals_warp_affine() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    crop = square_crop((5, 5, 30, 40), 48, rotation=33, flip=True)
    expected = cv2.warpAffine(rgb, crop.matrix, (48, 48), flags=cv2.INTER_LINEAR)
    assert np.array_equal(crop.image(rgb), expected)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than a crop of a quarter of the size can show
    crop = square_crop((-0.5, -0.5, 256, 256), 64, padding=1.0, rotation=5)
    aliased = cv2.warpAffine(stripes, crop.matrix, (64, 64), flags=cv2.INTER_LINEAR)
    inner = slice(8, 56)
    assert aliased[inner, inner].std() > 20
    assert crop.image(stripes)[inner, inner].std() < 3


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rgb is float32 \[4, 4, 3\]"):
        square_crop((0, 0, 4, 4), 4).image(np.zeros((4, 4, 3), np.float32))


def instance(labelled: int = 17, box: tuple = (10.0, 20.0, 60.0, 40.0)) -> SimpleNamespace:
    rng = np.random.default_rng(3)
    xy = np.array(box[:2]) + rng.random((17, 2)) * box[2:]
    v = np.where(np.arange(17) < labelled, 2, 0)[:, None]
    keypoints = np.concatenate([xy, v], axis=1).astype(np.float32)
    return SimpleNamespace(box=box, keypoints=keypoints, image_size=(640, 480))


STILL = Augmentation(flip=0, rotation=0, rotation_p=0, scale=0, half_body=0, colour=0)


def draw(augmentation: Augmentation, seed: int = 0, labelled: int = 17, skeleton: Skeleton = AP10K):
    rng = np.random.default_rng(seed)
    return augmentation.draw(instance(labelled), skeleton, 64, 1.25, rng)


def test_no_amount_is_the_plain_crop() -> None:
    crop, colour = draw(STILL)
    assert np.array_equal(crop.matrix, square_crop((10, 20, 60, 40), 64).matrix)
    rgb = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    assert np.array_equal(colour(rgb), rgb)


def test_draws_depend_on_the_generator_alone() -> None:
    a, b, c = (draw(Augmentation(shift=0.1), seed)[0].matrix for seed in (5, 5, 6))
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)


def test_switching_one_part_off_leaves_the_others() -> None:
    seeds = range(40)
    both = [draw(Augmentation(half_body=0, colour=0), s)[0] for s in seeds]
    unflipped = [draw(Augmentation(half_body=0, colour=0, flip=0), s)[0] for s in seeds]
    assert 5 < sum(crop.flipped for crop in both) < 35
    assert not any(crop.flipped for crop in unflipped)
    for a, b in zip(both, unflipped, strict=True):
        assert np.allclose(a.matrix[1], b.matrix[1])  # rows: y is untouched by the mirror


def test_amounts_stay_in_their_ranges() -> None:
    plain = square_crop((10, 20, 60, 40), 64).scale
    crops = [draw(Augmentation(half_body=0), seed)[0] for seed in range(300)]
    sides = np.array([plain / crop.scale for crop in crops])
    angles = np.array([math.degrees(math.atan2(-c.matrix[1, 0], c.matrix[1, 1])) for c in crops])
    assert 0.499 < sides.min() < 0.6
    assert 1.4 < sides.max() < 1.501
    assert 40 < np.abs(angles).max() <= 80.001
    assert 0.3 < (np.abs(angles) < 1e-9).mean() < 0.5  # rotation_p = 0.6


def test_half_body_looks_at_one_half_when_it_may() -> None:
    half = Augmentation(flip=0, rotation=0, rotation_p=0, scale=0, half_body=1, colour=0)
    seen = set()
    for seed in range(20):
        crop, _ = draw(half, seed)
        xy = instance().keypoints[:, :2]
        middle = crop.to_image(np.array([31.5, 31.5]))
        upper = np.array(AP10K.upper_body)
        lower = np.array([i for i in range(17) if i not in AP10K.upper_body])
        distances = [np.abs(xy[part].mean(axis=0) - middle).max() for part in (upper, lower)]
        which = int(np.argmin(distances))
        assert distances[which] < 1e-4
        seen.add(which)
        extent = np.ptp(xy[(upper, lower)[which]], axis=0).max()
        assert crop.scale == pytest.approx(64 / (1.5 * extent), rel=1e-5)
    assert seen == {0, 1}
    plain = square_crop((10, 20, 60, 40), 64).matrix
    assert np.array_equal(draw(half, labelled=8)[0].matrix, plain)  # not more than 8 labelled
    unknown = Skeleton("x", AP10K.keypoints, (), AP10K.flip_pairs, AP10K.sigmas)
    assert np.array_equal(draw(half, skeleton=unknown)[0].matrix, plain)


def test_some_crops_show_more_than_the_box_up_to_the_whole_picture() -> None:
    wide = dataclasses.replace(STILL, whole=0.5)
    plain = square_crop((10, 20, 60, 40), 64)
    sides, ends = [], np.array([[0, 0], [63, 63]])
    for seed in range(400):
        crop, _ = draw(wide, seed)
        sides.append(plain.scale / crop.scale)
        low, high = crop.to_image(ends)  # nothing of the plain crop is lost
        inner_low, inner_high = plain.to_image(ends)
        assert (low <= inner_low + 1).all() and (high >= inner_high - 1).all()
    assert 0.4 < np.mean(np.array(sides) == 1) < 0.6
    assert max(sides) == pytest.approx(640 / 60, rel=0.03)
    assert np.median([s for s in sides if s > 1]) == pytest.approx((640 / 60) ** 0.5, rel=0.2)
    without = SimpleNamespace(**{**vars(instance()), "image_size": None})
    rng = np.random.default_rng(0)
    crop, _ = dataclasses.replace(STILL, whole=1.0).draw(without, AP10K, 64, 1.25, rng)
    assert np.array_equal(crop.matrix, plain.matrix)


def test_without_flip_pairs_nothing_is_mirrored() -> None:
    unpaired = Skeleton("x", AP10K.keypoints, (), (), AP10K.sigmas)
    always = Augmentation(flip=1)
    assert draw(always)[0].flipped
    assert not any(draw(always, seed, skeleton=unpaired)[0].flipped for seed in range(10))


def test_colour_is_mild_and_keeps_grey_grey() -> None:
    rgb = np.random.default_rng(0).integers(60, 190, (32, 32, 3), dtype=np.uint8)
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    changes = []
    for seed in range(30):
        _, colour = draw(Augmentation(), seed)
        changed = colour(rgb)
        assert changed.dtype == np.uint8
        changes.append(np.abs(changed.astype(int) - rgb).mean())
        assert np.ptp(colour(grey).astype(int), axis=2).max() <= 1
    assert 3 < np.mean(changes) < 30
    assert max(changes) < 60


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"whole": 2},
        {"half_body": -0.1},
        {"scale": 1.0},
        {"rotation": -3},
        {"colour": 2},
    ],
)
def test_impossible_amounts_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        Augmentation(**wrong)
