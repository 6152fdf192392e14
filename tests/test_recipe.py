"""What an adapter says of its crops and maps is checked when it is read: file, field, what came, what fits."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from genloc.adapter import AdapterError
from genloc.app.tasks import Tasks
from genloc.cli import main
from genloc.language.saved import language_predictor, save_language
from genloc.predictor import KeypointPredictor
from tests.language.make_language import LEGS, make_language
from tests.make_adapter import write_adapter
from tests.make_coco import write_coco


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapter"))


def changed(whole: Path, folder: Path, name: str, value: Any) -> Path:
    """The adapter with another value in its recipe."""
    shutil.copytree(whole, folder)
    file = folder / "genloc.yaml"
    facts = yaml.safe_load(file.read_text())
    facts["recipe"][name] = value
    file.write_text(yaml.safe_dump(facts))
    return folder


@pytest.mark.parametrize("read", [KeypointPredictor.from_pretrained, Tasks.of_adapter])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("crop_size", "128", "is '128', expected a whole number of pixels above 0"),
        ("crop_size", 0, "is 0, expected a whole number of pixels above 0"),
        ("crop_size", True, "is True, expected a whole"),
        (
            "crop_size",
            72,
            "is 72: the latent is 9x9 cells; both sides must be multiples of 2; 64 would do",
        ),
        ("padding", "1.25", "is '1.25', expected a number above 0"),
        ("padding", float("nan"), "is nan, expected a number above 0"),
        ("decoding", "centre", "is 'centre', expected centroid, argmax or quarter"),
        ("decoding", ["argmax"], "is ['argmax'], expected centroid"),
        ("flip_test", "off", "is 'off', expected true or false"),
        ("seed", "0", "is '0', expected a whole number from 0"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    whole: Path, tmp_path: Path, read: Callable[..., Any], name: str, value: Any, message: str
) -> None:
    folder = changed(whole, tmp_path / "a", name, value)
    said = f"{folder / 'genloc.yaml'}: recipe.{name} {message}"
    with pytest.raises(AdapterError, match=re.escape(said)):
        read(folder, device="cpu")


def test_predict_says_it_in_a_line(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(whole, tmp_path / "a", "decoding", "centre")
    write_coco(tmp_path, images=1)
    assert main(["predict", str(tmp_path / "images"), "--adapter", str(folder)]) == 2
    assert "genloc.yaml: recipe.decoding is 'centre'" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, [], "crops of 64 pixels"])
def test_a_recipe_that_is_none(whole: Path, tmp_path: Path, value: Any) -> None:
    folder = shutil.copytree(whole, tmp_path / "a")
    facts = yaml.safe_load((folder / "genloc.yaml").read_text())
    (folder / "genloc.yaml").write_text(yaml.safe_dump(facts | {"recipe": value}))
    with pytest.raises(AdapterError, match=r"genloc\.yaml: recipe is .*, expected its fields"):
        KeypointPredictor.from_pretrained(folder, device="cpu")


def test_what_older_adapters_left_out_or_left_open(whole: Path, tmp_path: Path) -> None:
    folder = changed(whole, tmp_path / "a", "flip_test", None)
    folder = changed(folder, tmp_path / "b", "seed", None)
    predictor = KeypointPredictor.from_pretrained(folder, device="cpu")
    assert (predictor.flip_test, predictor.seed, predictor.padding) == (False, 0, 1.25)
    assert KeypointPredictor.from_pretrained(folder, flip_test=True, device="cpu").flip_test


def test_a_language_models_recipe_is_checked_alike(tmp_path: Path) -> None:
    model = make_language(tmp_path)
    recipe = {"crop_size": "64", "padding": 1.25}
    folder = save_language(tmp_path / "a", model=model, skeleton=LEGS, recipe=recipe, metrics={})
    with pytest.raises(AdapterError, match=r"language\.yaml: recipe\.crop_size is '64', expected"):
        language_predictor(folder, device="cpu")
