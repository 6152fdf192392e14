"""tools/env: an install that the network broke off is tried again, one that cannot work is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands for the environment's Python: its pip says $SAYS and fails as often as $FAILURES tells.
PYTHON = """#!/usr/bin/env bash
if [ "$1 $2" != "-m pip" ]; then exec {python} "$@"; fi
echo "$*" >>{calls}
if [ "$(wc -l <{calls})" -le "$FAILURES" ]; then echo "$SAYS"; exit 1; fi
"""


def install(folder: Path, failures: int, says: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Sources tools/env on an environment of its own and counts how often pip was called."""
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    calls = folder / "calls"
    python = programs / "python"
    python.write_text(PYTHON.format(python=sys.executable, calls=calls))
    python.chmod(0o755)
    # What waits is written down instead of waited for.
    script = f'sleep() {{ echo "waited $1"; }}; source {ROOT / "tools/env"}; echo ready'
    variables = {
        "GENLOC_VENV": str(folder / "venv"),
        "GENLOC_CONSTRAINTS": "",
        "GENLOC_INSTALL": "yes",
        "FAILURES": str(failures),
        "SAYS": says,
    }
    done = subprocess.run(
        ["bash", "-c", script], text=True, capture_output=True, env={**os.environ, **variables}
    )
    return done, len(calls.read_text().splitlines())


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for Python")


def test_what_the_network_broke_off_is_tried_again(tmp_path: Path) -> None:
    done, calls = install(tmp_path, 2, "error: incomplete-download")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["waited 5", "waited 20", "ready", ""]
    assert calls == 2 + 2  # pip itself, at its third call, and then the package
    assert done.stderr.count("The network broke off") == 2


def test_it_gives_up_in_the_end_and_says_why(tmp_path: Path) -> None:
    done, calls = install(
        tmp_path, 99, "ReadTimeoutError: Read timed out. at https://files.example.org/x"
    )
    assert done.returncode != 0 and calls == 4
    assert "Read timed out. at <address>" in done.stderr and "example.org" not in done.stderr


def test_what_no_second_try_would_mend_fails_at_once(tmp_path: Path) -> None:
    done, calls = install(tmp_path, 99, "ERROR: No matching distribution found for torch==9.9")
    assert done.returncode != 0 and calls == 1
    assert "No matching distribution" in done.stderr


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    says = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    done, calls = install(tmp_path, 99, says)
    assert done.returncode != 0 and calls == 1
    assert "The disk is full: " in done.stderr and " free of " in done.stderr
    assert "GENLOC_VENV" in done.stderr
