from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from genloc.data.zoo import (
    SEED_PRIOR,
    SEED_ZOO,
    SPECIES,
    STYLES,
    draw_picture,
    picture_rng,
    write_zoo,
)
from genloc.data.zoo.animal import make_animal
from genloc.data.zoo.captions import closeup, whole_caption
from genloc.data.zoo.render import Camera, draw_capsules
from genloc.data.zoo.write import split_of

LEFT, RIGHT = [5, 6, 7, 11, 12, 13], [8, 9, 10, 14, 15, 16]
NOSE, NECK, TAIL = 2, 3, 4


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zoo")
    write_zoo(out, per_species=10, size=64, species=(1, 24, 54), workers=1)
    return out


def test_species_are_ap10ks(real_data: Path) -> None:
    with (real_data / "ap10k_lists" / "categories.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["species"], r["family"]) for r in rows] == list(SPECIES)
    assert [int(r["category_id"]) for r in rows] == list(range(1, 55))


def test_categories_have_ap10ks_keypoints(zoo: Path, real_data: Path) -> None:
    published = json.loads(
        (real_data / "mmpose_samples" / "ap10k" / "test_ap10k.json").read_text()
    )["categories"]
    ours = json.loads((zoo / "annotations" / "ap10k-test-split1.json").read_text())["categories"]
    for a, b in zip(sorted(published, key=lambda c: c["id"]), ours, strict=True):
        for key in ("id", "name", "supercategory", "keypoints", "skeleton"):
            assert a[key] == b[key], key


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path, zoo: Path) -> None:
    write_zoo(tmp_path / "again", per_species=10, size=64, species=(1, 24, 54), workers=2)
    assert _digest(tmp_path / "again") == _digest(zoo)
    write_zoo(tmp_path / "other", per_species=10, size=64, species=(1, 24, 54), workers=1, seed=1)
    assert _digest(tmp_path / "other") != _digest(zoo)


def test_splits_are_seven_one_two_and_disjoint(zoo: Path) -> None:
    seen: set[int] = set()
    for split, share in (("train", 7), ("val", 1), ("test", 2)):
        content = json.loads((zoo / "annotations" / f"ap10k-{split}-split1.json").read_text())
        ids = {image["id"] for image in content["images"]}
        assert len(ids) == share * 3
        assert not ids & seen
        seen |= ids
        for image in content["images"]:
            picture = cv2.imread(str(zoo / "data" / image["file_name"]))
            assert picture is not None and picture.shape == (64, 64, 3)
        for annotation in content["annotations"]:
            assert annotation["image_id"] in ids
            keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
            shown = keypoints[:, 2] > 0
            assert annotation["num_keypoints"] == shown.sum()
            assert (keypoints[~shown] == 0).all()
            assert (keypoints[shown, :2] >= -0.5).all() and (keypoints[shown, :2] < 63.5).all()
            x, y, w, h = annotation["bbox"]
            assert x >= 0 and y >= 0 and x + w <= 64 and y + h <= 64 and annotation["area"] == w * h


def test_one_split_alone_is_as_in_the_whole(tmp_path: Path) -> None:
    small: dict = {"per_species": 5, "size": 64, "species": (1, 8), "workers": 1}
    whole = write_zoo(tmp_path / "whole", **small)
    alone = write_zoo(tmp_path / "alone", splits=("test",), **small)
    assert list(alone) == ["test"]
    assert alone["test"].read_bytes() == whole["test"].read_bytes()
    drawn = sorted(path.name for path in (tmp_path / "alone" / "data").iterdir())
    assert drawn == [i["file_name"] for i in json.loads(whole["test"].read_text())["images"]]
    for name in drawn:
        assert (tmp_path / "alone" / "data" / name).read_bytes() == (
            tmp_path / "whole" / "data" / name
        ).read_bytes()


@pytest.mark.parametrize("per_species", [3, 10, 40, 186])
def test_split_of_covers_each_species(per_species: int) -> None:
    splits = [split_of(i, per_species) for i in range(per_species)]
    assert set(splits) == {"train", "val", "test"}
    assert abs(splits.count("train") - 0.7 * per_species) <= 1.1


@pytest.mark.parametrize(("yaw", "near", "nose_side"), [(90, LEFT, -1), (270, RIGHT, 1)])
def test_the_near_side_is_the_side_the_camera_stands_on(
    yaw: int, near: list[int], nose_side: int
) -> None:
    """From an animal's left one sees it face left, its left legs before its right ones."""
    camera = Camera.looking(yaw, 0, 0, 8)
    for seed in range(12):
        animal = make_animal(seed * 4 + 1, np.random.default_rng(seed), pose="standing")
        xy, depth, _ = camera.project(animal.joints)
        assert np.sign(xy[NOSE, 0] - xy[TAIL, 0]) == nose_side
        far = RIGHT if near == LEFT else LEFT
        assert (depth[near] > depth[far]).all()
        # Paws are the lowest of their legs and front legs are nearer the nose than hind legs.
        assert (xy[[7, 10, 13, 16], 1] > xy[[5, 8, 11, 14], 1]).all()
        assert (np.sign(xy[[5, 8], 0] - xy[[11, 14], 0]) == nose_side).all()


