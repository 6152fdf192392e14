from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from genloc.data.support import read_support, read_supports
from genloc.data.transforms import square_crop


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path / "a.png"


def points(folder: Path, content: object, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_all_forms_say_the_same(picture: Path, tmp_path: Path) -> None:
    places = {"left_eye": [20, 12.5], "right_eye": [30, 10], "tail": None}
    full = {"keypoints": places, "box": [10, 5, 40, 30], "edges": [["left_eye", "right_eye"]]}
    coco = {
        "images": [{"id": 3, "file_name": "folder/a.png"}, {"id": 4, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "bbox": [10, 5, 40, 30],
             "keypoints": [20, 12.5, 2, 30, 10, 1, 0, 0, 0]},
            {"id": 2, "image_id": 4, "category_id": 9, "bbox": [0, 0, 1, 1], "keypoints": [1, 1, 2] * 3},
        ],
        "categories": [{"id": 9, "name": "x", "keypoints": list(places), "skeleton": [[1, 2]]}],
    }  # fmt: skip
    one, other = (
        read_support(picture, points(tmp_path, content, f"{n}.json"))
        for n, content in enumerate((full, coco))
    )
    for support in (one, other):
        assert support.points.tolist() == [[20, 12.5, 2], [30, 10, 2], [0, 0, 0]]
        assert support.box == (10, 5, 40, 30)
        assert support.skeleton.keypoints == ("left_eye", "right_eye", "tail")
        assert support.skeleton.edges == ((0, 1),)
        assert support.skeleton.flip_pairs == ((0, 1),)
    bare = read_support(picture, points(tmp_path, places))
    assert np.array_equal(bare.points, one.points)
    assert bare.box == (0, 0, 80, 60)


def test_without_a_box_the_whole_picture_is_the_support(picture: Path, tmp_path: Path) -> None:
    """As pictures are looked in without a box: one eye says nothing of how large its animal is."""
    labels = {
        "images": [{"id": 3, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 9, "keypoints": [20, 12, 2]}],
        "categories": [{"id": 9, "name": "x", "keypoints": ["nose"]}],
    }
    for content in ({"nose": [20, 12]}, {"keypoints": {"nose": [20, 12]}, "box": None}, labels):
        support = read_support(picture, points(tmp_path, content))
        assert support.box == (0, 0, 80, 60)
        crop = square_crop((0, 0, 80, 60), 32)
        np.testing.assert_allclose(
            support.crop(32, 1.25)[0], crop.image(support.image).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6
        )  # fmt: skip


def test_a_coco_json_states_whether_its_picture_was_turned(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg", exif=turned)
    for (width, height), x in (((80, 60), 79), ((60, 80), 59)):
        coco = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [x, 3, 2, 5, 5, 2]}
            ],
            "categories": [{"id": 1, "keypoints": ["a", "b"], "skeleton": [[0, 1]]}],
        }
        support = read_support(tmp_path / "a.jpg", points(tmp_path, coco))
        assert support.image.shape == (height, width, 3)
        assert support.skeleton.edges == ((0, 1),)  # counted from 0, as some files do


