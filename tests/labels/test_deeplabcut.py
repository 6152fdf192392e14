from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.cli import main
from genloc.labels.deeplabcut import read_table
from genloc.labels.formats import read_labels
from genloc.skeleton import load_skeleton
from tests.labels.make_labels import NAMES, same_points, truth, write_pictures

pd = pytest.importorskip("pandas")

FRAMES = [f"labeled-data/film/img{n:03d}.png" for n in (2, 10, 7)]


def frame(xy: np.ndarray, individuals: list[str] | None = None, wide: bool = False) -> Any:
    """The pandas frame that DeepLabCut saves: xy is [pictures, animals, K, 2]."""
    columns: Any
    if individuals is None:
        columns = pd.MultiIndex.from_product(
            [["me"], NAMES, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
        )
    else:
        columns = pd.MultiIndex.from_product(
            [["me"], individuals, NAMES, ["x", "y"]],
            names=["scorer", "individuals", "bodyparts", "coords"],
        )
    index: Any = FRAMES
    if wide:  # newer releases
        index = pd.MultiIndex.from_tuples([tuple(name.split("/")) for name in FRAMES])
    return pd.DataFrame(xy.reshape(len(xy), -1), columns=columns, index=index)


def write_project(folder: Path, table: Any, kind: str = "csv") -> Path:
    """A DeepLabCut project with one film."""
    write_pictures(folder, FRAMES)
    file = folder / "labeled-data" / "film" / f"CollectedData_me.{kind}"
    if kind == "csv":
        table.to_csv(file)
    else:
        pytest.importorskip("tables")
        table.to_hdf(file, key="df_with_missing", mode="w")
    (folder / "config.yaml").write_text(
        "Task: test\nscorer: me\nbodyparts: [tail, snout, left_ear, right_ear]\n"
        "skeleton: [[snout, left_ear], [snout, tail], [snout, wing]]\n"
    )
    return file


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", ["csv", "h5"])
@pytest.mark.parametrize("individuals", [None, ["mickey", "minnie"]])
def test_what_deeplabcut_writes_is_read(
    tmp_path: Path, individuals: list[str] | None, kind: str, wide: bool
) -> None:
    xy = truth(3, len(individuals or [""]))
    if individuals:
        xy[2, 1] = np.nan  # only one animal in the last picture
    file = write_project(tmp_path, frame(xy, individuals, wide), kind)
    labels = read_labels(file)
    assert labels.keypoints == NAMES
    assert [p.name for p in labels.pictures] == FRAMES
    assert [p.file for p in labels.pictures] == [tmp_path / name for name in FRAMES]
    for picture, expected in zip(labels.pictures, xy, strict=True):
        animals = [a for a in expected if np.isfinite(a).any()]
        assert len(picture.animals) == len(animals)
        for animal, points in zip(picture.animals, animals, strict=True):
            there = np.isfinite(points).all(axis=1)
            assert np.array_equal(animal.keypoints[:, 2], np.where(there, 2, 0))
            assert np.array_equal(animal.keypoints[there, :2], points[there])


def test_a_project_gives_order_and_edges(tmp_path: Path) -> None:
    xy = truth(3)
    write_project(tmp_path / "project", frame(xy))
    out = tmp_path / "coco.json"
    assert main(["import", str(tmp_path / "project"), str(out), "--category", "mouse"]) == 0
    content = json.loads(out.read_text())
    (category,) = content["categories"]
    assert category["keypoints"] == ["tail", "snout", "left_ear", "right_ear"]
    assert category["name"] == "mouse"
    assert load_skeleton(out).edges == ((1, 2), (1, 0))
    order = [NAMES.index(name) for name in category["keypoints"]]
    for annotation, points in zip(content["annotations"], xy[:, 0], strict=True):
        assert same_points(annotation, points[order])
    for image in content["images"]:
        assert (image["width"], image["height"]) == (64, 48)
        assert (tmp_path / image["file_name"]).is_file()


def test_sleap_io_reads_the_same(tmp_path: Path) -> None:
    sleap_io = pytest.importorskip("sleap_io")
    file = write_project(tmp_path, frame(truth(3)))
    theirs = {
        frame.video.filename[frame.frame_idx]: frame.instances[0]
        for frame in sleap_io.load_dlc(str(file))
    }
    for picture in read_labels(file).pictures:
        instance = theirs[str(picture.file)]
        for name, row in zip(NAMES, picture.animals[0].keypoints, strict=True):
            xy = instance[name]["xy"]
            assert np.array_equal(xy, row[:2]) if row[2] else np.isnan(xy).all()


def test_a_missing_picture_does_not_shift_the_labels_of_others(tmp_path: Path) -> None:
    xy = truth(3)
    file = write_project(tmp_path, frame(xy))
    (tmp_path / FRAMES[0]).unlink()
    out = tmp_path / "coco.json"
    assert main(["import", str(file), str(out)]) == 2
    assert not out.exists()
    assert main(["import", str(file), str(out), "--missing", "drop"]) == 0
    content = json.loads(out.read_text())
    assert [i["file_name"] for i in content["images"]] == FRAMES[1:]
    for annotation, points in zip(content["annotations"], xy[1:, 0], strict=True):
        assert same_points(annotation, points)
    assert "1 pictures were not found" in content["info"]["note"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("bodyparts", "parts"), "not in DeepLabCut's format"),
        (lambda text: text.replace("coords,x,y", "coords,y,x"), "expected x, y, x, y"),
        (lambda text: text.replace("coords,x,y,x", "coords,x,y,likelihood"), "predictions"),
        (lambda text: text.replace("right_ear", "left_ear"), "has its columns twice"),
        (lambda text: text + "labeled-data/film/img003.png,1,2,three,4,5,6,7,8\n", "row is not"),
        (lambda text: text[: text.index("labeled-data")], "nothing to import"),
        (lambda text: "", "not in DeepLabCut's format"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, change: Any, message: str) -> None:
    file = write_project(tmp_path, frame(truth(3)))
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError, match=message):
        read_table(file)


