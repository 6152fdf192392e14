"""The page on an adapter that is asked by words, in a browser: what it finds is the predictor's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from genloc.app.picture import zoo_pictures
from genloc.app.serve import serving
from genloc.app.tasks import Tasks
from genloc.predictor import KeypointPredictor
from genloc.skeleton import AP10K
from tests.make_adapter import write_text_adapter

pytest.importorskip("gradio", reason="the extra app is not installed")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_adapter(tmp_path_factory.mktemp("words"))


@pytest.fixture
def page(adapter: Path, browser: Any) -> Iterator[tuple[Any, Path]]:
    """The page, and the folder of its files."""
    with serving(Tasks.of_adapter(adapter, device="cpu")) as (url, folder):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_selector("#picture img")
        yield page, folder
        page.close()


def row(page: Any, name: str, number: int) -> list[str]:
    """Of the table, as it is read."""
    cells = page.locator(f"#table-{name} [role=gridcell][data-row='{number}']")
    return [text.strip() for text in cells.all_inner_texts()]


def downloaded(page: Any, name: str, file: Path) -> COCO:
    with page.expect_download() as download:
        page.click(f"#save-{name}")
    download.value.save_as(file)
    return COCO(str(file))


@pytest.mark.slow
def test_keypoints_and_words_are_the_predictors(
    page: tuple[Any, Path], adapter: Path, tmp_path: Path
) -> None:
    shown, folder = page
    # Cut off at one side, and larger than what is kept of it.
    rgb = cv2.resize(zoo_pictures()[3].rgb[:300], (2048, 1600))
    cv2.imwrite(str(tmp_path / "mine.png"), rgb[..., ::-1])
    before = shown.locator("#picture img").first.get_attribute("src")
    shown.locator("#upload input[type=file]").set_input_files(tmp_path / "mine.png")
    shown.wait_for_function(
        "before => document.querySelector('#picture img').src != before", arg=before
    )
    phrases = ["the left front paw", "the nose"]
    shown.get_by_role("tab", name="Words").click()
    shown.locator("#phrases textarea").fill("\n the left  front paw\nthe nose\n\n")
    for tab, name, asked, names in (
        ("Words", "words", phrases, phrases),
        ("Keypoints", "keypoints", [], AP10K.keypoints),
    ):
        shown.get_by_role("tab", name=tab).click()
        shown.click(f"#find-{name}")
        shown.wait_for_selector(f"#maps-{name} img")
        assert shown.locator(f"#maps-{name} .thumbnail-item").count() == len(names)
        predictor = KeypointPredictor.from_pretrained(adapter, phrases=asked, device="cpu")
        truth = predictor(cv2.resize(rgb, (1600, 1250), interpolation=cv2.INTER_AREA))
        xy = (truth.xy[0] + 0.5) * 2048 / 1600 - 0.5

        found = downloaded(shown, name, tmp_path / f"{name}.json")
        (image,) = found.loadImgs(found.getImgIds())
        assert (image["file_name"], image["width"], image["height"]) == ("mine.png", 2048, 1600)
        (answer,) = found.loadAnns(found.getAnnIds())
        assert found.loadCats(1)[0]["keypoints"] == list(names)
        np.testing.assert_allclose(np.reshape(answer["keypoints"], (-1, 3))[:, :2], xy, atol=0.02)
        np.testing.assert_allclose(answer["keypoint_scores"], truth.scores[0], atol=1e-5)
        for k in range(2):  # a long table is drawn in part
            _, said, x, y, _ = row(shown, name, k)
            assert said == names[k]
            np.testing.assert_allclose([float(x), float(y)], xy[k], atol=0.06)
    assert not list(folder.rglob("mine.png"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:never read")
def test_words_that_were_never_read_are_said_beside_the_answer(page: tuple[Any, Path]) -> None:
    shown, _ = page

    def click(phrases: str) -> None:
        shown.get_by_role("tab", name="A place").click()
        shown.locator("#candidates textarea").fill(phrases)
        shown.locator("#picture img").first.click(position={"x": 120, "y": 120})

    shown.get_by_role("tab", name="Words").click()
    shown.locator("#phrases textarea").fill("the nose of a gizmo")
    shown.click("#find-words")
    unread = "The prior has never read gizmo: it spells out"
    shown.locator("#unread-words").get_by_text(unread).wait_for()
    shown.locator("#phrases textarea").fill("the nose")
    shown.click("#find-words")
    shown.locator("#unread-words").wait_for(state="hidden")

    click("the nose")
    shown.get_by_text("write at least two candidates").first.wait_for()
    # and the picture stays in sight
    click("the nose\na gizmo of the dog")
    shown.locator("#unread-candidates").get_by_text(unread).wait_for()
    shown.locator("#names").get_by_text("a gizmo of the dog").first.wait_for()


@pytest.mark.slow
def test_mistakes_are_a_line_and_the_page_goes_on(page: tuple[Any, Path], tmp_path: Path) -> None:
    shown, folder = page
    for i in range(17):
        cv2.imwrite(str(tmp_path / f"p{i}.png"), np.full((40, 60, 3), 10 * i, np.uint8))
    (tmp_path / "fake.png").write_text("no picture")

    def says(message: str) -> None:
        shown.get_by_text(message).first.wait_for()

    shown.get_by_role("tab", name="Words").click()
    for phrases, message in (
        ("", "Write what to look for"),
        ("\n".join(f"the {i}" for i in range(50)), "these are 50"),
        ("xyzzy", "knows none of its words"),
    ):
        shown.locator("#phrases textarea").fill(phrases)
        shown.click("#find-words")
        says(message)

    shown.get_by_role("tab", name="An example").click()
    says("This adapter was not trained with examples")
    shown.click("#find-example")
    says("The example has no point yet")
    for names, message in (
        (["p0", "fake", "p1"], "fake.png cannot be read"),
        ([f"p{i}" for i in range(9)], "These are 9 pictures; 8 more"),
        ([f"p{i}" for i in range(17)], "At most 16 files"),
    ):
        given = [tmp_path / f"{name}.png" for name in names]
        shown.locator("#more input[type=file]").set_input_files(given)
        says(message)
        assert not list(folder.rglob("*.png"))  # what is drawn is webp
    shown.locator("#more input[type=file]").set_input_files(
        [tmp_path / "p0.png", tmp_path / "p1.png"]
    )
    shown.wait_for_selector("#further img")
    assert shown.locator("#further img").count() == 2
