"""What is written is read back by the tools it is meant for: pandas and pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.streaming.journal import Journal, as_instances, as_keypoints
from genloc.streaming.tables import write_coco, write_deeplabcut
from tests.spots import SPOTS, around, spots_picture, spots_predictor

pandas = pytest.importorskip("pandas")


def fill(path: Path, counts: list[int]) -> tuple[Journal, list[np.ndarray]]:
    predictor, journal, all_points = spots_predictor(), Journal(path, {"run": 1}), []
    for i, count in enumerate(counts):
        rgb, truth = spots_picture(*[(20 + 25 * j, 30) for j in range(count)])
        found = predictor(rgb, around(truth) if count else [])
        record: dict[str, Any] = {"index": i, "name": f"f{i}.png", "size": [96, 72], "error": None}
        journal.add(record | {"instances": as_instances(found, [1] * count, None)})
        all_points.append(np.concatenate([found.xy, found.scores[..., None]], -1))
    journal.close()
    return journal, all_points


def test_one_animal_reads_as_deeplabcuts_csv(tmp_path: Path) -> None:
    journal, points = fill(tmp_path / "j.jsonl", [1, 0, 1])
    assert write_deeplabcut(journal, tmp_path / "k.csv", SPOTS, numbered=True) == 1
    table = pandas.read_csv(tmp_path / "k.csv", header=[0, 1, 2], index_col=0)
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert list(table.index) == [0, 1, 2]
    assert table.columns[:4].tolist() == [
        ("genloc", "red", "x"),
        ("genloc", "red", "y"),
        ("genloc", "red", "likelihood"),
        ("genloc", "green", "x"),
    ]
    np.testing.assert_allclose(table.iloc[2].to_numpy().reshape(3, 3), points[2][0], rtol=1e-6)
    assert table.iloc[1].isna().all()
    assert table["genloc"]["blue"]["x"].dtype == float


def test_several_animals_have_a_level_of_their_own(tmp_path: Path) -> None:
    journal, points = fill(tmp_path / "j.jsonl", [1, 3, 2])
    assert write_deeplabcut(journal, tmp_path / "k.csv", SPOTS, numbered=False) == 3
    table = pandas.read_csv(tmp_path / "k.csv", header=[0, 1, 2, 3], index_col=0)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.index) == ["f0.png", "f1.png", "f2.png"]
    second = table.loc["f1.png", ("genloc", "individual2")].to_numpy().reshape(3, 3)
    np.testing.assert_allclose(second, points[1][1], rtol=1e-6)
    assert table.loc["f0.png", ("genloc", "individual2")].isna().all()


def test_an_empty_run_still_has_its_header(tmp_path: Path) -> None:
    journal, _ = fill(tmp_path / "j.jsonl", [])
    write_deeplabcut(journal, tmp_path / "k.csv", SPOTS, numbered=True)
    table = pandas.read_csv(tmp_path / "k.csv", header=[0, 1, 2], index_col=0)
    assert table.shape == (0, 9)
    assert write_coco(journal, tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_coco_results_load_in_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    journal, points = fill(tmp_path / "j.jsonl", [1, 2])
    assert write_coco(journal, tmp_path / "r.json", {"f0.png": 7, "f1.png": 9}) == 3
    truth = COCO()
    truth.dataset = {"images": [{"id": 7}, {"id": 9}], "annotations": [], "categories": [{"id": 1}]}
    truth.createIndex()
    loaded = truth.loadRes(str(tmp_path / "r.json"))
    assert [a["image_id"] for a in loaded.dataset["annotations"]] == [7, 9, 9]
    flat = np.array([a["keypoints"] for a in loaded.dataset["annotations"]], np.float32)
    np.testing.assert_array_equal(flat.reshape(3, 3, 3), np.concatenate(points))
    assert not list(tmp_path.glob("*.part"))


def test_a_journal_gives_back_the_same_bits(tmp_path: Path) -> None:
    journal, points = fill(tmp_path / "j.jsonl", [2])
    (record,) = journal.records()
    found = as_keypoints(record, SPOTS)
    np.testing.assert_array_equal(found.xy, points[0][..., :2])
    np.testing.assert_array_equal(found.scores, points[0][..., 2])


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_half_a_line_at_the_end_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j.jsonl"
    fill(path, [1, 1, 1])
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path, {"run": 1})
    assert again.count == 2
    assert [record["index"] for record in again.records()] == [0, 1]
    again.add({"index": 2, "instances": []})
    again.close()
    assert Journal(path, {"run": 1}).count == 3
    with pytest.raises(ValueError, match="frames come in order"):
        Journal(path, {"run": 1}).add({"index": 5})


def test_a_journal_of_another_run_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    fill(path, [1])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"run was 1, is 2\. Give another --out"):
        Journal(path, {"run": 2})
    assert path.read_bytes() == before
    path.write_text("my notes\n")
    with pytest.raises(ValueError, match="is no journal"):
        Journal(path, {"run": 1})
    path.write_bytes(b'{"run"')  # killed while the first line was written
    assert Journal(path, {"run": 1}).count == 0
