"""Pictures show crops of as many species as there are room for, the same ones each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.cli import main
from genloc.data.coco import Instance
from genloc.report.record import Record
from genloc.training import callbacks
from genloc.training.callbacks import spread_over_species
from genloc.training.outcome import RECORD
from tests.make_coco import write_coco
from tests.training.conftest import World


def instances(*species: int) -> list[Instance]:
    points, box = np.zeros((1, 3)), (0.0, 0.0, 1.0, 1.0)
    return [Instance(100 + i, i, s, Path(), box, points, 1.0) for i, s in enumerate(species)]


@pytest.mark.parametrize(
    ("species", "count", "expected"),
    [
        ((5, 5, 5, 5), 2, [100, 101]),
        ((5, 5, 3, 3), 3, [102, 100, 103]),  # by species, then round by round
        ((1, 1, 2, 2, 3, 3, 4, 4), 2, [100, 104]),  # evenly over the species
        ((1, 2, 2), 8, [100, 101, 102]),
        ((), 4, []),
        ((1, 2), 0, []),
    ],
)
def test_crops_are_spread_over_species(
    species: tuple[int, ...], count: int, expected: list[int]
) -> None:
    assert spread_over_species(instances(*species), count) == expected


@pytest.fixture(scope="module")
def tested(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without training on a set sorted by species, as AP-10K's is."""
    folder = tmp_path_factory.mktemp("sorted")

    def sort(content: dict[str, Any]) -> None:
        content["annotations"].sort(key=lambda a: a["category_id"])

    write_coco(folder, images=9, species=(1, 8, 25), change=sort)
    assert main(arguments_of(world, folder)) == 0
    return folder


def arguments_of(world: World, folder: Path) -> list[str]:
    return world.arguments(
        *("test", folder / "runs"),
        *("--data.test.annotations", "annotations.json", "--data.root", str(folder)),
        *("--data.train", "null", "--ckpt_path", "none", "--model.decoding", "argmax"),
        *("--pictures.count", "3"),
    )


def test_the_sheet_shows_every_species(
    tested: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    drawn = []
    plain = callbacks.overlay_sheet

    def watched(*given: Any, captions: list[str], **named: Any) -> np.ndarray:
        drawn.append(captions)
        return plain(*given, captions=captions, **named)

    monkeypatch.setattr(callbacks, "overlay_sheet", watched)
    assert main(arguments_of(world, tested)) == 0
    assert drawn == [["antelope", "dog", "cat"]]


def test_a_test_leaves_the_record_of_its_report(tested: Path) -> None:
    run = tested / "runs" / "small"
    record = Record.read(run / RECORD.format("test"))
    results = json.loads((run / "results-test.json").read_text())
    assert record.annotation_id.tolist() == [r["annotation_id"] for r in results]
    assert sorted(record.species.values()) == ["antelope", "cat", "dog"]
    assert len({shown.annotation_id for shown in record.shown}) == len(record.shown) == 9
    truth = {
        a["id"]: a for a in json.loads((tested / "annotations.json").read_text())["annotations"]
    }
    for row, id_ in enumerate(record.annotation_id.tolist()):
        np.testing.assert_allclose(
            record.keypoints[row].ravel(), truth[id_]["keypoints"], atol=1e-4
        )
        assert record.area[row] == truth[id_]["area"]
    # the maps are those that the results were decoded from, in 8 bits: their peaks lie there
    for shown in record.shown:
        of = results[record.annotation_id.tolist().index(shown.annotation_id)]
        found = np.array(of["keypoints"]).reshape(-1, 3)[:, :2]
        stride = len(shown.picture) / shown.maps.shape[-1]
        turn, shift = shown.to_image[:, :2], shown.to_image[:, 2]
        cells = (np.linalg.solve(turn, (found - shift).T).T + 0.5) / stride - 0.5
        for one, cell in zip(shown.maps, np.rint(cells).astype(int), strict=True):
            assert one[cell[1], cell[0]] >= 0.99 * one.max() > 0
    assert not list(run.glob("*.part"))


def test_boxes_of_a_detector_have_a_report_too(world: World, tested: Path, tmp_path: Path) -> None:
    """Moved boxes, one below the least overlap, one animal without a box, and a box without an animal."""
    truth = json.loads((tested / "annotations.json").read_text())["annotations"]
    boxes = []
    for number, animal in enumerate(truth[:-1]):
        x, y, w, h = animal["bbox"]
        moved = [x + (0.8 if number == 1 else 0.05) * w, y, w, h]
        names = ("image_id", "category_id")
        boxes.append({k: animal[k] for k in names} | {"bbox": moved, "score": 0.9 - 0.05 * number})
    boxes.insert(3, {**boxes[0], "score": 0.3})  # found twice; the first of equal ones counts
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    arguments = [
        *arguments_of(world, tested),
        *("--data.test.detections", str(tmp_path / "boxes.json"), "--name", "boxed"),
    ]
    assert main(arguments) == 0
    run = tested / "runs" / "boxed"
    record = Record.read(run / RECORD.format("test"))
    results = {r["detection"]: r for r in json.loads((run / "results-test.json").read_text())}
    assert record.detected is not None
    assert (record.detected.animals, record.detected.boxes) == (9, len(results)) == (9, 9)
    expected = {a["id"]: i for i, a in enumerate(truth[:-1]) if i != 1}
    assert set(record.annotation_id.tolist()) == set(expected)
    for id_, box in zip(
        record.annotation_id.tolist(), record.detected.box_id.tolist(), strict=True
    ):
        place = expected[id_]
        assert box == place + 1 + (place >= 3)
        assert results[box]["image_id"] == truth[place]["image_id"]
    assert {shown.annotation_id for shown in record.shown} == set(expected)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "7\nof 9 labelled animals" in page
    assert "2 lie in none, and 2 of the\n9 boxes hold none" in page
