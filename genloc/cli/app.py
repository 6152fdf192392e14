"""`genloc app`: a page to try it in the browser, on this machine alone"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence


def run(arguments: Sequence[str]) -> None:
    """a page to try it in the browser, on this machine alone"""
    parser = argparse.ArgumentParser(
        prog="genloc app",
        description="A page in the browser: keypoints of a picture, words, an example, a place. It is for this "
        "machine alone, sends nothing anywhere, and deletes what it is given. Ctrl-C ends it.",
    )
    parser.add_argument(
        "--adapter",
        help="what training wrote (runs/<name>/adapter), or a hub id; without it, what the prior alone can do",
    )
    parser.add_argument(
        "--prior",
        help="where the weights of its prior are, if not where the adapter says; without an adapter: tiny",
    )
    parser.add_argument("--port", type=int, help="of 127.0.0.1 (the first free one from 7860)")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (%(default)s)"
    )
    parser.add_argument(
        "--browser", action=argparse.BooleanOptionalAction, default=True, help="open a browser, too"
    )
    given = parser.parse_args(arguments)
    if given.port is not None and not 1 <= given.port <= 65535:
        raise ValueError(f"--port is {given.port}, expected 1 to 65535")

    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise ValueError('the page needs gradio, which is not installed: pip install "genloc[app]"')

    from genloc.app.serve import serving
    from genloc.app.tasks import Tasks

    if given.adapter is None:
        tasks = Tasks.untrained(given.prior or "tiny", device=given.device)
    else:
        tasks = Tasks.of_adapter(given.adapter, prior=given.prior, device=given.device)

    over = threading.Event()
    # SIGHUP comes when the terminal is closed; under nohup it is ignored, and stays so.
    ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ends = [number for number in ends if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: over.set()) for number in ends}
    try:
        with serving(tasks, port=given.port) as (url, _):
            print(f"{url}  (Ctrl-C ends it)", flush=True)
            if given.browser:
                import webbrowser

                webbrowser.open(url)
            try:
                over.wait()
            except KeyboardInterrupt:
                print("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
