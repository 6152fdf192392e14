"""The zoo's other body plans, and that the quadrupeds stayed what they were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from genloc.data.categories import CategorySets, slots
from genloc.data.zoo import SPECIES, write_zoo
from genloc.data.zoo.bodies import CATEGORIES, PLANS, Category
from genloc.data.zoo.mp100 import SPLITS, categories_of, write_categories
from genloc.data.zoo.picture import draw_scene
from genloc.data.zoo.render import Camera
from genloc.skeleton import mirror_pairs

NAMES = [category.name for category in CATEGORIES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("categories")
    write_categories(out, per_category=5, size=48, workers=1)
    return out


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def test_the_quadrupeds_are_drawn_as_ever(tmp_path: Path) -> None:
    """The committed splits stand on these labels. (Labels and not JPEG bytes, which depend on OpenCV's
    version.)"""
    write_zoo(tmp_path, per_species=3, size=64, species=(1, 24, 54), workers=1, style="mixed")
    labels = [
        (a["id"], a["bbox"], a["keypoints"])
        for split in ("train", "val", "test")
        for a in json.loads((tmp_path / "annotations" / f"ap10k-{split}-split1.json").read_text())[
            "annotations"
        ]
    ]
    assert hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:16] == "5669fb96c6514b81"


def test_five_plans_of_five_categories() -> None:
    assert len(PLANS) == 5 and len(CATEGORIES) == 25
    assert all(sum(c.plan == plan for c in CATEGORIES) == 5 for plan in PLANS)
    assert len({c.id for c in CATEGORIES}) == 25 == len(set(NAMES))
    assert min(c.id for c in CATEGORIES) > len(SPECIES)
    for category in CATEGORIES:
        assert len(set(category.keypoints)) == len(category.keypoints) <= 17
        assert {k for edge in category.edges for k in edge} <= set(
            range(1, len(category.keypoints) + 1)
        )
        # Whatever is left has a right.
        lefts = [name for name in category.keypoints if name.startswith("left")]
        assert len(mirror_pairs(category.keypoints)) == len(lefts)


@pytest.mark.parametrize("category", CATEGORIES, ids=NAMES)
def test_left_is_left(category: Category) -> None:
    """In the world's frame y points to the left of a body that looks along x."""
    pairs = mirror_pairs(category.keypoints)
    assert pairs
    gap = np.zeros(len(pairs))
    for seed in range(8):
        body = category.make(np.random.default_rng(seed))
        assert body.joints.shape == (len(category.keypoints), 3)
        assert body.joint_radius.shape == (len(category.keypoints),)
        assert np.isfinite(body.joints).all() and body.capsules.lowest() > -1e-9
        gap += [body.joints[a, 1] - body.joints[b, 1] for a, b in pairs]
    assert (gap > 0).all()


@pytest.mark.parametrize(
    ("name", "front", "back"),
    [
        ("sparrow", "beak_tip", "tail_tip"), ("trout", "mouth", "tail_root"), ("ant", "head", "abdomen_tip"),
        ("butterfly", "head", "abdomen_tip"), ("chair", "left_front_seat", "left_back_seat"),
        ("bed", "left_front_mattress", "pillow"), ("dog", "nose", "root_of_tail"),
    ],
)  # fmt: skip
def test_the_front_is_in_front(name: str, front: str, back: str) -> None:
    category = CATEGORIES[NAMES.index(name)]
    a, b = (category.keypoints.index(which) for which in (front, back))
    for seed in range(6):
        joints = category.make(np.random.default_rng(seed)).joints
        assert joints[a, 0] > joints[b, 0]


@pytest.mark.parametrize("category", CATEGORIES, ids=NAMES)
def test_joints_lie_on_the_body(category: Category) -> None:
    """Every joint is within its own radius of some capsule's surface or inside one."""
    body = category.make(np.random.default_rng(3))
    a, b = np.asarray(body.capsules.a), np.asarray(body.capsules.b)
    ra, rb = np.asarray(body.capsules.ra), np.asarray(body.capsules.rb)
    along = b - a
    for joint, radius in zip(body.joints, body.joint_radius, strict=True):
        t = ((joint - a) * along).sum(1) / np.maximum((along**2).sum(1), 1e-12)
        t = np.clip(t, 0, 1)
        outside = np.linalg.norm(joint - a - t[:, None] * along, axis=1) - (ra + t * (rb - ra))
        assert outside.min() < radius + 0.03, category.keypoints


