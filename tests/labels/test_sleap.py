from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.cli import main
from genloc.data.image import read_image
from genloc.labels.sleap import read_sleap
from tests.labels.make_labels import NAMES, same_points, truth, write_pictures

sio = pytest.importorskip("sleap_io")


def labels_of(video: Any, xy: np.ndarray, predicted: bool = False) -> Any:
    """sleap-io's labels: xy is [pictures, animals, K, 2], one frame a picture."""
    skeleton = sio.Skeleton(nodes=list(NAMES), edges=[("snout", "left_ear"), ("snout", "tail")])
    frames = []
    for index, animals in enumerate(xy):
        instances = [sio.Instance.from_numpy(a, skeleton=skeleton) for a in animals]
        if predicted:
            instances.append(sio.PredictedInstance.from_numpy(animals[0], skeleton=skeleton))
        frames.append(sio.LabeledFrame(video=video, frame_idx=index, instances=instances))
    return sio.Labels(frames)


def test_pictures_of_a_slp_stay_where_they_are(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    write_pictures(tmp_path / "pictures", names)
    video = sio.Video.from_filename([str(tmp_path / "pictures" / name) for name in names])
    xy = truth(3, 2)
    sio.save_slp(labels_of(video, xy, predicted=True), str(tmp_path / "labels.slp"))
    out = tmp_path / "coco.json"
    assert main(["import", str(tmp_path / "labels.slp"), str(out)]) == 0
    content = json.loads(out.read_text())
    assert [i["file_name"] for i in content["images"]] == [f"pictures/{n}" for n in names]
    assert content["categories"][0]["keypoints"] == list(NAMES)
    assert content["categories"][0]["skeleton"] == [[1, 2], [1, 4]]
    assert "3 predicted instances are left out" in content["info"]["note"]
    for annotation, points in zip(content["annotations"], xy.reshape(6, 4, 2), strict=True):
        assert same_points(annotation, points)
    assert not list(tmp_path.glob("*frames*"))


def test_instances_without_a_placed_point_are_left_out_and_said(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png", "b.png"])
    video = sio.Video.from_filename([str(tmp_path / name) for name in ("a.png", "b.png")])
    xy = truth(2, 2)
    xy[0, 1] = np.nan
    sio.save_slp(labels_of(video, xy), str(tmp_path / "labels.slp"))
    labelled = read_sleap(tmp_path / "labels.slp")
    assert [len(picture.animals) for picture in labelled.pictures] == [1, 2]
    assert labelled.remarks == ["1 instances without a placed point are left out"]
    sio.save_slp(labels_of(video, xy * np.nan), str(tmp_path / "none.slp"))
    with pytest.raises(ValueError, match="nothing to import"):
        read_sleap(tmp_path / "none.slp")


def test_a_package_s_pictures_are_written_beside_the_json(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", ["a.png", "b.png"])
    files = [str(tmp_path / "pictures" / name) for name in ("a.png", "b.png")]
    package = tmp_path / "labels.pkg.slp"
    sio.save_slp(labels_of(sio.Video.from_filename(files), truth(2)), str(package), embed=True)
    for file in files:
        Path(file).unlink()
    out = tmp_path / "out" / "coco.json"
    assert main(["import", str(package), str(out)]) == 0
    content = json.loads(out.read_text())
    for number, image in enumerate(content["images"]):
        picture = read_image(out.parent / image["file_name"])
        assert picture.shape == (48, 64, 3)
        assert (picture == 40 + 10 * number).all()
    assert not list(tmp_path.rglob("*.part"))


def test_frames_of_a_moved_video_are_found_and_written(tmp_path: Path) -> None:
    video_file = tmp_path / "film.mp4"
    frames = np.stack([np.full((48, 64, 3), 60 + 60 * n, np.uint8) for n in range(3)])
    sio.save_video(frames, str(video_file))
    video = sio.Video.from_filename(str(video_file))
    sio.save_slp(labels_of(video, truth(3)), str(tmp_path / "labels.slp"))
    (tmp_path / "films").mkdir()
    video_file.rename(tmp_path / "films" / "film.mp4")
    out = tmp_path / "coco.json"
    source = str(tmp_path / "labels.slp")
    assert main(["import", source, str(out)]) == 2
    assert main(["import", source, str(out), "--images", str(tmp_path / "films")]) == 0
    for number, image in enumerate(json.loads(out.read_text())["images"]):
        picture = read_image(tmp_path / image["file_name"]).astype(int)
        assert np.abs(picture - (60 + 60 * number)).max() < 12


def test_hidden_points_are_v_1(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png"])
    labels = labels_of(sio.Video.from_filename([str(tmp_path / "a.png")]), truth(1))
    labels[0].instances[0].points["visible"][2] = False
    sio.save_slp(labels, str(tmp_path / "labels.slp"))
    (picture,) = read_sleap(tmp_path / "labels.slp").pictures
    assert picture.animals[0].keypoints[:, 2].tolist() == [2, 2, 1, 2]


def test_a_damaged_or_empty_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.slp").write_bytes(b"not an h5")
    with pytest.raises(ValueError, match="cannot be read as a SLEAP file"):
        read_sleap(tmp_path / "a.slp")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_sleap(tmp_path / "b.slp")
    sio.save_slp(sio.Labels(), str(tmp_path / "c.slp"))
    with pytest.raises(ValueError, match="nothing to import"):
        read_sleap(tmp_path / "c.slp")
