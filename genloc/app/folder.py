"""The folder of a page's files: its own while it runs, gone afterwards, and at the latest when the next one starts.

A page holds a lock on its folder for as long as its process lives, however that ends. So a folder that
can be locked is left over from one that was killed. (A process id would not tell: they are used again,
and a container sees others than its host.)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no such locks, and nothing is looked for
    fcntl = None  # type: ignore[assignment]

PREFIX = "genloc-app-"


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder among the system's temporary ones, readable by this user alone, for as long as the block runs.

    What an earlier page of this user left behind is removed first.

    Raises:
        OSError: no folder can be made.
    """
    remove_left_over()
    folder, lock = _locked()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_left_over() -> None:
    """Remove the folders of this user's pages that no longer run; never another user's, or a link."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # not a folder, not ours to read, or gone meanwhile
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.getuid() and _lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked() -> tuple[Path, int | None]:
    """A new folder and what holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        if fcntl is None:
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another page, just starting, took it for left over
            continue
        # Without locks on this file system nobody else can lock it either: it stays as it is.
        if _lock(lock) is not False and folder.is_dir():
            return folder, lock
        os.close(lock)


def _lock(number: int) -> bool | None:
    """Whether the lock is ours now; None where the file system has none."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
