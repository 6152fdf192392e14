from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.data.coco import CocoKeypoints
from genloc.data.picture import ArrayPicture
from genloc.media import Frame
from genloc.skeleton import AP10K
from genloc.streaming.boxes import Found, WholePicture, coco_boxes, csv_boxes
from genloc.streaming.overlays import PictureOverlays
from tests.make_coco import write_coco

FRAME = Frame(3, "b/a.png", ArrayPicture(np.zeros((48, 64, 3), np.uint8)))


def test_the_whole_picture() -> None:
    assert WholePicture().find(FRAME).boxes.tolist() == [[0, 0, 64, 48]]


def test_a_csv_by_file_name(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text(
        "Image, x,y,width,height,score\nb/a.png,1,2,3.5,4,0.5\nb/a.png,5,6,7,8,\nc.png,1,1,1,1,1\n"
    )
    found = csv_boxes(file).find(FRAME)
    assert found.boxes.tolist() == [[1, 2, 3.5, 4], [5, 6, 7, 8]]
    assert found.scores.tolist() == [0.5, 1]
    assert len(csv_boxes(file).find(Frame(0, "other.png", FRAME.picture))) == 0


def test_a_csv_by_frame_number_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_bytes("\ufeffframe,x,y,width,height\n3,1,2,3,4\n".encode())
    assert csv_boxes(file).find(FRAME).boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns \[\]"),
        ("name,x,y,width,height\na,1,2,3,4\n", "expected image"),
        ("frame,x,y,w,h\n1,1,2,3,4\n", "width, height"),
        ("frame,x,y,width,height\n", "has no row"),
        ("frame,x,y,width,height\n1,1,2,3,4\n2,1,2,0,4\n", "line 3.*width and height above 0"),
        ("frame,x,y,width,height\n1,1,2,nan,4\n", "finite"),
        ("frame,x,y,width,height\n1.5,1,2,3,4\n", "line 2 is no box"),
        ("frame,x,y,width,height\n1,1,2\n", "line 2 is no box"),
        ("frame,x,y,width,height,score\n1,1,2,3,4,-1\n", "score at least 0"),
    ],
)
def test_a_csv_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        csv_boxes(tmp_path / "boxes.csv")


def test_no_csv_and_one_of_bytes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="boxes: no file"):
        csv_boxes(tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match="is not text"):
        csv_boxes(tmp_path / "boxes.csv")


def unlabel(content: dict, ids: tuple[int, ...]) -> None:
    for annotation in content["annotations"]:
        if annotation["id"] in ids:
            annotation["keypoints"] = [0] * len(annotation["keypoints"])
            annotation["num_keypoints"] = 0


def test_a_coco_json_gives_the_boxes_that_evaluation_takes(tmp_path: Path) -> None:
    file = write_coco(tmp_path, images=4, instances=2, change=lambda c: unlabel(c, (103, 104, 105)))
    pictures, boxes, ids, summary = coco_boxes(file, tmp_path / "images", AP10K)
    assert "left out: 3" in summary
    assert [pictures.name(i) for i in range(len(pictures))] == ["0001.png", "0003.png", "0004.png"]
    assert ids == {"0001.png": 1, "0003.png": 3, "0004.png": 4}
    source = CocoKeypoints(file, tmp_path / "images", skeleton=AP10K)
    seen = []
    for frame in pictures.frames():
        found = boxes.find(frame)
        assert found.annotation_ids is not None
        for box, annotation, species in zip(
            found.boxes, found.annotation_ids, found.category_ids, strict=True
        ):
            seen.append((annotation, tuple(box), species))
    assert seen == [(i.annotation_id, i.box, i.category_id) for i in source.instances]
    everything = coco_boxes(file, tmp_path / "images", AP10K, all_boxes=True)
    assert len(everything[0]) == 4


def test_a_coco_json_of_boxes_alone(tmp_path: Path) -> None:
    def boxes_only(content: dict) -> None:
        for annotation in content["annotations"]:
            del annotation["keypoints"], annotation["num_keypoints"]
        content["categories"] = [{"id": 1, "name": "mouse"}, {"id": 8, "name": "rat"}]

    file = write_coco(tmp_path, images=3, change=boxes_only)
    pictures, _, _, _ = coco_boxes(file, tmp_path / "images", AP10K)
    assert len(pictures) == 3
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match="no box to look in"):
        coco_boxes(empty, tmp_path / "images", AP10K)


def test_boxes_outside_are_left_out_and_said() -> None:
    found = Found(
        np.array([[0, 0, 5, 5], [64, 0, 5, 5], [-9, 3, 9, 5.0]]), np.ones(3), [1, 2, 3], [7, 8, 9]
    )
    kept = found.inside((64, 48))
    assert kept.boxes.tolist() == [[0, 0, 5, 5]]
    assert kept.annotation_ids == [7]
    assert kept.category_ids == [1]
    assert "64 x 48" in kept.notes[0]
    assert kept.inside((64, 48)) is kept


def test_pictures_outside_of_the_folder_are_drawn_inside_of_the_output(tmp_path: Path) -> None:
    """As `genloc import` names pictures that lie elsewhere; originals must stay as they are."""
    project, elsewhere = tmp_path / "project", tmp_path / "pics"
    names = ["../pics/0001.png", str(elsewhere / "0002.png"), "0003.png"]

    def rename(content: dict) -> None:
        for image, name in zip(content["images"], names, strict=True):
            image["file_name"] = name

    file = write_coco(tmp_path, images=3, change=rename)
    (tmp_path / "images").rename(elsewhere)
    project.mkdir()
    (elsewhere / "0003.png").rename(project / "0003.png")
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    pictures, boxes, ids, _ = coco_boxes(file, project, AP10K)
    assert list(ids) == names
    overlays = PictureOverlays(pictures, project / "predictions" / "overlays", "png")
    for frame in pictures.frames():
        assert len(boxes.find(frame)) > 0
        assert overlays.needs(frame.index)
        assert frame.picture is not None
        overlays.add(frame, 255 - frame.picture.rgb())
        assert not overlays.needs(frame.index)
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before
    assert len(list((project / "predictions").rglob("*.png"))) == 3


def test_frames_that_the_input_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,x,y,width,height\nA.JPG,1,1,9,9\nb.jpg,1,1,9,9\n")
    boxes = csv_boxes(tmp_path / "boxes.csv")
    assert boxes.unknown(["a.jpg", "b.jpg"]) == ["A.JPG"]
    with pytest.raises(ValueError, match=r"names none of the 1 frames.*'A.JPG'.*'a.jpg'"):
        boxes.unknown(["a.jpg"])
    (tmp_path / "boxes.csv").write_text("frame,x,y,width,height\n0,1,1,9,9\n7,1,1,9,9\n")
    assert csv_boxes(tmp_path / "boxes.csv").unknown(["clip.mp4/000000"]) == [7]