def test_from_the_front_the_left_is_on_the_right_of_the_picture() -> None:
    camera = Camera.looking(0, 0, 0, 8)
    animal = make_animal(8, np.random.default_rng(0), pose="standing")
    xy, _, _ = camera.project(animal.joints)
    assert (xy[[5, 11], 0] > xy[[8, 14], 0]).all()


def test_a_capsule_is_the_union_of_its_spheres() -> None:
    """The closed form of the renderer against brute force over 2,000 spheres."""
    from genloc.data.zoo.capsules import Capsules

    capsules = Capsules()
    capsules.add(np.array([0.1, -0.5, 0.2]), np.array([0.9, 0.6, 0.7]), 0.3, 0.3)
    camera = Camera.looking(20, 30, 0, 1e6)
    camera = type(camera)(camera.right, camera.up, camera.toward, 20.0, (32.0, 32.0), 1e6)
    drawn = draw_capsules(capsules, camera, 64)
    t = np.linspace(0, 1, 2000)[:, None]
    centres = capsules.a[0] * (1 - t) + capsules.b[0] * t
    xy, depth, factor = camera.project(centres)
    ys, xs = np.mgrid[0:64, 0:64]
    best = np.full((64, 64), -np.inf)
    for (x, y), z, f in zip(xy, depth, factor, strict=True):
        d2 = (0.3 * f) ** 2 - (xs - x) ** 2 - (ys - y) ** 2
        best = np.maximum(best, np.where(d2 > 0, z + np.sqrt(np.maximum(d2, 0)), -np.inf))
    both = np.isfinite(best) & np.isfinite(drawn.depth)
    assert both.sum() > 0.97 * np.isfinite(best).sum()
    best, drawn.depth = np.where(both, best, 0), np.where(both, drawn.depth, 0)
    assert np.abs(best - drawn.depth)[both].max() < 0.15


def test_visible_joints_lie_on_the_animal_and_hidden_ones_are_marked() -> None:
    visible = hidden = 0
    for index in range(60):
        picture = draw_picture(
            index % 54 + 1, picture_rng(SEED_ZOO, 3, index % 54 + 1, index), companions=0
        )
        for animal in picture.animals:
            x, y, w, h = animal.box
            shown = animal.keypoints[animal.keypoints[:, 2] > 0]
            inside = (
                (shown[:, 0] > x - 3)
                & (shown[:, 0] < x + w + 3)
                & (shown[:, 1] > y - 3)
                & (shown[:, 1] < y + h + 3)
            )
            assert inside.all()
            visible += int((animal.keypoints[:, 2] == 2).sum())
            hidden += int((animal.keypoints[:, 2] == 1).sum())
    assert 0.15 < hidden / (visible + hidden) < 0.6


@pytest.mark.parametrize("style", STYLES)
def test_styles_are_drawn(style: str) -> None:
    picture = draw_picture(22, picture_rng(SEED_ZOO, 0, 22, 0), style=style, size=128)
    assert picture.image.shape == (128, 128, 3) and picture.image.dtype == np.uint8
    assert picture.image.std() > 4
    assert picture.style == style


def test_generators_of_the_prior_and_of_a_zoo_differ() -> None:
    a = picture_rng(SEED_ZOO, 0, 1, 0).random(4)
    b = picture_rng(SEED_PRIOR, 0, 1, 0).random(4)
    assert not np.allclose(a, b)


def test_captions_say_what_is_drawn() -> None:
    for index in range(40):
        rng = picture_rng(SEED_PRIOR, 1, 24, index)
        picture = draw_picture(24, rng)
        for animal in picture.animals:
            assert animal.facts["species"] in whole_caption(picture, animal, rng)
            close = closeup(animal, rng)
            assert close is not None
            _, (x, y, side) = close
            gap = np.abs(animal.keypoints[animal.keypoints[:, 2] > 0][:, :2] - (x, y)).max(1).min()
            assert gap < 0.1 * side  # a labelled part stands in the middle


@pytest.mark.parametrize(
    "wrong",
    [
        {"style": "oil"},
        {"per_species": 2},
        {"species": (0,)},
        {"species": (55,)},
        {"seed": -1},
        {"splits": ("dev",)},
        {"splits": ()},
        {"size": 31},
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_zoo(tmp_path, **{"per_species": 3, "size": 32, "workers": 1, **wrong})
    assert not list(tmp_path.iterdir())


def test_painted_parts_are_named_and_have_their_colour() -> None:
    """The pixels about a painted, visible part differ from the same picture without paint."""
    named = 0
    for index in range(25):
        plain = draw_picture(22, picture_rng(SEED_PRIOR, 2, 22, index), companions=0)
        picture = draw_picture(22, picture_rng(SEED_PRIOR, 2, 22, index), companions=0, painted=2)
        for animal in picture.animals:
            text = whole_caption(picture, animal, np.random.default_rng(0))
            for part, paint in animal.painted:
                assert animal.keypoints[part, 2] == 2
                assert paint in text
                named += 1
        assert all(not animal.painted for animal in plain.animals)
    assert named > 15
