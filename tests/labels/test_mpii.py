from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.cli import main
from genloc.labels.mpii import JOINTS, read_mpii
from tests.labels.make_labels import write_pictures


def test_the_published_list_is_read(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "mmpose_samples" / "mpii" / "test_mpii.json"
    out = tmp_path / "coco.json"
    assert main(["import", str(source), str(out)]) == 0
    content = json.loads(out.read_text())
    records = json.loads(source.read_text())
    assert len(content["annotations"]) == len(records) == 5
    name = {i["id"]: Path(i["file_name"]).name for i in content["images"]}
    for annotation, record in zip(content["annotations"], records, strict=True):
        assert name[annotation["image_id"]] == record["image"]
        rows = np.reshape(annotation["keypoints"], (16, 3))
        seen = np.array(record["joints_vis"]) > 0
        assert np.array_equal(rows[:, 2] > 0, seen)
        assert np.allclose(rows[seen, :2] + 1, np.array(record["joints"])[seen], atol=1e-3)
        assert annotation["scale"] == record["scale"] and "head_size" not in annotation
        assert np.allclose(np.array(annotation["center"]) + 1, record["center"])
    # the positions are on people: mmpose's own conversion of the same photographs agrees in place
    assert content["categories"][0]["name"] == "person"
    assert main(["check", str(out), "--no-sheet"]) == 0


def test_a_mat_as_matlab_saves_it(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")

    def rectangle(points: list[tuple[int, float, float, object]]) -> dict:
        fields = [{"id": i, "x": x, "y": y, "is_visible": v} for i, x, y, v in points]
        head = {"x1": 1.0, "y1": 2.0, "x2": 31.0, "y2": 42.0} if len(points) > 1 else {"x1": 1.0}
        where = {"scale": 2.0, "objpos": {"x": 12.0, "y": 23.0}}
        return head | where | {"annopoints": {"point": np.array(fields, dtype=object)}}

    def entry(name: str, rectangles: list[dict]) -> dict:
        return {"image": {"name": name}, "annorect": np.array(rectangles, dtype=object)}

    people = [rectangle([(9, 11.0, 21.0, []), (0, 5.5, 7.0, 1)]), rectangle([(6, 3.0, 4.0, 0)])]
    content = {
        "annolist": np.array(
            [
                entry("a.jpg", people),
                entry("test.jpg", [{"x1": 1.0}]),
                entry("b.jpg", [rectangle([(15, 2.0, 2.0, "1"), (14, 3.0, 3.0, "0")])]),
            ],
            dtype=object,
        ),
        "img_train": np.array([1, 0, 1]),
    }
    io.savemat(tmp_path / "mpii.mat", {"RELEASE": content})
    write_pictures(tmp_path / "images", ["a.jpg", "b.jpg"])
    labels = read_mpii(tmp_path / "mpii.mat")
    assert [p.name for p in labels.pictures] == ["a.jpg", "b.jpg"]
    first, second = labels.pictures[0].animals
    (third,) = labels.pictures[1].animals
    assert first.keypoints[JOINTS.index("head_top")].tolist() == [10, 20, 2]
    assert first.keypoints[JOINTS.index("right_ankle")].tolist() == [4.5, 6, 2]
    assert second.keypoints[JOINTS.index("pelvis")].tolist() == [2, 3, 1]
    assert third.keypoints[JOINTS.index("left_elbow")].tolist() == [2, 2, 1]
    assert third.keypoints[JOINTS.index("left_wrist")].tolist() == [1, 1, 2]
    assert (first.keypoints[:, 2] > 0).sum() == 2
    # The diagonal of a rectangle of 30 x 40 is 50.
    assert first.more == {"head_size": 30, "center": [11, 22], "scale": 2}
    assert second.more == {"center": [11, 22], "scale": 2}, "a rectangle with sides missing"
    assert main(["import", str(tmp_path / "mpii.mat"), str(tmp_path / "coco.json")]) == 0
    written = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [one.get("head_size") for one in written] == [30, None, 30]
    assert written[0]["scale"] == 2 and written[0]["id"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"joints": [[1, 2]], "joints_vis": [1], "image": "a.jpg"}]', "record 1 is not MPII's"),
        ('{"a": 1}', "record 1 is not MPII's"),
        ("[]", "nothing to import"),
        ("[", "not a json file"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_mpii(tmp_path / "a.json")
    (tmp_path / "a.mat").write_text(text)
    with pytest.raises(ValueError, match=r"not MPII's \.mat|needs scipy"):
        read_mpii(tmp_path / "a.mat")
