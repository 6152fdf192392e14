"""A page's folder goes with the page, and what a killed page left goes when the next one starts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from genloc.app.folder import PREFIX, own_folder, remove_left_over

pytest.importorskip("fcntl", reason="locks of another system")

HOLD = (
    "import sys, time\nfrom genloc.app.folder import own_folder\n"
    "with own_folder() as folder:\n    (folder / 'a.png').touch()\n    print(folder, flush=True)\n"
    "    time.sleep(120)"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def held() -> tuple[subprocess.Popen[str], Path]:
    """Another process with a folder of its own."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_goes_at_the_end_also_after_an_error(temporary: Path) -> None:
    with contextlib.suppress(KeyError), own_folder() as folder:
        assert folder.parent == temporary and folder.stat().st_mode & 0o077 == 0
        (folder / "deep").mkdir()
        raise KeyError
    assert not list(temporary.iterdir())


def test_what_a_killed_page_left_goes_and_a_living_one_stays() -> None:
    (dead, left), (living, used) = held(), held()
    try:
        dead.kill()
        dead.wait()
        assert (left / "a.png").exists()
        with own_folder() as own:
            assert not left.exists()
            assert (used / "a.png").exists() and own.is_dir()
            remove_left_over()  # nor its own
            assert own.is_dir()
    finally:
        living.kill()
        living.wait()


def test_another_users_folder_and_links_stay(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = temporary / "mine"
    target.mkdir()
    link, file, folder = (temporary / f"{PREFIX}{name}" for name in ("link", "file", "other"))
    link.symlink_to(target)
    file.touch()
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: os.stat(folder).st_uid + 1)
        remove_left_over()
    assert folder.is_dir()
    remove_left_over()
    assert not folder.exists()
    assert link.is_symlink() and target.is_dir() and file.exists()