def test_the_crop_is_the_datasets(picture: Path, tmp_path: Path) -> None:
    support = read_support(
        picture,
        points(tmp_path, {"keypoints": {"a": [20, 12], "b": [70, 50]}, "box": [10, 5, 40, 30]}),
    )
    image, places, visible = support.crop(32, 1.25)
    crop = square_crop((10, 5, 40, 30), 32)
    np.testing.assert_allclose(
        image, crop.image(support.image).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6
    )
    np.testing.assert_allclose(places, crop.points(support.points[:, :2]), atol=1e-5)
    assert visible.tolist() == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a json file"),
        ([[1, 2]], "holds a list"),
        ({"keypoints": {}}, "expected names"),
        ({"keypoints": [1, 2, 2]}, "expected names"),
        ({"nose": [1]}, r"'nose' is \[1\], expected \[x, y\]"),
        ({"nose": ["1", "2"]}, "expected"),
        ({"nose": [float("nan"), 2]}, "not finite"),
        ({"nose": [10**400, 2]}, "not finite"),
        ({"nose": [80, 2]}, "outside the picture of 80 x 60"),
        ({"keypoints": {"a": [1, 2]}, "box": [1, 2, 3]}, "x, y, width, height"),
        ({"keypoints": {"a": [1, 2]}, "box": [1, 2, 0, 3]}, "above 0"),
        ({"keypoints": {"a": [1, 2]}, "box": [90, 2, 5, 3]}, "outside the picture"),
        ({"keypoints": {"a": [1, 2]}, "edges": [["a", "b"]]}, "must be two of"),
        ({"images": [], "annotations": [], "categories": []}, "0 labelled instances"),
        ({"keypoints": {"a": [1, 2]}, "edges": [1]}, r"edge 1 must be two of \['a'\]"),
        ({"keypoints": {"a": [1, 2], "b": None}, "edges": ["ab"]}, "edge ab must be two of"),
        ({"keypoints": {"a": [1, 2]}, "edges": 5}, "edges is 5, expected a list"),
        ({"keypoints": {"a": [1, 2]}, "box": "1234"}, "box is 1234, expected x, y, width"),
        ({"keypoints": {"a": [1, 2]}, "box": [0, 0, 1e300, 3]}, "expected width and height"),
        ("[" * 100_000, "not a json file"),
    ],
)
def test_what_cannot_be_used_is_said(
    picture: Path, tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_support(picture, points(tmp_path, content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 5}, r"a\.json: images is int 5, expected a list"),
        ({"images": [{"file_name": "a.png"}]}, r"a\.json: image a\.png has id None"),
        ({"images": {"3": "a.png"}}, r"a\.json: images is an object"),
        ({"annotations": [5]}, r"a\.json: annotations\[0\] is int 5"),
        ({"categories": [{"id": 9, "keypoints": 5}]}, r"a\.json: categories\[0\]: keypoints is int 5"),
        ({"categories": [{"id": 9, "keypoints": ["a", "a"]}]}, r"a\.json: .* a name twice: \['a', 'a'\]"),
        ({"keypoints": [1, 2]}, r"a\.json: annotation 1: keypoints is \[1, 2\], expected x, y, v"),
        ({"keypoints": 5}, r"a\.json: annotation 1: keypoints is 5, expected x, y, v"),
        ({"keypoints": [["a", 1, 2]]}, r"a\.json: annotation 1: keypoints is \[\['a', 1, 2\]\]"),
        ({"keypoints": [10**400, 1, 2]}, r"a\.json: annotation 1: keypoints is \[1000"),
        ({"keypoints": [None, 1, 2] * 2}, r"a\.json: 'a' is \[nan, 1.0\]: not finite"),
        ({"keypoints": [1, 1, 2] * 3}, r"a\.json: 3 keypoints are labelled but 2 are named"),
    ],
)  # fmt: skip
def test_a_coco_json_that_cannot_be_used_is_named(
    picture: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    one = {"id": 1, "image_id": 3, "category_id": 9, "keypoints": [20, 12, 2, 30, 10, 1]}
    content: dict[str, Any] = {
        "images": [{"id": 3, "file_name": "a.png"}],
        "annotations": [one],
        "categories": [{"id": 9, "name": "x", "keypoints": ["a", "b"]}],
    }
    (one if "keypoints" in change else content).update(change)
    with pytest.raises(ValueError, match=message):
        read_support(picture, points(tmp_path, content))


def test_of_a_coco_json_only_what_is_labelled_in_the_picture_counts(
    picture: Path, tmp_path: Path
) -> None:
    content = {
        "images": [{"id": "3", "file_name": "a.png"}, {"file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "keypoints": [20, 12, 2], "bbox": []},
            {"id": 2, "image_id": 3, "category_id": 9, "keypoints": [-1, -1, 0]},
            {"id": 3, "image_id": 3, "category_id": 9},
            {"id": 4, "image_id": 7, "category_id": 9, "keypoints": "of another picture"},
        ],
        "categories": [{"id": 9, "name": "x", "keypoints": ["nose"]}],
    }
    support = read_support(picture, points(tmp_path, content))
    assert support.points.tolist() == [[20, 12, 2]] and support.box == (0, 0, 80, 60)


def test_absent_and_broken_files_are_named(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_support(picture, tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_support(tmp_path / "none.png", points(tmp_path, {"a": [1, 2]}))
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:100])
    with pytest.raises(OSError, match=r"cut\.png"):
        read_support(tmp_path / "cut.png", points(tmp_path, {"a": [1, 2]}))


def test_shots_are_brought_to_the_first_ones_order(picture: Path, tmp_path: Path) -> None:
    first = points(tmp_path, {"a": [1, 2], "b": None})
    second = points(tmp_path, {"b": [5, 6], "a": [3, 4]}, "b.json")
    one, two = read_supports([picture, picture], [first, second])
    assert two.points[:, :2].tolist() == [[3, 4], [5, 6]]
    assert two.skeleton is one.skeleton
    with pytest.raises(ValueError, match="no support shows 'b'"):
        read_supports([picture], [first])
    with pytest.raises(ValueError, match=r"differ in \['b', 'c'\]"):
        read_supports(
            [picture, picture], [first, points(tmp_path, {"a": [1, 2], "c": [1, 2]}, "c.json")]
        )
    with pytest.raises(ValueError, match="once for each --like"):
        read_supports([picture], [])