def test_from_its_left_one_sees_the_left() -> None:
    camera = Camera.looking(90, 0, 0, 8)
    for name, left, right in (
        ("shark", "left_eye", "right_eye"),
        ("sofa", "left_arm_front", "right_arm_front"),
    ):
        category = CATEGORIES[NAMES.index(name)]
        body = category.make(np.random.default_rng(0))
        xy, depth, _ = camera.project(body.joints)
        a, b = category.keypoints.index(left), category.keypoints.index(right)
        assert depth[a] > depth[b]
        front = category.keypoints.index("mouth" if name == "shark" else "left_front_seat")
        back = category.keypoints.index("tail_root" if name == "shark" else "left_back_seat")
        assert xy[front, 0] < xy[back, 0]  # it looks to the picture's left


def test_some_are_seen_and_some_are_hidden() -> None:
    for plan in PLANS:
        seen = hidden = 0
        for category in (c for c in CATEGORIES if c.plan == plan):
            for seed in range(3):
                rng = np.random.default_rng([category.id, seed])
                ground = str(rng.choice(category.stage.grounds))
                picture = draw_scene(
                    [category.make], rng, category.stage, ground, size=96, style="photo"
                )
                for animal in picture.animals:
                    seen += int((animal.keypoints[:, 2] == 2).sum())
                    hidden += int((animal.keypoints[:, 2] == 1).sum())
        assert 0.1 < hidden / (seen + hidden) < 0.6, plan


def test_the_layout_is_mp100s(folder: Path) -> None:
    unseen_in_all: list[int] = []
    for split in range(1, SPLITS + 1):
        parts = {
            part: CategorySets(
                folder / "annotations" / f"mp100_split{split}_{part}.json",
                folder / "images",
                skeleton=slots("slots:17"),
            )
            for part in ("train", "val", "test")
        }
        seen, unseen = ({c.id for c in group} for group in categories_of(split))
        assert len(seen) == 20 and len(unseen) == 5
        assert set(parts["train"].by_category) == seen == set(parts["val"].by_category)
        assert set(parts["test"].by_category) == unseen
        ids = [i.image_id for part in ("train", "val") for i in parts[part].instances]
        assert len(ids) == len(set(ids)) == 100
        unseen_in_all += parts["test"].by_category
        assert {parts["test"]._categories[c]["supercategory"] for c in unseen} == set(PLANS)
    assert sorted(unseen_in_all) == [c.id for c in CATEGORIES]
    for plan in PLANS:
        own = {c.id for c in CATEGORIES if c.plan == plan}
        for part, expected in (("test", own), ("train", {c.id for c in CATEGORIES} - own)):
            path = folder / "cross_category_annotations" / f"fewshot_{part}_{plan}.json"
            assert {c["id"] for c in json.loads(path.read_text())["categories"]} == expected


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_workers(folder: Path, tmp_path: Path) -> None:
    write_categories(tmp_path, per_category=5, size=48, workers=2)
    assert digest(tmp_path) == digest(folder)


@pytest.mark.parametrize(
    "wrong", [{"style": "oil"}, {"per_category": 4}, {"seed": -1}, {"size": 31}]
)
def test_wrong_arguments_are_named(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_categories(tmp_path, **{"per_category": 5, "size": 32, "workers": 1, **wrong})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="split is 6"):
        categories_of(6)


@pytest.mark.parametrize(
    "name",
    ["annotations/mp100_split5_val.json", "cross_category_annotations/fewshot_test_bird.json"],
)
def test_labels_of_others_are_seen_before_anything_is_drawn(
    folder: Path, tmp_path: Path, name: str
) -> None:
    assert (folder / name).is_file(), "a file that the zoo writes"
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("{}")
    with pytest.raises(FileExistsError, match="holds other labels than the zoo's"):
        write_categories(tmp_path, per_category=5, size=48, workers=1)
    assert not (tmp_path / "images").exists()
