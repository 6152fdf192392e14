from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genloc.predictor import KeypointPredictor
from genloc.skeleton import AP10K
from tests.spots import SIDED, SPOTS, Spots, around, spots_picture, spots_predictor, write_picture

NEAR = 0.6  # pixels of the picture: the dots are drawn between pixels and read from a coarser crop


@pytest.fixture
def two(tmp_path: Path) -> tuple[np.ndarray, np.ndarray, Path]:
    rgb, truth = spots_picture((25, 30), (70, 42))
    return rgb, truth, write_picture(tmp_path / "two.png", rgb)


def test_every_kind_of_picture_gives_the_same(two: tuple[np.ndarray, np.ndarray, Path]) -> None:
    rgb, truth, path = two
    predictor, boxes = spots_predictor(), around(truth)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    given: list[Any] = [path, str(path), Image.open(path), rgb, tensor, tensor.float() / 255]
    first = predictor(given[0], boxes)
    assert np.abs(first.xy - truth).max() < NEAR
    assert first.names == ("red", "green", "blue")
    assert first.skeleton == SPOTS
    np.testing.assert_allclose(first.boxes, boxes.astype(np.float32))
    assert first.image_index is not None
    assert first.image_index.tolist() == [0, 0]
    for other in given[1:]:
        found = predictor(other, boxes.tolist())
        np.testing.assert_array_equal(found.xy, first.xy)
        np.testing.assert_array_equal(found.scores, first.scores)


def test_one_box_may_stand_alone_and_none_is_the_whole_picture() -> None:
    rgb, truth = spots_picture((48, 36))
    predictor = spots_predictor()
    assert np.abs(predictor(rgb, around(truth)[0]).xy - truth).max() < NEAR
    whole = predictor(rgb)
    assert np.abs(whole.xy - truth).max() < 2 * NEAR  # a coarser crop
    assert whole.boxes.tolist() == [[0, 0, 96, 72]]
    np.testing.assert_array_equal(predictor(rgb, [0, 0, 96, 72]).xy, whole.xy)


def test_many_pictures_are_told_apart_and_batches_are_filled_across_them() -> None:
    centres = [[(25, 30), (70, 42)], [], [(48, 36)], [(20, 20), (45, 50), (75, 25)]]
    made = [spots_picture(*each) for each in centres]
    boxes = [around(truth) if len(truth) else np.zeros((0, 4)) for _, truth in made]
    predictor = spots_predictor()
    found = predictor([rgb for rgb, _ in made], boxes, keep_heatmaps=True)
    assert isinstance(predictor.model, Spots)
    assert predictor.model.calls == [4, 2]
    assert found.image_index is not None
    assert found.image_index.tolist() == [0, 0, 2, 3, 3, 3]
    assert found.heatmaps is not None
    assert found.heatmaps.shape == (6, 3, 64, 64)
    for i, (_, truth) in enumerate(made):
        assert np.abs(found.of_image(i).xy - truth).max(initial=0) < NEAR
        assert len(found.of_image(i)) == len(truth)
    alone = spots_predictor(batch_size=1)([rgb for rgb, _ in made], boxes)
    np.testing.assert_allclose(alone.xy, found.xy, atol=1e-4)


def test_stacks_are_many_pictures() -> None:
    rgb, _ = spots_picture((48, 36))
    predictor = spots_predictor()
    for stack in (
        np.stack([rgb, rgb]),
        torch.from_numpy(rgb).permute(2, 0, 1).expand(2, -1, -1, -1),
    ):
        found = predictor(stack)
        assert found.image_index is not None
        assert found.image_index.tolist() == [0, 1]
    assert len(predictor([])) == 0
    assert len(predictor([rgb], [[]])) == 0


def test_a_call_leaves_nothing_behind() -> None:
    rgb, truth = spots_picture((48, 36))
    other, _ = spots_picture((20, 50))
    predictor = spots_predictor()
    first = predictor(rgb, around(truth))
    predictor([other, other])
    np.testing.assert_array_equal(predictor(rgb, around(truth)).xy, first.xy)


def test_scores_of_boxes_are_kept_and_flip_test_works() -> None:
    rgb, truth = spots_picture((48, 36))
    predictor = spots_predictor(flip_test=True, skeleton=SIDED)
    found = predictor(rgb, around(truth), box_scores=[0.5])
    assert isinstance(predictor.model, Spots)
    assert predictor.model.calls == [1, 1]
    assert found.box_scores.tolist() == [0.5]
    np.testing.assert_allclose(found.instance_scores(), 0.5 * found.scores.mean(1))
    assert np.abs(found.xy - truth).max() < NEAR


def test_a_flip_test_is_off_where_nothing_tells_left_from_right() -> None:
    rgb, truth = spots_picture((48, 36))
    with pytest.warns(UserWarning, match="flip_test: off, as no flip pairs of 'spots' are known"):
        predictor = spots_predictor(flip_test=True)
    assert predictor.flip_test is False
    assert isinstance(predictor.model, Spots)
    predictor(rgb, around(truth))
    assert predictor.model.calls == [1]

    sided = spots_predictor(flip_test=True, skeleton=SIDED)
    assert sided.flip_test
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody asked for it in so many words
        other = sided.looking_for(torch.zeros(1, 3, 4), SPOTS)
    assert other.flip_test is False


