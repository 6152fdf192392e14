"""What the page's server refuses: requests that other sites make in the same browser, and more than fits.

A browser lets any site send a form to 127.0.0.1; it cannot read the answer, but files would be kept. See
https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html and
https://www.w3.org/TR/fetch-metadata/. Written as ASGI middleware, https://asgi.readthedocs.io.
"""

from __future__ import annotations

from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

READING = ("GET", "HEAD", "OPTIONS")
MOST_FILES = (
    16  # of one request: some more than the page takes at once, so that the page can say so
)
MOST_REQUEST = 200_000_000  # bytes of one request
MOST_KEPT = 1_000_000_000  # bytes in the page's folder


class OwnPageOnly:
    """Refuses what another site's page sends; programs, which name no site, may go on."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers 403, or hands on."""
        if scope["type"] == "http" and scope["method"] not in READING and _foreign(scope):
            await _refuse("This page takes nothing from other sites.", 403, scope, receive, send)
        else:
            await self.app(scope, receive, send)


class BoundedUploads:
    """Bounds the files of a request, its bytes, and what lies in the page's folder.

    Args:
        app: what is behind it.
        folder: where the page's files lie.
        most_files, most_request, most_kept: the bounds; the latter two in bytes.
    """

    def __init__(
        self,
        app: Any,
        folder: Path,
        most_files: int = MOST_FILES,
        most_request: int = MOST_REQUEST,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self.app = app
        self.folder = folder
        self.most_files = most_files
        self.most_request = most_request
        self.most_kept = most_kept
        self.under_way = 0  # bytes of requests that are being read

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers 413 where the folder is full already, else hands on and counts."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self.app(scope, receive, send)
            return
        from starlette.concurrency import run_in_threadpool
        from starlette.formparsers import MultiPartException

        room = self.most_kept - self.under_way - await run_in_threadpool(_bytes_in, self.folder)
        boundary = _boundary(scope)
        if boundary and room <= 0:
            await _refuse(_FULL, 413, scope, receive, send)
            return
        read, files, tail = 0, 0, b""

        async def counted() -> Any:
            # This exception alone makes the parser behind remove what it has written of the request.
            nonlocal read, files, tail
            message = await receive()
            if not boundary:
                return message
            if message["type"] == "http.disconnect":
                raise MultiPartException("The upload was broken off.")
            body = message.get("body", b"")
            read += len(body)
            self.under_way += len(body)
            joined = tail + body
            files += joined.count(boundary)
            tail = joined[-(len(boundary) - 1) :]
            if files > self.most_files + 1:  # the last boundary ends the request
                raise MultiPartException(f"At most {self.most_files} files are taken at once.")
            if read > self.most_request:
                raise MultiPartException(
                    "These files are larger than the maximum allowed size of "
                    f"{self.most_request / 1e6:.3g} MB together."
                )
            if read > room:
                raise MultiPartException(_FULL)
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            self.under_way -= read


_FULL = "The page's files have reached the maximum allowed size: wait until the oldest are deleted."


def _headers(scope: Any) -> dict[bytes, str]:
    return {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _foreign(scope: Any) -> bool:
    headers = _headers(scope)
    if headers.get(b"sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin).netloc != headers.get(b"host")


def _boundary(scope: Any) -> bytes:
    """What stands before each part of a form with files; b"" for another request."""
    kind = Message()
    kind["content-type"] = _headers(scope).get(b"content-type", "")
    boundary = kind.get_boundary()
    if kind.get_content_maintype() != "multipart" or boundary is None:
        return b""
    return b"--" + boundary.encode("latin-1")


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except OSError:  # deleted meanwhile
            continue
    return total


async def _refuse(why: str, status: int, scope: Any, receive: Any, send: Any) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(why, status)(scope, receive, send)
