"""Runs the page for this machine alone, and leaves nothing behind.

Gradio binds 127.0.0.1; what it would fetch from outside or report is switched off, and every answer
tells the browser to refuse anything from elsewhere (Content-Security-Policy,
https://www.w3.org/TR/CSP3/). Its files lie in a folder of their own that goes at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genloc.app.folder import own_folder
from genloc.app.guard import BoundedUploads, OwnPageOnly

if TYPE_CHECKING:
    from genloc.app.tasks import Tasks

LOCAL = ("127.0.0.1", "localhost")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
}
# Read by gradio when it is imported or when a page is made.
SILENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class OwnHeaders:
    """ASGI middleware: `HEADERS` on every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See https://asgi.readthedocs.io."""

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self.app(scope, receive, with_headers)


@contextmanager
def serving(
    tasks: Tasks,
    *,
    port: int | None = None,
    forget: int | None = None,
    sweep: int | None = None,
) -> Iterator[tuple[str, Path]]:
    """The page, for as long as the block runs.

    Args:
        tasks: what answers.
        port: of 127.0.0.1; None for the first free one from 7860.
        forget, sweep: see `genloc.app.page.make_page`.

    Yields:
        The page's address, and the folder of its files, which is removed afterwards.

    Raises:
        OSError: the port is taken, or none is free.
        ModuleNotFoundError: gradio is not installed.
    """
    with own_folder() as folder, _environment(SILENT | {"GRADIO_TEMP_DIR": str(folder)}):
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from genloc.app.page import FORGET, SWEEP, make_page
        from genloc.app.picture import zoo_pictures

        page = make_page(
            tasks, zoo_pictures(), folder, forget=forget or FORGET, sweep=sweep or SWEEP
        )
        middleware = [
            # Another site's name that resolves to this machine is refused.
            Middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL)),
            Middleware(OwnHeaders),
            Middleware(OwnPageOnly),
            Middleware(BoundedUploads, folder=folder),
        ]
        try:
            url = _launched(page, port, middleware)
            yield url, folder
        finally:
            page.close(verbose=False)


def _launched(page: Any, port: int | None, middleware: list[Any]) -> str:
    """Start the server in a thread of its own; the page's address."""
    from genloc.app.picture import MOST_BYTES
    from genloc.app.style import CSS, theme

    try:
        _, url, _ = page.launch(
            server_name=LOCAL[0],
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            max_file_size=MOST_BYTES,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=theme(),
            css=CSS,
            app_kwargs={"middleware": middleware},
        )
    except OSError as error:
        if error.errno is not None:
            raise
        # Gradio's own, after the port or its hundred ports were tried.
        said = f"--port {port} is taken; give another or leave it out"
        if port is None:
            said = "no port from 7860 on is free; give one by --port"
        raise OSError(said) from error
    return str(url)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These environment variables, for as long as the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
