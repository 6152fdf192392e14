"""Whatever a json or a picture holds, a reader reads it or says in a sentence of ours why not."""

from __future__ import annotations

import contextlib
import io
import json
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

import genloc
from genloc.data.batch import KeypointDataset
from genloc.data.coco import CocoKeypoints
from genloc.data.image import read_image
from genloc.data.support import read_support
from genloc.labels.check import check_labels
from genloc.skeleton import AP10K, load_skeleton
from tests.make_coco import write_coco

PACKAGE = Path(genloc.__file__).parent
numbers = st.one_of(
    st.integers(-3, 60),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(min_value=10**20, max_value=10**400),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def clean(folder: Path) -> dict[str, Any]:
    path = write_coco(folder, images=3)
    return json.loads(path.read_text())


@st.composite
def places(draw: st.DrawFn) -> tuple[list[Any], Any]:
    """A way into the json, and what is put there."""
    part = draw(st.sampled_from(["images", "annotations", "categories"]))
    way: list[Any] = [part]
    if draw(st.integers(0, 9)):
        way.append(draw(st.integers(0, 2)))
        fields = {
            "images": ["id", "file_name", "width", "height"],
            "annotations": [
                *("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
                *("num_keypoints", "keypoints", "keypoints"),
            ],
            "categories": ["id", "name", "supercategory", "keypoints", "skeleton"],
        }[part]
        if draw(st.integers(0, 9)):
            way.append(draw(st.sampled_from(fields)))
            if way[-1] in ("bbox", "keypoints", "skeleton") and draw(st.booleans()):
                way.append(draw(st.integers(0, 3)))
    return way, draw(junk)


def put(content: dict[str, Any], way: list[Any], value: Any) -> None:
    node: Any = content
    try:
        for step in way[:-1]:
            node = node[step]
        node[way[-1]] = value
    except (KeyError, IndexError, TypeError):
        pass  # an earlier change has taken the place away


@contextlib.contextmanager
def read_or_refused(naming: str = "") -> Iterator[None]:
    """Lets through our own errors, which name `naming`; any other fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            if not said_by_us(error) or naming not in str(error):
                raise


def said_by_us(error: BaseException) -> bool:
    """A ValueError or OSError raised in a line of this package, with words."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return isinstance(error, (ValueError, OSError)) and Path(last.filename).is_relative_to(PACKAGE)


@given(changes=st.lists(places(), min_size=1, max_size=3))
@example(changes=[(["annotations", 0, "id"], 10**20)])
@example(changes=[(["images", 1, "width"], 10**400)])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_is_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[list[Any], Any]]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = clean(folder)
    for way, value in changes:
        put(content, way, value)
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    for skeleton in (lambda: AP10K, lambda: load_skeleton(path)):
        with read_or_refused():
            source = CocoKeypoints(path, folder / "images", skeleton=skeleton())
            source.summary()
            json.dumps(source.ground_truth())
            if source.instances:
                KeypointDataset(source, crop_size=16)[0]
    with read_or_refused():
        check_labels(path, folder / "images")


def own_points() -> dict[str, Any]:
    places = {"left_eye": [20, 12.5, 2], "right_eye": [30, 10], "tail": None}
    return {"keypoints": places, "box": [10, 5, 20, 20], "edges": [["left_eye", "tail"]]}


@st.composite
def own_places(draw: st.DrawFn) -> tuple[list[Any], Any]:
    """As `places`, in the form of one picture's points."""
    part = draw(st.sampled_from(["keypoints", "box", "edges"]))
    way: list[Any] = [part]
    if draw(st.booleans()):
        way.append(draw(st.sampled_from(["left_eye", "tail"] if part == "keypoints" else [0, 1])))
        if draw(st.booleans()):
            way.append(draw(st.sampled_from([0, 1])))
    return way, draw(junk)


@given(own=st.lists(own_places(), max_size=2), coco=st.lists(places(), max_size=3), other=junk)
@example(own=[(["edges"], [1])], coco=[(["images", 0], {"file_name": "0001.png"})], other=5)
@example(own=[(["edges"], 5)], coco=[(["images"], 5)], other=[])
@example(own=[], coco=[(["annotations", 0, "keypoints"], [1, 2])], other={})
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_as_an_example_is_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    own: list[tuple[list[Any], Any]],
    coco: list[tuple[list[Any], Any]],
    other: Any,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    contents = [own_points(), clean(folder)]
    for content, changes in zip(contents, (own, coco), strict=True):
        for way, value in changes:
            put(content, way, value)
    for content in (*contents, other):
        (folder / "points.json").write_text(json.dumps(content))
        with read_or_refused("points.json"):
            image, places, visible = read_support(
                folder / "images" / "0001.png", folder / "points.json"
            ).crop(16, 1.25)
            assert image.shape == (3, 16, 16) and len(places) == len(visible)


@given(text=st.one_of(st.binary(max_size=60), junk.map(lambda j: json.dumps(j).encode())))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_as_a_skeleton_are_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("a.json", "a.yaml"):
        (folder / name).write_bytes(text)
        with pytest.raises((ValueError, OSError)) as caught:
            load_skeleton(folder / name)
        assert said_by_us(caught.value), repr(caught.value)
        assert name in str(caught.value)


yaml_fields = st.dictionaries(
    st.sampled_from(["name", "keypoints", "edges", "flip_pairs", "sigmas", "upper_body"]),
    st.one_of(junk, st.just(["a", "b"])),
    max_size=5,
)


@given(fields=yaml_fields)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_yaml_skeleton_is_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    import yaml

    path = tmp_path_factory.mktemp("fuzz") / "a.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    with read_or_refused():
        load_skeleton(path)


def encoded(kind: str, **options: Any) -> bytes:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8))
    if kind == "GIF":
        picture = picture.convert("P")
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


