"""Each mistake that is put into a clean file is found, and nothing is found in a clean one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genloc.cli import main
from genloc.labels.check import check_labels, keypoint_counts
from genloc.skeleton import COCO
from tests.make_coco import write_coco

Change = Callable[[dict[str, Any]], object]


def people(content: dict[str, Any]) -> None:
    """Poses of one shape, turned and scaled, instead of random points: left and right mean something."""
    rng = np.random.default_rng(1)
    left = [(1, -1), (2, 0), (4, 4), (5, 8), (5, 12), (3, 12), (3, 17), (3, 22)]
    shape = np.array([(0, 0), *(p for x, y in left for p in ((x, y), (-x, y)))], float)
    for annotation in content["annotations"]:
        angle, zoom = rng.uniform(-0.5, 0.5), rng.uniform(3, 5)
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        xy = shape @ turn.T + rng.normal(0, 0.15 * zoom, shape.shape)
        xy = xy - xy.min(axis=0) + rng.uniform(20, 60, 2)
        rows = np.column_stack([xy.round(2), np.full(17, 2)])
        annotation["keypoints"] = rows.ravel().tolist()
        annotation["num_keypoints"] = 17
        low, high = xy.min(axis=0) - 2, xy.max(axis=0) + 2
        annotation["bbox"] = [*low.tolist(), *(high - low).tolist()]
        annotation["area"] = float(np.prod(high - low))


def write(folder: Path, change: Change | None = None, images: int = 30) -> Path:
    def both(content: dict[str, Any]) -> None:
        people(content)
        if change is not None:
            change(content)

    return write_coco(
        folder, skeleton=COCO, images=images, size=(280, 260), species=(1,), change=both
    )


def found(path: Path, **options: Any) -> tuple[dict[str, list], dict[str, list]]:
    report = check_labels(path, **options)
    return (
        {f.what: f.ids for f in report.findings.errors},
        {f.what: f.ids for f in report.findings.oddities},
    )


def test_nothing_is_found_in_a_clean_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert found(path) == ({}, {})
    assert found(path, decode=True) == ({}, {})
    report = check_labels(path)
    (group,) = report.records.groups
    assert keypoint_counts(group) == [(name, 30, 0) for name in COCO.keypoints]
    assert report.folder == tmp_path / "images"


def annotation(n: int, **values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][n].update(values)

    return change


def keypoint(n: int, k: int, *values: float | None) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][n]["keypoints"][3 * k : 3 * k + 3] = values

    return change


def image(n: int, **values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["images"][n].update(values)

    return change


ERRORS: list[tuple[Change, str, list]] = [
    (annotation(4, id=101), "share their id", [101, 101]),
    (annotation(4, image_id=99), "image_id is not among images", [105]),
    (annotation(4, bbox=[3, 3, 0, 9]), "no area: left out", [105]),
    (annotation(4, bbox=[3, 3, 9]), "no area: left out", [105]),
    (annotation(4, bbox=[3, "a", 9, 9]), "no area: left out", [105]),
    (annotation(4, bbox=[600, 5, 30, 30]), "box lies outside its image", [105]),
    (annotation(4, keypoints=["a"] * 51), "not numbers", [105]),
    (annotation(4, keypoints=[1, 2]), "not triples", [105]),
    (annotation(4, keypoints=[1, 2, 2] * 16), "another number of keypoints", [105]),
    (keypoint(4, 2, None, 3, 2), "no finite x, y", [105]),
    (keypoint(4, 2, 3, float("nan"), 1), "no finite x, y", [105]),
    (keypoint(4, 2, 3, 3, 0.5), "v is not 0, 1 or 2", [105]),
    (lambda c: c["annotations"].append(7), "not an object of values", [31]),
    (image(4, id=1), "its id is used before", [1]),
    (image(4, id="5"), "not an object with a whole id", [5]),
    (image(4, file_name="none.png"), "is not there", [5]),
    (image(4, width=99), "another size than stated", [5]),
    (lambda c: c["categories"].append(c["categories"][0]), "its id is used before", [1]),
    (lambda c: c["categories"].append({"id": 2, "name": "b", "keypoints": ["a"]}), "differ", [1, 2]),
    (lambda c: c["categories"][0]["keypoints"].__setitem__(1, "nose"), "names a keypoint twice", [1]),
    (lambda c: c.update(categories={}), "categories is not a list", ["-"]),
    (lambda c: c.update(annotations={}), "annotations is dict", ["-"]),
    (lambda c: c.update(images=3), "images is int", ["-"]),
]  # fmt: skip

ODDITIES: list[tuple[Change, str, list]] = [
    (annotation(4, num_keypoints=3), "num_keypoints differs", [105]),
    (annotation(4, category_id=9), "category_id is not among", [105]),
    (annotation(4, bbox=None), "without a box", [105]),
    (annotation(4, image_id="5"), "its image_id is text", [105]),
    (annotation(4, category_id="1"), "its category_id is text", [105]),
    (annotation(4, id="105"), "its id is text", [105]),
    (annotation(4, image_id=5.0, category_id=1.0, id=105.0, area=None), "without an area", [105]),
    (annotation(4, area=None), "without an area", [105]),
    (annotation(4, area=0), "area is not above 0", [105]),
    (annotation(4, area=1e6), "larger than its box", [105]),
    (annotation(4, bbox=[-30, 5, 300, 250]), "box reaches beyond", [105]),
    (annotation(4, bbox=[60, 60, 9, 9]), "box is tiny", [105]),
    (annotation(4, keypoints=[0] * 51, num_keypoints=0), "no labelled keypoint", [105]),
    (keypoint(4, 2, 300, 20, 2), "outside its image", [105]),
    (keypoint(4, 2, 1, 250, 2), "outside its box", [105]),
    (keypoint(4, 2, 0, 0, 2), "v > 0 at x = y = 0", [105]),
    (keypoint(4, 2, 50, 60, 0), "v = 0 beside x, y", [105]),
    (lambda c: c["annotations"][4].pop("id"), "without a whole id", [5]),
    (lambda c: c["annotations"].append({**c["annotations"][4], "id": 7}), "labelled twice", [7]),
    (lambda c: c["annotations"].pop(), "without annotations", [30]),
    (image(4, file_name="0001.png"), "listed before under another id", [5]),
    (lambda c: c["images"][4].pop("width"), "width and height are not stated", [5]),
    (lambda c: c["categories"][0].update(keypoints=[]), "names no keypoints", [1]),
    (lambda c: c["categories"][0].update(skeleton=[[1, 99]]), "not there", [1]),
    (lambda c: c["categories"][0].update(skeleton=[[0, 1]]), "counts keypoints from 0", [1]),
    (lambda c: c["categories"][0].update(name=""), "without a name", [1]),
    (lambda c: [a["keypoints"].__setitem__(2, 0) for a in c["annotations"]], "nobody labels", ["nose"]),
    (lambda c: [a["keypoints"].__setitem__(slice(2, 51, 3), [1] * 17) for a in c["annotations"]],
     "hidden) for every", ["-"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "what", "ids"), ERRORS)
def test_what_is_wrong_is_an_error(tmp_path: Path, change: Change, what: str, ids: list) -> None:
    path = write(tmp_path, change)
    errors, _ = found(path)
    (name,) = [name for name in errors if what in name]
    assert errors[name] == ids
    assert main(["check", str(path), "--no-sheet"]) == 1


@pytest.mark.parametrize(("change", "what", "ids"), ODDITIES)
def test_what_is_odd_is_no_error(tmp_path: Path, change: Change, what: str, ids: list) -> None:
    path = write(tmp_path, change)
    errors, odd = found(path)
    assert not errors
    (name,) = [name for name in odd if what in name]
    assert odd[name] == ids
    assert main(["check", str(path), "--no-sheet"]) == 0


def test_ids_that_are_text_are_read_as_training_reads_them(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for row in (*content["images"], *content["annotations"]):
            for key in {"id", "image_id"} & set(row):
                row[key] = str(row[key])

    path = write(tmp_path, change)
    errors, odd = found(path)
    assert not [what for what in errors if "not among images" in what]
    assert len(odd["its image_id is text: read as the number it says"]) == 30
    assert "without annotations" not in odd
    (group,) = check_labels(path).records.groups
    assert len(group.ids) == 30 and group.image_ids.tolist() == list(range(1, 31))
    errors, _ = found(write(tmp_path / "b", annotation(4, image_id=[1])))
    assert errors["image_id is not among images"] == [105]


def test_two_keypoints_in_one_place_and_all_of_them(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        first, second = content["annotations"][:2]
        first["keypoints"][3:6] = first["keypoints"][0:3]
        second["keypoints"] = [60, 70, 2] * 17

    _, odd = found(write(tmp_path, change))
    assert odd["two keypoints in one place"] == [101]
    assert odd["all keypoints in one place"] == [102]


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "no bytes"), (b"<html>", "cannot be read"), (b"\x89PNG\r\n", "cannot be read")],
)
def test_pictures_that_cannot_be_read(tmp_path: Path, content: bytes, what: str) -> None:
    path = write(tmp_path)
    (tmp_path / "images" / "0003.png").write_bytes(content)
    errors, _ = found(path)
    (name,) = errors
    assert what in name
    assert errors[name] == [3]


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_picture_cut_off_near_its_end_is_found_without_decoding_all(
    tmp_path: Path, kind: str
) -> None:
    path = write(tmp_path, image(2, file_name=f"cut.{kind}"))
    cut = tmp_path / "images" / f"cut.{kind}"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (260, 280, 3), dtype=np.uint8)).save(cut)
    assert found(path) == ({}, {})
    cut.write_bytes(cut.read_bytes()[:-40])
    errors, _ = found(path)
    assert errors == {"its picture cannot be read: truncated, damaged or not a picture": [3]}


def swap(*animals: int, pairs: tuple[tuple[int, int], ...] = COCO.flip_pairs) -> Change:
    def change(content: dict[str, Any]) -> None:
        for n in animals:
            rows = np.reshape(content["annotations"][n]["keypoints"], (17, 3))
            for a, b in pairs:
                rows[[a, b]] = rows[[b, a]]
            content["annotations"][n]["keypoints"] = rows.ravel().tolist()

    return change


@pytest.mark.parametrize("pairs", [COCO.flip_pairs, ((5, 6),), ((9, 10),), ((15, 16),)])
def test_left_and_right_exchanged_are_suspected(
    tmp_path: Path, pairs: tuple[tuple[int, int], ...]
) -> None:
    _, odd = found(write(tmp_path, swap(6, 17, pairs=pairs)))
    assert odd["left and right look exchanged"] == [107, 118]


def test_pairs_can_be_given_where_names_do_not_say(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        swap(6)(content)
        content["categories"][0]["keypoints"] = [f"k{i}" for i in range(17)]

    path = write(tmp_path, change)
    assert "left and right look exchanged" not in found(path)[1]
    pairs = tuple((f"k{a}", f"k{b}") for a, b in COCO.flip_pairs)
    assert found(path, pairs=pairs)[1]["left and right look exchanged"] == [107]
    with pytest.raises(ValueError, match="no keypoints"):
        check_labels(path, pairs=(("left", "right"),))


def test_a_pose_like_no_other_is_pointed_at(tmp_path: Path) -> None:
    _, odd = found(write(tmp_path, keypoint(8, 16, 5, 5, 2)))
    assert 109 in odd["a pose like no other in the file"]


def test_everything_is_said_at_once_with_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [change for change, what, _ in (*ERRORS[:16], *ODDITIES[:13]) if "images" not in what]

    def change(content: dict[str, Any]) -> None:
        for n, one in enumerate(changes):
            try:
                one(content)
            except (AttributeError, IndexError, KeyError, TypeError):
                pytest.fail(f"change {n} does not go with those before it")

    path = write(tmp_path, change)
    (tmp_path / "images" / "0009.png").write_bytes(b"")
    sheet = tmp_path / "sheet.png"
    assert main(["check", str(path), "--sheet", str(sheet)]) == 1
    said = capsys.readouterr().out
    assert "wrong: " in said
    assert "odd: " in said
    assert str(sheet) in said
    with Image.open(sheet) as picture:
        assert picture.width > 500


def test_ten_thousand_annotations_take_seconds(tmp_path: Path) -> None:
    def many(content: dict[str, Any]) -> None:
        first = content["annotations"]
        rng = np.random.default_rng(0)
        content["annotations"] = []
        for n in range(10_000):
            one = dict(first[n % len(first)], id=n + 1)
            rows = np.reshape(one["keypoints"], (17, 3)) + np.array([*rng.normal(0, 1, 2), 0])
            content["annotations"].append({**one, "keypoints": rows.ravel().tolist()})

    path = write(tmp_path, many)
    began = time.process_time()
    check_labels(path)
    assert time.process_time() - began < 10


def test_the_report_is_json_that_pycocotools_would_read_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([1, 2]))
    assert main(["check", str(tmp_path / "a.json")]) == 2
    assert main(["check", str(tmp_path / "none.json")]) == 2
    path = write(tmp_path)
    assert main(["check", str(path), "--images", str(tmp_path / "none")]) == 2
