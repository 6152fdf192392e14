"""The page from end to end in a browser: nothing leaves this machine, and no file stays."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import cv2
import pytest
from pycocotools.coco import COCO

from genloc.app.picture import MOST_BYTES, zoo_pictures
from genloc.app.serve import serving
from genloc.app.tasks import Tasks
from genloc.cli import main

gradio = pytest.importorskip("gradio", reason="the extra app is not installed")

WAIT = 60_000


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Path, list[str]]]:
    """Address, folder of its files, and every address that this process looked up or connected to."""
    asked: list[str] = []
    patch = pytest.MonkeyPatch()
    lookup, connect = socket.getaddrinfo, socket.socket.connect

    def looked_up(host: Any, *rest: Any, **options: Any) -> Any:
        asked.append(str(host))
        return lookup(host, *rest, **options)

    def connected(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            asked.append(str(address[0]))
        connect(self, address)

    patch.setattr(socket, "getaddrinfo", looked_up)
    patch.setattr(socket.socket, "connect", connected)
    with serving(Tasks.untrained(device="cpu")) as (url, folder):
        yield url, folder, asked
    patch.undo()
    assert not folder.exists()


def answer_to(url: str, **headers: str) -> tuple[int, Any, str]:
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as got:
            return got.status, got.headers, got.read().decode()
    except OSError as error:  # urllib's HTTPError is one
        return getattr(error, "code", 0), getattr(error, "headers", {}), ""


@pytest.mark.slow
def test_it_is_for_this_machine_alone(served: tuple[str, Path, list[str]]) -> None:
    url, folder, _ = served
    assert urlsplit(url).hostname == "127.0.0.1"
    status, headers, text = answer_to(url)
    assert status == 200 and "default-src 'self'" in headers["content-security-policy"]
    config = json.loads(re.findall(r"window.gradio_config = (\{.*?\});</script>", text)[0])
    assert config["analytics_enabled"] is False and config["max_file_size"] == MOST_BYTES
    assert not re.findall(r'<(?:script|link)[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text)
    assert answer_to(url, Host="elsewhere.example")[0] == 400
    assert answer_to(f"{url}gradio_api/file=/etc/passwd")[0] in (403, 404)
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_person_clicks_through_it(
    served: tuple[str, Path, list[str]], browser: Any, tmp_path: Path
) -> None:
    url, folder, asked = served
    one = zoo_pictures()[3]
    cv2.imwrite(str(tmp_path / "mine.png"), one.rgb[..., ::-1])
    (tmp_path / "broken.png").write_bytes((tmp_path / "mine.png").read_bytes()[:3000])
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(WAIT)
    page.goto(url)
    page.wait_for_selector("#picture img")

    def file_of(name: str) -> str:
        return page.locator(f"#{name} img").first.get_attribute("src")

    def click(name: str, x: float, y: float) -> None:
        """At a part of the picture's sides."""
        picture = page.locator(f"#{name} img").first
        around = picture.bounding_box()
        picture.click(position={"x": around["width"] * x, "y": around["height"] * y})

    # What the untrained prior cannot do is said, with the command that trains it.
    for tab, command in (("Keypoints", "tools/quickstart"), ("Words", "configs/words/text.yaml")):
        page.get_by_role("tab", name=tab).click()
        page.get_by_text(command).first.wait_for()

    # A broken picture is one line, a whole one appears; neither file stays.
    for name, message in (("broken.png", "broken.png cannot be read"), ("mine.png", "")):
        before = file_of("picture")
        page.locator("#upload input[type=file]").set_input_files(tmp_path / name)
        if message:  # the message goes when it is closed
            page.get_by_text(message).first.wait_for()
        else:
            page.wait_for_function(
                "before => document.querySelector('#picture img').src != before", arg=before
            )
        assert not list(folder.rglob(name))

    # Two named points on the example, one of them here, and both looked for.
    page.get_by_role("tab", name="An example").click()
    name = page.locator("#point-name").locator("textarea, input").first
    for word, x, y in (("head", 0.15, 0.15), ("foot", 0.35, 0.4)):
        name.fill(word)
        click("support", x, y)
        page.wait_for_function(
            "() => !document.querySelector('#point-name textarea, #point-name input').value"
        )
    page.locator("#more input[type=file]").set_input_files(tmp_path / "mine.png")
    page.wait_for_selector("#further img")
    page.click("#find-example")
    page.wait_for_selector("#maps-example img")
    assert page.locator("#maps-example img").count() == 4
    with page.expect_download() as download:
        page.click("#save-example")
    download.value.save_as(tmp_path / "keypoints.json")
    found = COCO(str(tmp_path / "keypoints.json"))
    assert found.loadCats(1)[0]["keypoints"] == ["head", "foot"]
    assert [i["file_name"] for i in found.loadImgs(found.getImgIds())] == ["mine.png"] * 2
    assert all(a["num_keypoints"] == 2 for a in found.loadAnns(found.getAnnIds()))

    # A click on the picture names the place, in the tab for it.
    click("picture", 0.5, 0.5)
    page.wait_for_selector("#pointed img")
    page.wait_for_function("() => /%/.test(document.querySelector('#names').innerText)")
    assert "head" in page.locator("#names").inner_text()
    page.close()

    outside = [r for r in requests if urlsplit(r).hostname not in ("127.0.0.1", None)]
    assert len(requests) > 20 and outside == [] and errors == []
    assert {host for host in asked if not host.startswith("127.")} <= {"localhost"}


