"""The ops, their tests and their benchmark run where there is only torch, cuda-core and pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Every other requirement of the package and of its tests, as it is imported.
OTHERS = (
    *("numpy", "diffusers", "transformers", "peft", "einops", "lightning", "pytorch_lightning"),
    *("jsonargparse", "omegaconf", "cv2", "pycocotools", "safetensors", "rich", "tensorboard"),
    *("yaml", "PIL", "hypothesis", "xformers"),
)
BLOCKED = f"import sys\nsys.modules.update(dict.fromkeys({OTHERS}))\n"  # None: not to be had


def run_without(program: str, repository: Path) -> str:
    """What a program writes in a Python that has nothing but torch, cuda-core and pytest."""
    # Plugins of pytest that happen to be installed bring packages of their own.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED + program],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_these_tests_need_nothing_else(repository: Path) -> None:
    program = """
import pytest
options = ["-q", "-p", "no:cacheprovider", "-rs"]
assert pytest.main(["tests/ops", "--collect-only", *options]) == 0
assert pytest.main(["tests/ops/test_properties.py", *options]) == 5  # nothing to run
"""
    said = run_without(program, repository)
    assert "hypothesis is not installed" in said


@pytest.mark.slow
def test_the_benchmark_needs_nothing_else(repository: Path, tmp_path: Path) -> None:
    shapes = "--device cpu --batch 1 --keypoints 2 --sizes 64 --repeats 1 --rivals eager sdpa"
    program = f"""
import runpy
sys.argv = ["attention.py", *{shapes.split()}, "--out", {str(tmp_path)!r}]
runpy.run_path("benchmarks/ops/attention.py", run_name="__main__")
"""
    run_without(program, repository)
    (table,) = tmp_path.glob("*.md")
    assert "| ours |" in table.read_text("utf-8")
    assert len(list(tmp_path.glob("*.svg"))) == 2