def test_an_h5_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CollectedData_me.h5").write_bytes(b"not an h5")
    with pytest.raises(ValueError, match="is not an h5 of DeepLabCut"):
        read_table(tmp_path / "CollectedData_me.h5")


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("mirror_mouse", "CollectedData.csv"),
        ("openfield_mouse", "labeled-data/m4s1/CollectedData_Pranav.csv"),
    ],
)
def test_the_mice_as_published_equal_their_conversion(
    real_data: Path, tmp_path: Path, name: str, table: str
) -> None:
    out = tmp_path / "mouse.json"
    assert main(["import", str(real_data / name / table), str(out), "--category", "mouse"]) == 0
    made = json.loads(out.read_text())
    given = json.loads((real_data / name / "annotations/coco_keypoints.json").read_text())
    assert made["categories"][0]["keypoints"] == given["categories"][0]["keypoints"]
    file_of = {i["id"]: Path(i["file_name"]).name for i in given["images"]}
    rows = {file_of[a["image_id"]]: a["keypoints"] for a in given["annotations"]}
    assert len(made["annotations"]) == len(rows)
    for image, annotation in zip(made["images"], made["annotations"], strict=True):
        assert np.allclose(annotation["keypoints"], rows[Path(image["file_name"]).name], atol=1e-3)
        assert (tmp_path / image["file_name"]).resolve().is_file()
    sizes = {(i["width"], i["height"]) for i in made["images"]}
    assert sizes == {(i["width"], i["height"]) for i in given["images"]}


def test_pictures_of_two_films_are_not_taken_for_one_another(tmp_path: Path) -> None:
    """Frames of all films have the same names."""
    names = ["labeled-data/v1/img0.png", "labeled-data/v2/img0.png"]
    write_pictures(tmp_path, names)
    rows = ["scorer,me,me", "bodyparts,snout,snout", "coords,x,y"]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([*rows, *(f"{name},3,4" for name in names)]))
    found = read_table(table)
    assert [picture.file for picture in found.pictures] == [tmp_path / name for name in names]
    with pytest.raises(ValueError, match=r"img0.png could be either; give --images"):
        read_table(table, tmp_path / "labeled-data" / "v1")
    (tmp_path / names[1]).rename(tmp_path / "img0.png")
    with pytest.raises(ValueError, match=r"img0.png could be either; give --images"):
        read_table(table)
