from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genloc.cli import main
from genloc.labels.cvat import read_cvat
from genloc.skeleton import load_skeleton
from tests.labels.make_labels import NAMES, write_pictures

LABELS = """
<label><name>mouse</name><type>skeleton</type><attributes></attributes>
<svg>&lt;line x1="1" y1="1" x2="2" y2="2" data-type="edge" data-node-from="1" data-node-to="4"&gt;&lt;/line&gt;
&lt;circle r="1" cx="1" cy="1" data-element-id="1" data-node-id="1" data-label-name="snout"&gt;&lt;/circle&gt;
&lt;circle r="1" cx="2" cy="2" data-element-id="4" data-node-id="4" data-label-name="tail"&gt;&lt;/circle&gt;
</svg></label>
""" + "".join(
    f"<label><name>{n}</name><type>points</type><parent>mouse</parent></label>" for n in NAMES
)


def point(name: str, xy: tuple[float, float], outside: int = 0, occluded: int = 0) -> str:
    return (
        f'<points label="{name}" source="manual" outside="{outside}" occluded="{occluded}" '
        f'points="{xy[0]:.2f},{xy[1]:.2f}"></points>'
    )


def write(path: Path, body: str, labels: str = LABELS) -> Path:
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{body}</annotations>"
    )
    return path


def image(name: str, body: str) -> str:
    return f'<image id="0" name="{name}" width="64" height="48">{body}</image>'


def test_skeletons_are_read_with_hidden_and_outside_points(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ["a.png", "film/b.png"])
    points = (
        point("right_ear", (7, 8)) + point("snout", (1.25, 2.5), occluded=1)
        + point("left_ear", (0, 0), outside=1) + point("tail", (40, 30))
    )  # fmt: skip
    second = '<box label="mouse" xtl="1" ytl="2" xbr="31" ybr="42" group_id="3"></box>'
    second += f'<skeleton label="mouse" group_id="3">{point("snout", (5, 6))}</skeleton>'
    body = image("a.png", f'<skeleton label="mouse">{points}</skeleton>') + image(
        "film/b.png", second
    )
    out = tmp_path / "coco.json"
    assert main(["import", str(write(tmp_path / "annotations.xml", body)), str(out)]) == 0
    content = json.loads(out.read_text())
    assert load_skeleton(out).keypoints == NAMES
    assert load_skeleton(out).edges == ((0, 3),)
    first, other = content["annotations"]
    assert first["keypoints"] == [1.25, 2.5, 1, 0, 0, 0, 7, 8, 2, 40, 30, 2]
    assert other["keypoints"] == [5, 6, 2] + [0] * 9
    assert other["bbox"] == [1, 2, 30, 40]
    assert content["categories"][0]["name"] == "mouse"
    assert [i["file_name"] for i in content["images"]] == ["images/a.png", "images/film/b.png"]


def test_single_points_are_one_animal_a_picture(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png"])
    labels = "<label><name>snout</name><type>points</type></label>"
    body = image("a.png", point("snout", (1, 2)) + point("tail", (3, 4)))
    labelled = read_cvat(write(tmp_path / "a.xml", body, labels))
    assert labelled.keypoints == ("snout", "tail")
    (animal,) = labelled.pictures[0].animals
    assert np.array_equal(animal.keypoints, [[1, 2, 2], [3, 4, 2]])


def test_grouped_points_are_an_animal_each(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png"])
    labels = "<label><name>snout</name><type>points</type></label>"
    one, two = (
        point("snout", xy).replace("<points", f'<points group_id="{group}"')
        + f'<box label="{name}" xtl="{xy[0]}" ytl="0" xbr="40" ybr="40" group_id="{group}"></box>'
        for group, xy, name in ((1, (1, 2), "mouse"), (2, (30, 20), "rat"))
    )
    labelled = read_cvat(write(tmp_path / "a.xml", image("a.png", one + two), labels))
    first, second = labelled.pictures[0].animals
    assert (first.category, second.category) == ("mouse", "rat")
    assert np.array_equal(first.keypoints, [[1, 2, 2]]) and first.box == (1, 0, 39, 40)
    assert np.array_equal(second.keypoints, [[30, 20, 2]]) and second.box == (30, 0, 10, 40)


def test_single_points_beside_skeletons_are_left_out_and_said(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png", "b.png"])
    body = image("a.png", f'<skeleton label="mouse">{point("snout", (5, 6))}</skeleton>')
    body += image("b.png", point("mark", (1, 2)))
    labelled = read_cvat(write(tmp_path / "a.xml", body))
    assert [len(picture.animals) for picture in labelled.pictures] == [1, 0]
    assert labelled.remarks == ["1 points that belong to no skeleton are left out"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (image("a.png", 2 * point("snout", (1, 2))), "'snout'.* are there twice in one animal"),
        ("<track></track>", "export it as `CVAT for images 1.1`"),
        ('<image name="a.png"></image>', "image a.png is not in CVAT's format"),
        (image("a.png", ""), "nothing to import"),
        (image("a.png", point("snout", (1, 2)).replace(",", ";")), "expected one"),
        (image("a.png", point("wing", (1, 2))), "image a.png"),
        (image("a.png", "<skeleton/>"), "image a.png"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_cvat(write(tmp_path / "a.xml", body))


def test_what_is_no_cvat_xml_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("<annotations>", "not an xml file"),
        ("<html></html>", "expected <annotations>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "entities"),
    ):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_cvat(tmp_path / "a.xml")
