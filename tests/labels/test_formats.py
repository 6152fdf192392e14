"""Which reader a file gets, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genloc.cli import main
from genloc.cli.import_ import FORMATS as OFFERED
from genloc.labels.coco_file import picture_size, write_coco
from genloc.labels.formats import FORMATS, guess_format
from genloc.labels.labelled import Animal, Labelled, Picture, Pictures
from tests.labels.make_labels import write_pictures


def test_the_command_knows_all_formats() -> None:
    assert tuple(FORMATS) == OFFERED


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.csv", "scorer,me\nbodyparts,a\ncoords,x\n", "deeplabcut"),
        ("a.h5", "", "deeplabcut"),
        ("a.pkg.slp", "", "sleap"),
        ("annotations.xml", "", "cvat"),
        ("a.mat", "", "mpii"),
        ("a.json", '[{"joints": [], "joints_vis": [], "image": ""}]', "mpii"),
        ("a.json", '[{"annotations": []}]', "label-studio"),
        ("a.json", '[{"completions": []}]', "label-studio"),
        ("config.yaml", "", "deeplabcut-project"),
    ],
)
def test_the_format_is_seen(tmp_path: Path, name: str, text: str, form: str) -> None:
    (tmp_path / name).write_text(text)
    assert guess_format(tmp_path / name) == form


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "what tool is it from"),
        ("a.zip", "", "unpack it first"),
        ("a.json", "[{}]", "JSON-MIN"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "genloc check"),
        ("a.json", "{", "not a json file"),
    ],
)
def test_an_unknown_format_is_said(
    tmp_path: Path, name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert main(["import", str(tmp_path / name), str(tmp_path / "out.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_an_existing_file_is_kept_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.json").write_text("mine")
    assert main(["import", "none", str(tmp_path / "out.json")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["import", "none", str(tmp_path / "out.txt")]) == 2
    assert main(["import", "none", str(tmp_path / "new.json")]) == 2
    assert "no file or folder" in capsys.readouterr().err
    assert (tmp_path / "out.json").read_text() == "mine"


def one(file: Path | None, keypoints: object, **more: object) -> Labelled:
    animal = Animal(np.array(keypoints, float), **more)  # type: ignore[arg-type]
    return Labelled("a tool", ("a", "b"), ((0, 1),), [Picture("p.png", file, (animal,))])


def test_a_box_is_made_of_keypoints_and_said(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["p.png"])
    content = write_coco(one(tmp_path / "p.png", [[10, 20, 2], [40, 30, 1]]), tmp_path / "o.json")
    (annotation,) = content["annotations"]
    assert annotation["bbox"] == [7, 17, 36, 16]  # 3 = a tenth of 30 on each side
    assert annotation["area"] == 36 * 16
    assert annotation["num_keypoints"] == 2
    assert "wider on each side by 0.1" in content["info"]["note"]
    assert json.loads((tmp_path / "o.json").read_text()) == content
    near = write_coco(one(tmp_path / "p.png", [[1, 1, 2], [63, 47, 2]]), tmp_path / "o.json")
    assert near["annotations"][0]["bbox"] == [0, 0, 64, 48]  # cut to the picture
    outside = write_coco(one(tmp_path / "p.png", [[70, 60, 2], [80, 60, 2]]), tmp_path / "o.json")
    assert outside["annotations"][0]["bbox"] == [68, 58, 14, 4]


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    write_pictures(tmp_path, ["p.png"])
    write_coco(one(tmp_path / "p.png", [[10, 20, 2], [40, 30, 2]]), tmp_path / "o.json")
    coco = COCO(str(tmp_path / "o.json"))
    found = coco.loadRes(
        [{"image_id": 1, "category_id": 1, "keypoints": [10, 20, 1, 40, 30, 1], "score": 1.0}]
    )
    score = COCOeval(coco, found, "keypoints")
    score.params.kpt_oks_sigmas = np.array([0.05, 0.05])
    score.evaluate()
    score.accumulate()
    score.summarize()
    assert score.stats[0] == pytest.approx(1)


def test_sleap_io_reads_what_is_written(tmp_path: Path) -> None:
    sleap_io = pytest.importorskip("sleap_io")
    write_pictures(tmp_path, ["p.png"])
    write_coco(one(tmp_path / "p.png", [[10, 20, 2], [40, 30, 2]]), tmp_path / "o.json")
    (frame,) = sleap_io.load_coco(str(tmp_path / "o.json"))
    (instance,) = frame.instances
    np.testing.assert_array_equal(instance.numpy(), [[10, 20], [40, 30]])


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["p.png"])
    labels = one(tmp_path / "p.png", [[np.nan, 20, 2], [40, 30, 2]])
    with pytest.raises(ValueError):
        write_coco(labels, tmp_path / "o.json")
    (tmp_path / "p.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"cannot read image .*p\.png"):
        write_coco(one(tmp_path / "p.png", [[1, 2, 2], [4, 3, 2]]), tmp_path / "o.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.png"]


def test_the_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", exif=exif)
    assert picture_size(tmp_path / "a.jpg") == (24, 40)


def test_pictures_are_found_by_ever_shorter_names(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["film/a.png", "b.png"])
    finder = Pictures([tmp_path])
    assert finder.find("C:\\work\\film\\a.png") == tmp_path / "film" / "a.png"
    assert finder.find("/elsewhere/b.png") == tmp_path / "b.png"
    assert finder.find("../b.png") == tmp_path / "b.png"
    assert finder.find("c.png") is None
    with pytest.raises(FileNotFoundError, match="images: no folder"):
        Pictures([tmp_path / "none"])
