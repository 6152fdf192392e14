"""The command itself: it answers over HTTP on an adapter, and leaves nothing however it is ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from genloc.app.picture import zoo_pictures
from genloc.app.serve import serving
from genloc.app.tasks import Tasks
from genloc.cli import main
from genloc.predictor import KeypointPredictor
from tests.make_adapter import write_adapter

pytest.importorskip("gradio", reason="the extra app is not installed")

APP = "import sys\nfrom genloc.cli import main\nsys.exit(main(['app', '--no-browser', *sys.argv[1:]]))"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def press(url: str, button: str, *given: Any) -> list[Any]:
    """What the page gets when a button of it is clicked: the values of the outputs."""
    with urlopen(url, timeout=60) as got:
        text = got.read().decode()
    config = json.loads(re.findall(r"window.gradio_config = (\{.*?\});</script>", text)[0])
    (number,) = (c["id"] for c in config["components"] if c["props"].get("elem_id") == button)
    (asked,) = (
        d["id"] for d in config["dependencies"] if [number, "click"] in map(list, d["targets"])
    )
    body = {"data": [None, *given], "fn_index": asked, "session_hash": "s", "trigger_id": number}
    kind = {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}gradio_api/queue/join", json.dumps(body).encode(), kind)):
        pass
    with urlopen(f"{url}gradio_api/queue/data?session_hash=s", timeout=120) as events:
        for line in events:
            event = json.loads(line[len(b"data:") :]) if line.startswith(b"data:") else {}
            if event.get("msg") == "process_completed":
                assert event["success"], event
                return event["output"]["data"]
    raise AssertionError("no answer")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="another system")
def test_it_answers_and_leaves_nothing_when_the_terminal_is_closed(tmp_path: Path) -> None:
    """As the README's command, on a written adapter."""
    adapter = write_adapter(tmp_path / "made")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-c", APP, "--adapter", str(adapter), "--port", str(free_port())]
    told = os.environ | {"TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, env=told, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        table = press(url, "find-keypoints")[3]["data"]
        one = zoo_pictures()[1]  # the picture that the page begins with
        truth = KeypointPredictor.from_pretrained(adapter, device="cpu")(one.rgb, one.box)
        assert [row[:2] for row in table] == [[one.name, name] for name in truth.names]
        np.testing.assert_allclose([row[2:4] for row in table], truth.xy[0], atol=0.06)
        assert list(temporary.glob("genloc-app-*/**/keypoints.json"))
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
        assert not list(temporary.glob("genloc-app-*"))
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="another system")
def test_which_signals_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM and SIGHUP do, but SIGHUP not under nohup; each is afterwards as it was before."""
    sent: list[int] = []
    ended: list[bool] = []

    @contextmanager
    def page(*_: Any, **__: Any) -> Iterator[tuple[str, Path]]:
        for number in sent:
            os.kill(os.getpid(), number)
        yield "http://127.0.0.1/", Path()
        ended.append(True)

    monkeypatch.setattr("genloc.app.serve.serving", page)
    monkeypatch.setattr("genloc.app.tasks.Tasks.untrained", lambda *_, **__: None)
    given = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    for number in (signal.SIGTERM, signal.SIGHUP):
        sent[:] = [number]
        assert not main(["app", "--no-browser"])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sent[:] = [signal.SIGHUP, signal.SIGTERM]
        assert not main(["app", "--no-browser"])
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[1])
    assert ended == [True] * 3
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before
    signal.signal(signal.SIGHUP, given)


def test_a_port_that_is_taken_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", "--no-browser", "--device", "cpu", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"genloc app: --port {port} is taken; give another or leave it out\n" in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("genloc-app-*"))


def test_without_a_free_port_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*_: Any, **__: Any) -> None:
        raise OSError("Cannot find empty port in range: 7860-7959")

    monkeypatch.setattr("gradio.Blocks.launch", launch)
    page = serving(Tasks.untrained(device="cpu"))
    with pytest.raises(OSError, match=r"no port from 7860 on is free; give one by --port"), page:
        pass