@pytest.mark.slow
def test_an_upload_that_nobody_asked_about_goes_by_itself(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mine.png"), zoo_pictures()[0].rgb)
    with serving(Tasks.untrained(device="cpu"), forget=2, sweep=1) as (url, folder):
        left = upload_only(url, tmp_path / "mine.png")
        assert folder in left.parents and left.is_file()
        until = time.monotonic() + 60
        while time.monotonic() < until and left.exists():
            time.sleep(0.5)
        assert not left.exists()
    assert not folder.exists()


def upload_only(url: str, file: Path) -> Path:
    """Send a file as the page does and do nothing with it; where the server keeps it."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="left.png"\r\n'
    body = head + b"Content-Type: image/png\r\n\r\n" + file.read_bytes() + b"\r\n--x--\r\n"
    asked = Request(
        f"{url}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with urlopen(asked, timeout=30) as got:
        return Path(json.loads(got.read())[0])


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read_and_nothing_sticks_out(
    served: tuple[str, Path, list[str]], browser: Any, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": 420, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(WAIT)
    page.goto(served[0])
    page.wait_for_selector("#picture img")
    seen = page.evaluate(
        """() => {
          const note = document.querySelector('.genloc-note p');
          const number = colour => colour.match(/[\\d.]+/g).slice(0, 3)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          return {tabs: [...document.querySelectorAll('[role=tab]')].map(tab => tab.innerText),
            wide: document.documentElement.scrollWidth - innerWidth,
            ink: number(getComputedStyle(note).color),
            paper: number(getComputedStyle(document.body).backgroundColor)};
        }"""
    )
    page.close()
    assert seen["wide"] <= 0
    assert seen["tabs"] == ["Keypoints", "Words", "An example", "A place"]  # none behind a menu
    assert abs(seen["ink"] - seen["paper"]) > 120
    assert (seen["ink"] > seen["paper"]) == (scheme == "dark")


def test_help_comes_without_torch_and_gradio() -> None:
    code = (
        "import sys\nfrom genloc.cli import main\n"
        "try:\n    main(['app', '--help'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "print('loaded:', sorted({'torch', 'gradio', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--adapter" in done.stdout and "loaded: []" in done.stdout, done.stderr


def test_mistakes_are_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for more, message in (
        (["--port", "99999"], "--port is 99999"),
        (["--adapter", str(tmp_path)], "holds no adapter"),
    ):
        assert main(["app", *more]) == 2
        said = capsys.readouterr().err
        assert message in said and "Traceback" not in said
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["app"]) == 2
    assert 'pip install "genloc[app]"' in capsys.readouterr().err
