"""`genloc predict --like`: what to look for comes from a labelled picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.adapter import load_adapter
from genloc.cli import main
from genloc.data.support import read_supports
from genloc.predictor import KeypointPredictor
from tests.make_adapter import write_adapter, write_visual_adapter
from tests.make_categories import FISH, write_categories


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter asked by examples, another of learned conditions, and pictures of fish."""
    folder = tmp_path_factory.mktemp("like")
    write_categories(folder, missing=0.0)
    write_visual_adapter(folder / "visual", skeleton=FISH)
    write_adapter(folder / "learned", skeleton=FISH)
    pictures = folder / "images" / "fish" / "images"
    (folder / "points.json").write_text(
        json.dumps(
            {"keypoints": {"left_gill": [20, 12], "right_gill": [30, 20]}, "box": [5, 4, 40, 30]}
        )
    )
    (folder / "more.json").write_text(json.dumps({"right_gill": [10, 9], "left_gill": None}))
    (folder / "odd.json").write_text(json.dumps({"keypoints": {"left_gill": [20, 12]}, "edges": 5}))
    assert (pictures / "0001.png").is_file()
    return folder


def arguments(folder: Path, out: Path, *more: object, adapter: str = "visual") -> list[str]:
    pictures = folder / "images" / "fish" / "images"
    return ["predict", str(pictures), "--adapter", str(folder / adapter / "adapter"), "--out", str(out),
            "--overlays", "none", "--device", "cpu", *map(str, more)]  # fmt: skip


def test_points_of_a_picture_are_looked_for_in_others(folder: Path, tmp_path: Path) -> None:
    shown = folder / "images" / "fish" / "images" / "0001.png"
    like = ("--like", shown, "--points", folder / "points.json")
    assert main(arguments(folder, tmp_path / "out", *like)) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(found) == 6 and all(len(one["keypoints"]) == 6 for one in found)  # two keypoints

    supports = read_supports([shown], [folder / "points.json"])
    predictor = KeypointPredictor.from_pretrained(
        folder / "visual" / "adapter", like=supports, device="cpu"
    )
    assert predictor.skeleton.keypoints == ("left_gill", "right_gill")
    again = predictor(shown)
    np.testing.assert_allclose(
        np.array(found[0]["keypoints"]).reshape(2, 3)[:, :2], again.xy[0], atol=0.02
    )
    assert (
        load_adapter(folder / "visual" / "adapter").skeleton == FISH
    )  # whatever it was trained on

    # a second shot changes what is looked for, so it is another run
    two = (*like, "--like", shown, "--points", folder / "more.json")
    assert main(arguments(folder, tmp_path / "out", *two)) == 2
    assert main(arguments(folder, tmp_path / "two", *two)) == 0


@pytest.mark.parametrize(
    ("more", "adapter", "message"),
    [
        ((), "visual", "asked by examples"),
        (("--like", "0001"), "visual", "once for each --like"),
        (("--like", "0001", "--points", "none.json"), "visual", "none.json"),
        (
            ("--like", "0001", "--points", "odd.json"),
            "visual",
            "odd.json: edges is 5, expected a list",
        ),
        (("--like", "0001", "--points", "points.json"), "learned", "not by examples"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple,
    adapter: str,
    message: str,
) -> None:
    named = {"0001": folder / "images" / "fish" / "images" / "0001.png"}
    given = [named.get(word, folder / word if word.endswith(".json") else word) for word in more]
    assert main(arguments(folder, tmp_path / "out", *given, adapter=adapter)) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
