"""tools/quickstart trains again where anything that training depends on has changed, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands for the command: it says what it was called for, and leaves what the script looks for.
GENLOC = """#!/usr/bin/env bash
echo "$1" >>calls
if [ "$1" = zoo ]; then mkdir -p "$2/annotations"; echo {} >"$2/annotations/ap10k-test-split1.json"; fi
if [ "$1" = fit ]; then
    if [ -f fails ]; then exit 1; fi
    mkdir -p runs/quickstart/adapter runs/quickstart/cache/0123
    touch runs/quickstart/adapter/genloc.yaml
fi
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for genloc")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    for name in ("configs", "genloc/assets/tiny_prior/unet", "venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "configs/quickstart.yaml").write_text("name: quickstart\n")
    (tmp_path / "genloc/assets/tiny_prior/unet/weights").write_text("weights")
    (tmp_path / "overlay.yaml").write_text("trainer: {max_epochs: 1}\n")
    for name, script in (
        ("genloc", GENLOC),
        ("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n'),
    ):
        (tmp_path / "venv/bin" / name).write_text(script)
        (tmp_path / "venv/bin" / name).chmod(0o755)
    return tmp_path


def called(clone: Path, *arguments: str, code: int = 0) -> list[str]:
    """The commands that one call of the script makes."""
    (clone / "calls").write_text("")
    environment = {**os.environ, "GENLOC_VENV": str(clone / "venv"), "GENLOC_INSTALL": "no"}
    done = subprocess.run(
        ["bash", "tools/quickstart", *arguments],
        cwd=clone, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return (clone / "calls").read_text().split()


@pytest.mark.parametrize("form", [("--config", "overlay.yaml"), ("--config=overlay.yaml",)])
def test_it_trains_again_for_what_has_changed(clone: Path, form: tuple[str, ...]) -> None:
    assert called(clone, *form) == ["zoo", "fit", "test"]
    assert called(clone, *form) == ["test"]
    for changed in (
        "overlay.yaml",
        "configs/quickstart.yaml",
        "genloc/assets/tiny_prior/unet/weights",
    ):
        (clone / changed).write_text("other: 1\n")
        assert called(clone, *form) == ["fit", "test"], changed
        assert called(clone, *form) == ["test"]
    assert called(clone, *form, "--trainer.max_epochs", "3") == ["fit", "test"]


def test_what_training_kept_of_the_frozen_net_goes_when_it_is_done(clone: Path) -> None:
    cache = clone / "runs/quickstart/cache"
    (clone / "fails").touch()
    (cache / "0123").mkdir(parents=True)
    assert called(clone, code=1) == ["zoo", "fit"]
    assert cache.exists()  # a training that goes on uses it
    (clone / "fails").unlink()
    assert called(clone) == ["fit", "test"]
    assert not cache.exists()
