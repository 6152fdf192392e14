"""What another site asks for is refused, and no more is kept than fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import anyio
import pytest

from genloc.app import guard
from genloc.app.guard import MOST_FILES, BoundedUploads
from genloc.app.serve import serving
from genloc.app.tasks import Tasks

pytest.importorskip("gradio", reason="the extra app is not installed")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Path]]:
    with serving(Tasks.untrained(device="cpu")) as page:
        yield page


def form(sizes: list[int]) -> bytes:
    """As a browser sends files of these sizes."""
    head = '--x\r\nContent-Disposition: form-data; name="files"; filename="{}.png"\r\n\r\n'
    parts = [head.format(i).encode() + bytes(size) + b"\r\n" for i, size in enumerate(sizes)]
    return b"".join(parts) + b"--x--\r\n"


def send(url: str, body: bytes, **headers: str) -> tuple[int, str]:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        with urlopen(Request(f"{url}gradio_api/upload", body, kind | headers), timeout=30) as got:
            return got.status, got.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another program's page on this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_can_send_nothing(served: tuple[str, Path], headers: dict[str, str]) -> None:
    url, folder = served
    before = files(folder)
    status, said = send(url, form([1000]), **headers)
    assert status == 403 and "other sites" in said
    assert files(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_the_page_itself_and_programs_can(served: tuple[str, Path], named: bool) -> None:
    url, folder = served
    own = {"Origin": f"http://{urlsplit(url).netloc}", "Sec-Fetch-Site": "same-origin"}
    status, said = send(url, form([1000 + named] * MOST_FILES), **(own if named else {}))
    assert status == 200
    for path in map(Path, json.loads(said)):
        assert folder in path.parents
        path.unlink()


@pytest.mark.slow
def test_many_files_in_one_request_are_refused_and_none_is_kept(served: tuple[str, Path]) -> None:
    url, folder = served
    before = files(folder)
    status, said = send(url, form([1000] * 200))
    assert status == 400 and f"At most {MOST_FILES} files" in said
    assert files(folder) == before


@pytest.mark.slow
def test_bytes_are_bounded_by_request_and_in_all(
    monkeypatch: pytest.MonkeyPatch, served: tuple[str, Path], tmp_path: Path
) -> None:
    """On a page of small bounds, as on a large one of large bounds."""
    used = sum(path.stat().st_size for path in files(served[1]))
    small = (guard.MOST_FILES, 300_000, used + 500_000)
    monkeypatch.setattr(BoundedUploads.__init__, "__defaults__", small)
    with serving(Tasks.untrained(device="cpu")) as (url, folder):
        before = files(folder)
        status, said = send(url, form([200_000, 200_000]))
        assert status == 413 and "0.3 MB together" in said and files(folder) == before
        for size in (200_001, 200_002):
            assert send(url, form([size]))[0] == 200
        kept = files(folder)
        status, said = send(url, form([200_003]))
        assert status == 413 and "wait until" in said and files(folder) == kept


def test_an_upload_that_is_broken_off_ends_for_the_parser(tmp_path: Path) -> None:
    """The only exception after which the parser removes what it has written so far."""
    from starlette.formparsers import MultiPartException

    said: list[str] = []

    async def parser(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"--x\r\n"
        assert bounded.under_way == 5
        try:
            await receive()
        except MultiPartException as error:
            said.append(error.message)

    messages = [{"type": "http.request", "body": b"--x\r\n"}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    bounded = BoundedUploads(parser, tmp_path)
    kind = [(b"content-type", b'multipart/form-data; boundary="x"')]
    anyio.run(bounded, {"type": "http", "method": "POST", "headers": kind}, receive, None)
    assert said == ["The upload was broken off."]
    assert bounded.under_way == 0


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_files_are_counted_however_the_request_is_cut(tmp_path: Path, piece: int) -> None:
    from starlette.formparsers import MultiPartException

    async def parser(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    def ask(count: int) -> None:
        body = form([3] * count)
        pieces = [body[i : i + piece] for i in range(0, len(body), piece)]

        async def receive() -> Any:
            body = pieces.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(pieces)}

        kind = [(b"content-type", b"multipart/form-data; boundary=x")]
        scope = {"type": "http", "method": "POST", "headers": kind}
        anyio.run(BoundedUploads(parser, tmp_path, most_files=3), scope, receive, None)

    ask(3)
    with pytest.raises(MultiPartException, match="At most 3"):
        ask(4)
