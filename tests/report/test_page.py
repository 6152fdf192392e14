"""The page is whole, asks nobody for anything, escapes what it is given, and reads in a browser."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from genloc.cli import main
from genloc.report.page import write_report
from tests.browsers import browser_program
from tests.report.make_record import write_scores

VOID = {"meta", "link", "img", "br"}


def write_run(run: Path, instances: int = 24) -> Path:
    """A run's folder as `genloc test` leaves it after a training."""
    run.mkdir(parents=True)
    write_scores(run, instances)
    (run / "config.yaml").write_text("name: a & b\nroot: '</pre><b>'\n")
    return run


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("runs") / "one <i>run"))


class Outline(HTMLParser):
    """Checks that every element is closed where it should be, and keeps what is of interest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def outline(page: Path) -> Outline:
    parser = Outline()
    parser.feed(page.read_text(encoding="utf-8"))
    parser.close()
    return parser


def test_it_is_well_formed_and_small(page: Path, outline: Outline) -> None:
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids)), "an id stands twice"
    assert page.stat().st_size < 5e6
    assert [p.name for p in page.parent.glob("*.part")] == []
    inner = {a["href"] for tag, a in outline.tags if tag == "a" and str(a["href"]).startswith("#")}
    assert inner and {str(i)[1:] for i in inner} <= set(outline.ids)


def test_it_asks_nobody_for_anything(page: Path, outline: Outline) -> None:
    for tag, given in outline.tags:
        for name in ("src", "srcset", "data", "xlink:href"):
            assert str(given.get(name, "data:")).startswith(("data:", "#")), (tag, given)
        if tag == "link":
            assert str(given["href"]).startswith("data:")
    style = re.search(r"<style>(.*?)</style>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]


def test_what_it_is_given_is_escaped(page: Path, outline: Outline) -> None:
    text = page.read_text(encoding="utf-8")
    for never in ("<script>alert", "<i>run", "<b>dog", "</pre><b>"):
        assert never not in text
    said = " ".join("".join(outline.text).split())
    for shown in ("one <i>run: test", "<b>dog</b>", "<script>alert(1)</script>", "name: a & b"):
        assert shown in said


def test_it_says_the_numbers(outline: Outline) -> None:
    said = " ".join("".join(outline.text).split())
    assert "this run, sigmas ap10k-legacy 47.0–61.0" in said
    for number in ("50.0", "62.5", "2 of 26 instances have no result", "Ronchi and Perona"):
        assert number in said
    assert "nan" not in said.replace("nand", "").lower().split()
    for section in ("scores", "curves", "errors", "keypoints", "species", "calibration", "worst",
                    "median", "protocol"):  # fmt: skip
        assert section in outline.ids


def test_pictures_have_words_and_can_be_decoded(outline: Outline) -> None:
    pictures = [given for tag, given in outline.tags if tag == "img"]
    assert len(pictures) == 2 * 16
    assert all(given["alt"] for given in pictures)
    data = base64.b64decode(str(pictures[0]["src"]).partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (420, 420, 3)


def test_charts_take_the_colours_of_the_page(page: Path, outline: Outline) -> None:
    text = page.read_text(encoding="utf-8")
    assert len([1 for tag, _ in outline.tags if tag == "svg"]) == 4
    assert "currentColor" in text and "#010203" not in text
    named = re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', text)
    assert named and set(named) <= set(outline.ids)


def test_the_same_run_gives_the_same_page(page: Path, tmp_path: Path) -> None:
    again = write_report(page.parent, tmp_path / "deep" / "again.html")
    assert again.read_bytes() == page.read_bytes()


def test_the_command_writes_it_or_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", instances=3)
    (run / "config.yaml").unlink()  # a run tested without training
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    assert str(run / "report.html") in capsys.readouterr().out
    for arguments, message in [
        (["report", str(tmp_path / "none")], "score the run first"),
        (["report", str(run), "--set", "val"], "no set 'val'"),
    ]:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    for name, content, message in [
        ("results-test.json", b"[]", "of another evaluation"),
        ("record-test.npz", b"", "cannot be read as the record"),
        ("metrics.json", b"{", "cannot be read"),
    ]:
        (run / name).write_bytes(content)
        assert main(["report", str(run)]) == 2
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error


@pytest.mark.slow
def test_a_browser_shows_it(page: Path, tmp_path: Path) -> None:
    """Nothing sticks out at the side, tables sort, light and dark are readable, no error is logged."""
    browser = browser_program()
    probe = """<script>addEventListener("load", () => {
      const errors = []; addEventListener("error", e => errors.push(e.message));
      const table = document.getElementById("keypoints-table"), cell = i =>
        [...table.tBodies[0].rows].map(row => row.cells[i].textContent);
      table.querySelectorAll("thead button")[2].click(); const down = cell(2);
      table.querySelectorAll("thead button")[2].click(); const up = cell(2);
      const style = getComputedStyle(document.body);
      const chart = getComputedStyle(document.querySelector("svg text, svg g"));
      document.title = JSON.stringify({errors, down, up,
        wide: document.documentElement.scrollWidth - innerWidth,
        paper: style.backgroundColor, ink: style.color, chart: chart.color,
        broken: [...document.images].filter(i => (i.loading = "eager", i.complete && !i.naturalWidth)).length});
    });</script>"""
    looked = tmp_path / "looked.html"
    looked.write_text(page.read_text(encoding="utf-8") + probe, encoding="utf-8")

    def see(width: int, *more: str) -> dict[str, Any]:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}", *more]
        command += [f"--window-size={width},2000", "--virtual-time-budget=4000", "--dump-dom"]
        done = subprocess.run([*command, looked.as_uri()], capture_output=True, text=True, timeout=120)  # fmt: skip
        title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
        assert title, done.stderr[-2000:]
        return json.loads(title[1])

    light, dark = see(1280), see(1280, "--blink-settings=preferredColorScheme=0")
    narrow = see(500)
    for seen in (light, dark, narrow):
        assert seen["errors"] == [] and seen["broken"] == 0 and seen["wide"] <= 0
        values = [float(v) for v in seen["down"]]
        assert values == sorted(values, reverse=True)
        assert [float(v) for v in seen["up"]] == sorted(values)
        assert seen["chart"] == seen["ink"]
        assert contrast(seen["paper"], seen["ink"]) > 7
    assert light["paper"] != dark["paper"]


def contrast(one: str, other: str) -> float:
    """Of two CSS colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = np.array([int(v) for v in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