def test_a_long_row_of_pictures_without_boxes_does_not_wait() -> None:
    rgb, truth = spots_picture((48, 36))
    predictor = spots_predictor()
    first, empty = predictor.crops(rgb, around(truth)), predictor.crops(rgb, [])
    taken = 0

    def pictures() -> Any:
        nonlocal taken
        for crops in [first] + [empty] * 1000:
            taken += 1
            yield crops

    found = predictor.locate(pictures())
    assert len(next(found)) == 1
    assert taken < 50
    assert sum(len(each) for each in found) == 0


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (np.zeros((8, 8, 3)), None, r"image is float64 \[8, 8, 3\]"),
        (np.zeros((3, 8, 8), np.uint8), None, "colours last"),
        (torch.zeros(8, 8, 3), None, r"expected \[3, H, W\]"),
        (torch.full((3, 8, 8), 3.0), None, "expected 0 to 1"),
        (torch.full((3, 8, 8), torch.nan), None, "expected 0 to 1"),
        (np.zeros((8, 8, 3), np.uint8), [[1, 2, 3]], r"expected \[N, 4\]"),
        (np.zeros((8, 8, 3), np.uint8), [[1, 2, 0, 4]], r"boxes\[0\] is \[1.0, 2.0, 0.0, 4.0\]"),
        (np.zeros((8, 8, 3), np.uint8), [[1, 2, np.nan, 4]], "finite"),
        (np.zeros((8, 8, 3), np.uint8), [[1, 1, 2, 2], [9, 1, 4, 4]], r"boxes\[1\].*8 x 8"),
        ("none.png", None, "no image file"),
    ],
)
def test_bad_input_is_named(image: Any, boxes: Any, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        spots_predictor()(image, boxes)


def test_more_bad_input(tmp_path: Path) -> None:
    predictor = spots_predictor()
    rgb, _ = spots_picture((48, 36))
    with pytest.raises(TypeError, match=r"images\[1\] is a dict"):
        predictor([rgb, {}])
    with pytest.raises(ValueError, match="2 entries for 1 pictures"):
        predictor([rgb], [None, None])
    with pytest.raises(ValueError, match="2 box_scores for 1 boxes"):
        predictor(rgb, box_scores=[1, 2])
    (tmp_path / "cut.png").write_bytes(write_picture(tmp_path / "a.png", rgb).read_bytes()[:200])
    with pytest.raises(OSError, match="truncated"):
        predictor(tmp_path / "cut.png")
    with pytest.raises(ValueError, match=r"condition has shape \[1, 5, 8\], expected \[1, K, C\]"):
        KeypointPredictor(Spots(), torch.zeros(1, 5, 8), AP10K)
    with pytest.raises(ValueError, match="batch_size is 0"):
        spots_predictor(batch_size=0)


def test_what_is_looked_for_can_be_changed() -> None:
    """The place where conditions from words or examples go."""

    class Asked(torch.nn.Module):
        def forward(self, image: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            maps = torch.einsum("bchw,okc->bkhw", ((image + 1) / 2) ** 4, condition)
            return maps / maps.sum((-2, -1), keepdim=True)

    rgb, truth = spots_picture((48, 36))
    predictor = KeypointPredictor(Asked(), torch.eye(3)[None], SPOTS, crop_size=64, device="cpu")
    one = type(SPOTS)("one", ("blue",), (), (), (0.05,))
    other = predictor.looking_for(torch.eye(3)[None, 2:], one)
    box = around(truth)
    np.testing.assert_allclose(other(rgb, box).xy[:, 0], predictor(rgb, box).xy[:, 2], atol=1e-5)
    assert other.fingerprint != predictor.fingerprint
    assert predictor.looking_for(torch.eye(3)[None], SPOTS).fingerprint == predictor.fingerprint


class Named(Spots):
    """Says what is at a cell by its colour."""

    def map_size(self, image: torch.Tensor) -> tuple[int, int]:
        return image.shape[-2] // 2, image.shape[-1] // 2

    def identify(self, image: torch.Tensor, points: torch.Tensor, *_: object) -> torch.Tensor:
        light = torch.nn.functional.avg_pool2d((image + 1) / 2, 2)[0] + 1e-6
        x, y = points[0].round().long().unbind(-1)
        read = light[:, y, x].T[None]
        return read / read.sum(-1, keepdim=True)


def named_predictor() -> KeypointPredictor:
    return KeypointPredictor(Named(), None, SPOTS, crop_size=64, device="cpu")


def test_a_place_in_pixels_of_the_picture_is_named() -> None:
    rgb, truth = spots_picture((25, 30), (70, 42), arm=10)
    predictor = named_predictor()
    for box, points in zip(around(truth), truth, strict=True):
        named = predictor.identify(rgb, points, box)
        assert [next(iter(one)) for one in named] == ["red", "green", "blue"]
        for one in named:
            assert sum(one.values()) == pytest.approx(1, abs=1e-5)
            assert list(one.values()) == sorted(one.values(), reverse=True)
    (alone,) = predictor.identify(rgb, truth[1, 2])  # the whole picture
    assert next(iter(alone)) == "blue"


def test_places_that_cannot_be_named() -> None:
    rgb, truth = spots_picture((25, 30))
    predictor = named_predictor()
    for points, box, message in (
        ([[24, 30], [80, 60]], around(truth)[0], "point 80, 60 lies outside of the box"),
        ([float("nan"), 3], None, "point nan, 3 lies outside"),
        ([[1, 2, 3]], None, r"points has shape \[1, 3\] for 1 boxes; expected \[P, 2\]"),
        ([1, 2], [[0, 0, 9, 9], [5, 5, 9, 9]], "for 2 boxes"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.identify(rgb, points, box)
    with pytest.raises(ValueError, match="Spots cannot say what is at a place"):
        spots_predictor().identify(rgb, [24, 30])
