"""The four questions: each agrees with the predictor, and what cannot be asked is said in a line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pycocotools.coco import COCO

from genloc.adapter import load_adapter
from genloc.app.answer import NAMED, coco, drawn, maps, pointed_at, rows, thumbnail, write_coco
from genloc.app.example import Example
from genloc.app.picture import ON_PAGE, PagePicture, zoo_pictures
from genloc.app.tasks import DRAW, QUICKSTART, TRAIN, Tasks, listed, newest_adapter
from genloc.card import prior_has_seen
from genloc.predictor import KeypointPredictor
from genloc.skeleton import AP10K, Skeleton
from tests.make_adapter import write_adapter, write_text_adapter, write_visual_adapter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    write_adapter(folder / "learned")
    write_text_adapter(folder / "words")
    write_visual_adapter(folder / "visual")
    return folder


@pytest.fixture(scope="module")
def learned(folder: Path) -> Tasks:
    return Tasks.of_adapter(folder / "learned" / "adapter", device="cpu")


@pytest.fixture(scope="module")
def words(folder: Path) -> Tasks:
    return Tasks.of_adapter(folder / "words" / "adapter", device="cpu")


@pytest.fixture(scope="module")
def visual(folder: Path) -> Tasks:
    return Tasks.of_adapter(folder / "visual" / "adapter", device="cpu")


@pytest.fixture(scope="module")
def untrained() -> Tasks:
    return Tasks.untrained(device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[PagePicture]:
    return zoo_pictures()


def test_what_the_prior_has_seen_is_said(untrained: Tasks) -> None:
    assert f"This prior has seen {prior_has_seen('tiny')}." in untrained.note


def example_of(one: PagePicture, count: int = 3) -> Example:
    assert one.box is not None
    x, y, w, h = one.box
    example = Example(one)
    for i in range(count):
        part = (i + 1) / (count + 1)
        example = example.with_point(f"p{i}", (x + w * part, y + h * part))
    return example


def test_keypoints_are_the_predictors(
    learned: Tasks, folder: Path, pictures: list[PagePicture]
) -> None:
    found = learned.keypoints(pictures[0])
    predictor = KeypointPredictor.from_pretrained(folder / "learned" / "adapter", device="cpu")
    again = predictor(pictures[0].rgb, pictures[0].box)
    np.testing.assert_array_equal(found.xy, again.xy)
    assert found.heatmaps is not None and found.names == AP10K.keypoints


def test_words_are_the_predictors(words: Tasks, folder: Path, pictures: list[PagePicture]) -> None:
    found = words.words(pictures[0], "\n the  left paw \n\nnose")
    predictor = KeypointPredictor.from_pretrained(
        folder / "words" / "adapter", phrases=["the left paw", "nose"], device="cpu"
    )
    np.testing.assert_array_equal(found.xy, predictor(pictures[0].rgb, pictures[0].box).xy)
    assert found.names == ("the left paw", "nose")
    assert words.keypoints(pictures[0]).names == AP10K.keypoints


@pytest.mark.filterwarnings("ignore:never read")
def test_words_that_the_prior_has_never_read_are_said(
    words: Tasks, learned: Tasks, pictures: list[PagePicture]
) -> None:
    """Its answer looks like any other."""
    phrases = "the nose of froblication\nthe tail of a gizmo"
    assert words.words(pictures[0], phrases).names == tuple(phrases.splitlines())
    assert words.unread(phrases).startswith("The prior has never read froblication, gizmo: ")
    assert words.unread("the nose\n") == ""
    assert words.unread(" \n") == "" == learned.unread("froblication")  # nothing is asked by words


def test_an_example_is_the_predictors(
    visual: Tasks, folder: Path, pictures: list[PagePicture]
) -> None:
    example = example_of(pictures[0])
    found = visual.example(example, pictures[1:3])
    predictor = KeypointPredictor.from_pretrained(
        folder / "visual" / "adapter", like=[example.support()], device="cpu"
    )
    for one, got in zip(pictures[1:3], found, strict=True):
        assert len(got) == 1 and got.names == ("p0", "p1", "p2")
        np.testing.assert_allclose(got.xy, predictor(one.rgb, one.box).xy, atol=1e-3)


@pytest.mark.parametrize("name", ["learned", "words"])
def test_an_adapter_not_trained_with_examples_compares(
    name: str, request: pytest.FixtureRequest, pictures: list[PagePicture]
) -> None:
    """On the example's own picture each point's map peaks where it was clicked, untrained as it is."""
    tasks: Tasks = request.getfixturevalue(name)
    model: Any = tasks.predictor.model
    assert model.context == {"learned": "conditions", "words": "null"}[name]
    assert TRAIN["example"] in tasks.unsure["example"]
    example = example_of(pictures[1], 4)
    before = tasks.keypoints(pictures[1]).xy
    found, other = tasks.example(example, [pictures[1], pictures[2]])
    clicked = np.array([at for _, at in example.points])
    cell = max(pictures[1].where[2:]) * tasks.predictor.padding / found.heatmaps.shape[-1]  # type: ignore[union-attr]
    assert np.median(np.linalg.norm(found.xy[0] - clicked, axis=1)) < 2 * cell
    assert other.names == example.names
    np.testing.assert_array_equal(tasks.keypoints(pictures[1]).xy, before)  # and stays as it was


def test_without_training_a_point_finds_itself(
    untrained: Tasks, pictures: list[PagePicture]
) -> None:
    """As above; here nothing else can be asked."""
    assert not untrained.unsure
    example = example_of(pictures[1], 4)
    (found,) = untrained.example(example, [pictures[1]])
    clicked = np.array([at for _, at in example.points])
    cell = max(pictures[1].where[2:]) * untrained.predictor.padding / found.heatmaps.shape[-1]  # type: ignore[union-attr]
    off = np.linalg.norm(found.xy[0] - clicked, axis=1)
    assert np.median(off) < 2 * cell
    own = []
    for name, at in example.points:
        chance = untrained.place(pictures[1], at, example=example)
        assert sum(chance.values()) == pytest.approx(1, abs=1e-5)
        own.append(chance[name])
    assert np.mean(own) > 1.1 / len(own)  # neighbouring places of one coat look alike


@torch.no_grad()
def test_a_place_is_identified(learned: Tasks, folder: Path, pictures: list[PagePicture]) -> None:
    """Against `GenLoc.identify` on a crop cut by hand."""
    one, at = pictures[2].everywhere(), (200.0, 150.0)
    chance = learned.place(one, at)
    assert list(chance.values()) == sorted(chance.values(), reverse=True)
    assert sum(chance.values()) == pytest.approx(1, abs=1e-5)
    adapter = load_adapter(folder / "learned" / "adapter")
    image = learned.predictor.crops(one.rgb).image
    size, stride = 384 * 1.25, 64 / adapter.model.map_size(image)[1]
    pixel = (np.array(at) - 384 / 2) * 64 / size + 31.5  # the box's middle is the crop's
    cell = torch.tensor((pixel + 0.5) / stride - 0.5, dtype=torch.float32)[None, None]
    truth = adapter.model.identify(image, cell, adapter.condition())[0, 0]
    for k, name in enumerate(AP10K.keypoints):
        assert chance[name] == pytest.approx(float(truth[k]), rel=1e-3)


def test_candidates_come_from_words_or_the_example(
    words: Tasks, visual: Tasks, pictures: list[PagePicture]
) -> None:
    assert set(words.place(pictures[0], (190, 190))) == set(AP10K.keypoints)
    assert set(words.place(pictures[0], (190, 190), phrases="nose\ntail")) == {"nose", "tail"}
    chance = visual.place(pictures[0], (190, 190), example=example_of(pictures[1]))
    assert set(chance) == {"p0", "p1", "p2"}
    with pytest.raises(ValueError, match="at least two"):
        visual.place(pictures[0], (190, 190), example=example_of(pictures[1], 1))
    with pytest.raises(ValueError, match="at least two candidates"):
        words.place(pictures[0], (190, 190), phrases="\n the nose \n")
    with pytest.raises(ValueError, match="outside of the box"):
        words.place(pictures[0], (-4000, 190))


def test_one_keypoint_alone_names_no_place(tmp_path: Path, pictures: list[PagePicture]) -> None:
    """Its share would be 1 wherever one clicks."""
    nose = Skeleton("nose", ("nose",), (), (), (0.05,))
    tasks = Tasks.of_adapter(write_adapter(tmp_path, skeleton=nose), device="cpu")
    with pytest.raises(ValueError, match="one keypoint alone"):
        tasks.place(pictures[0], (190, 190))


def test_what_cannot_be_done_names_the_command_that_trains_it(
    learned: Tasks, words: Tasks, visual: Tasks, untrained: Tasks, pictures: list[PagePicture]
) -> None:
    one, example = pictures[0], example_of(pictures[1])
    assert set(learned.lacking) == {"words"}
    assert set(words.lacking) == set()
    assert set(visual.lacking) == {"keypoints", "words"}
    assert set(untrained.lacking) == {"keypoints", "words"}
    for tasks in (learned, words, visual, untrained):
        for task, why in tasks.lacking.items():
            assert "\n" not in why
            assert task == "keypoints" or (TRAIN[task] in why and DRAW[task] in why)
            ask = {
                "keypoints": lambda t=tasks: t.keypoints(one),
                "words": lambda t=tasks: t.words(one, "nose"),
            }[task]
            with pytest.raises(ValueError) as said:
                ask()
            assert str(said.value) == why
    assert QUICKSTART in untrained.lacking["keypoints"]
    with pytest.raises(ValueError, match="no picture"):
        visual.example(example, [])


def test_the_commands_it_names_have_their_files(repository: Path) -> None:
    for command in (*TRAIN.values(), QUICKSTART):
        for word in command.split():
            if "/" in word:
                assert (repository / word).is_file(), word
    for task, command in TRAIN.items():  # what is drawn lies where the training looks
        config = yaml.safe_load((repository / command.split()[3]).read_text(encoding="utf-8"))
        assert DRAW[task].split()[:3] == ["genloc", "zoo", config["data"]["root"]]


def test_an_adapter_that_lies_here_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert newest_adapter() is None
    for age, name in ((100, "old"), (50, "new"), (0, "broken")):
        shutil.copytree(folder / "learned" / "adapter", f"runs/{name}/adapter")
        os.utime(f"runs/{name}/adapter/genloc.yaml", (1e9 - age, 1e9 - age))
    Path("runs/broken/adapter/genloc.yaml").unlink()
    assert newest_adapter() == Path("runs/new/adapter")
    assert "`genloc app --adapter runs/new/adapter`" in Tasks.untrained(device="cpu").note


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        (" \n ", "one a line"),
        ("nose\nnose", "asked for twice"),
        ("\n".join(map(str, range(25))), "At most 24"),
        ("x" * 121, "120 letters"),
    ],
)
def test_phrases_are_checked(phrases: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(phrases)


def test_answers_are_drawn_and_written_down(
    learned: Tasks, visual: Tasks, pictures: list[PagePicture], tmp_path: Path
) -> None:
    half = PagePicture("big.jpg", pictures[0].rgb, (768, 768), pictures[0].box)
    every = [half, pictures[1].everywhere()]
    answers = list(zip(every, visual.example(example_of(pictures[2]), every), strict=True))
    assert drawn(*answers[0]).shape == (ON_PAGE, ON_PAGE, 3)
    seen = maps(*answers[0], padding=1.25)
    assert [caption.split()[0] for _, caption in seen] == ["p0", "p1", "p2"]
    assert pointed_at(half, (100, 100)).shape == (ON_PAGE, ON_PAGE, 3)
    assert thumbnail(half).shape == (160, 160, 3)
    assert len(AP10K.keypoints) > NAMED and drawn(half, learned.keypoints(half)).any()

    read = COCO(str(write_coco(answers, tmp_path / "deep" / "keypoints.json")))
    assert read.loadCats(1)[0]["keypoints"] == ["p0", "p1", "p2"]
    assert [one["file_name"] for one in read.loadImgs([1, 2])] == ["big.jpg", "dog.png"]
    for number, (one, found) in enumerate(answers, start=1):
        (ann,) = read.loadAnns(read.getAnnIds(imgIds=[number]))
        flat = np.array(ann["keypoints"]).reshape(-1, 3)
        zoom = one.file_size[0] / one.size[0]
        np.testing.assert_allclose(flat[:, :2], (found.xy[0] + 0.5) * zoom - 0.5, atol=0.01)
        np.testing.assert_allclose(ann["bbox"], np.array(one.where) * zoom, atol=0.01)
        np.testing.assert_allclose(ann["keypoint_scores"], found.scores[0], rtol=1e-6)
        table = [row for row in rows(answers) if row[0] == one.name]
        np.testing.assert_allclose([row[2] for row in table], flat[:, 0], atol=0.06)
        assert {type(value) for row in table for value in row[2:]} == {float}
    json.dumps(coco(answers), allow_nan=False)
    with pytest.raises(ValueError, match="expected one"):
        coco([])