FILES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")}


@given(
    kind=st.sampled_from(sorted(FILES)),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_damage_to_a_picture_is_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    cut: float,
    flips: list[tuple[int, int]],
) -> None:
    data = bytearray(FILES[kind][: round(cut * len(FILES[kind]))])
    for place, value in flips:
        if data:
            data[place % len(data)] = value
    path = tmp_path_factory.mktemp("fuzz") / "a.jpg"
    path.write_bytes(bytes(data))
    with read_or_refused("a.jpg"):
        rgb = read_image(path)
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3


def bomb(width: int, height: int) -> bytes:
    """A PNG whose head promises that many pixels."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_that_promises_too_much_is_refused_before_memory_is_taken(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    with pytest.raises(OSError, match=r"cannot read image .*bomb\.png"):
        read_image(tmp_path / "bomb.png")


def test_a_jpeg_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    data = bytearray(FILES["JPEG"])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"  # 65535 x 65535
    (tmp_path / "bomb.jpg").write_bytes(bytes(data))
    with pytest.raises(OSError, match=r"cannot read image .*bomb\.jpg"):
        read_image(tmp_path / "bomb.jpg")


@pytest.mark.parametrize("mode", ["I;16", "P", "L", "LA", "RGBA", "CMYK", "1"])
def test_every_kind_of_picture_becomes_a_crop(tmp_path: Path, mode: str) -> None:
    """From the file to the batch: 16-bit, palette, grey, transparent, four inks, black and white."""
    kind = "tif" if mode == "CMYK" else "png"

    def rename(content: dict[str, Any]) -> None:
        content["images"][0]["file_name"] = f"other.{kind}"

    path = write_coco(tmp_path, images=1, change=rename)
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (36, 48), dtype=np.uint8)
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "images" / f"other.{kind}")
    else:
        Image.fromarray(grey).convert(mode).save(tmp_path / "images" / f"other.{kind}")
    source = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K)
    crop = KeypointDataset(source, crop_size=32)[0]["image"]
    assert crop.shape == (3, 32, 32)
    assert crop.isfinite().all() and crop.std() > 0.05
