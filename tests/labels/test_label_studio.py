from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.cli import main
from genloc.labels.label_studio import read_label_studio
from tests.labels.make_labels import NAMES, SIZE, same_points, truth, write_pictures

SHAPE = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}


def point(id_: str, name: str, xy: np.ndarray, **more: Any) -> dict[str, Any]:
    """A keypoint as Label Studio exports it: in percent."""
    value = {"x": 100 * xy[0] / SIZE[0], "y": 100 * xy[1] / SIZE[1], "width": 0.5}
    return {
        **SHAPE,
        "id": id_,
        "type": "keypointlabels",
        "value": value | {"keypointlabels": [name]},
        "from_name": "kp",
        "to_name": "image",
        **more,
    }


def rectangle(id_: str, box: tuple[float, float, float, float], name: str) -> dict[str, Any]:
    x, y, w, h = box
    value = {"x": 100 * x / 64, "y": 100 * y / 48, "width": 100 * w / 64, "height": 100 * h / 48}
    value |= {"rotation": 0, "rectanglelabels": [name]}  # type: ignore[dict-item]
    return {**SHAPE, "id": id_, "type": "rectanglelabels", "value": value}


def export(path: Path, results: list[list[dict[str, Any]]], images: list[str]) -> Path:
    tasks = [
        {
            "id": n,
            "data": {"image": image},
            "annotations": [{"id": n, "was_cancelled": False, "result": result}],
        }
        for n, (result, image) in enumerate(zip(results, images, strict=True), 1)
    ]
    path.write_text(json.dumps(tasks))
    return path


def test_an_export_of_uploads_without_rectangles(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", ["a.png", "b 1.png"])
    xy = truth(2)[:, 0]
    results = [
        [point(f"p{k}", NAMES[k], p) for k, p in enumerate(points) if np.isfinite(p).all()]
        for points in xy
    ]
    file = export(
        tmp_path / "export.json",
        results,
        ["/data/upload/3/0123abcd-a.png", "/data/local-files/?d=far/away/b%201.png"],
    )
    out = tmp_path / "coco.json"
    pictures = ["--images", str(tmp_path / "pictures")]
    assert main(["import", str(file), str(out), *pictures]) == 0
    content = json.loads(out.read_text())
    assert [i["file_name"] for i in content["images"]] == ["pictures/a.png", "pictures/b 1.png"]
    assert content["categories"][0]["keypoints"] == list(NAMES)
    for annotation, points in zip(content["annotations"], xy, strict=True):
        assert same_points(annotation, points)


@pytest.mark.parametrize("how", ["relation", "parentID"])
def test_keypoints_belong_to_their_rectangle(tmp_path: Path, how: str) -> None:
    write_pictures(tmp_path, ["a.png"])
    xy = truth(1, 2)[0]
    result = [rectangle("r0", (1, 2, 30, 40), "mouse"), rectangle("r1", (5, 6, 20, 21), "rat")]
    for animal, points in enumerate(xy):
        for k, p in enumerate(points):
            id_ = f"p{animal}{k}"
            more = {"parentID": f"r{animal}"} if how == "parentID" else {}
            result.append(point(id_, NAMES[k], p, **more))
            if how == "relation":
                pair = (id_, f"r{animal}") if k % 2 else (f"r{animal}", id_)
                result.append({"type": "relation", "from_id": pair[0], "to_id": pair[1]})
    file = export(tmp_path / "export.json", [result], ["a.png"])
    out = tmp_path / "coco.json"
    assert main(["import", str(file), str(out)]) == 0
    content = json.loads(out.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    assert [names[a["category_id"]] for a in content["annotations"]] == ["mouse", "rat"]
    assert np.allclose(content["annotations"][0]["bbox"], [1, 2, 30, 40])
    for annotation, points in zip(content["annotations"], xy, strict=True):
        assert same_points(annotation, points)


def test_what_sleap_io_writes_is_read(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    from tests.labels.test_sleap import labels_of

    write_pictures(tmp_path, ["a.png", "b.png"])
    video = sio.Video.from_filename([str(tmp_path / n) for n in ("a.png", "b.png")])
    xy = truth(2, 2)
    sio.save_labelstudio(labels_of(video, xy), str(tmp_path / "export.json"))
    labels = read_label_studio(tmp_path / "export.json")
    order = [labels.keypoints.index(name) for name in NAMES]
    for picture, animals in zip(labels.pictures, xy, strict=True):
        assert picture.file is not None and picture.file.is_file()
        for animal, points in zip(picture.animals, animals, strict=True):
            there = np.isfinite(points).all(axis=1)
            assert np.array_equal(animal.keypoints[order, 2] > 0, there)
            assert np.allclose(animal.keypoints[order][there, :2], points[there])


def test_cancelled_tasks_are_left_out_and_second_opinions_counted(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png", "b.png"])
    file = export(
        tmp_path / "e.json", [[point("p", "tail", np.array([4.0, 5.0]))]] * 2, ["a.png", "b.png"]
    )
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"][0]["was_cancelled"] = True
    tasks[1]["annotations"] *= 2
    file.write_text(json.dumps(tasks))
    labels = read_label_studio(file)
    assert [p.name for p in labels.pictures] == ["b.png"]
    assert labels.remarks == ["1 tasks were labelled more than once: the first counts"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not a json file"),
        ("{}", "expected a list of tasks"),
        ('[{"id": 5}]', "task 5 is not in Label Studio's format"),
        ('[{"annotations": [{"result": [{"type": "keypointlabels", "id": "p"}]}]}]', "task 1"),
        ('[{"annotations": [{"result": []}], "data": {"image": "a.png"}}]', "nothing to import"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_studio(tmp_path / "e.json")
