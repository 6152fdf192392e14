"""Who may import whom, what importing costs, and what files may be called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

SKELETON = {"skeleton"}
DATA = {"skeleton", "keypoints", "data"}
INFERENCE = {"inference", "models", "conditions", "codecs", "data", "keypoints", "skeleton", "ops"}
ADAPTER = {"adapter", "card", "models", "conditions", "skeleton", "ops"}
PREDICTOR = {"predictor", "media", "hub", "recipe"} | INFERENCE | ADAPTER | DATA
REPORT = {"report", "visualize", "metrics"} | DATA
TRAINING = {"training", "labels", "losses", "splits", "recipe"} | INFERENCE | ADAPTER | REPORT

# Part of the package -> the parts it may import, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "skeleton": set(),
    "ops": set(),
    "splits": set(),
    "keypoints": SKELETON,
    "codecs": {"skeleton", "keypoints"},
    "conditions": {"skeleton", "keypoints"},
    "metrics": {"skeleton", "keypoints"},
    "data": {"skeleton", "keypoints"},
    "losses": {"ops"},
    "models": {"ops"},
    "labels": DATA,
    "visualize": DATA,
    "media": DATA,
    "inference": INFERENCE - {"ops"},
    "adapter": ADAPTER - {"ops"},
    "card": set(),
    "hub": {"adapter", "card"},
    "recipe": {"adapter", "inference"},
    "predictor": PREDICTOR,
    "streaming": PREDICTOR | {"visualize"},
    "export": PREDICTOR,
    "report": REPORT,
    "training": TRAINING,
    "language": PREDICTOR,
    "app": PREDICTOR | {"visualize"},
}
ON_TOP = {"cli", "__main__"}  # may import everything; nothing imports them
LIGHTNING = {"training", "cli"}  # the only parts that may import it

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "registry", "base"}
GUIDE, LIMIT = 300, 330  # lines of a file
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "LICENSE"),
    *("genloc", "configs", "tools", "tests", "benchmarks"),
}


def imported(source: str) -> Iterable[tuple[int, str]]:
    """(line, dotted name) of every import in a file, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            if origin == "genloc":  # "from genloc import models" names the part in the second place
                yield from ((node.lineno, f"genloc.{name.name}") for name in node.names)
            else:
                yield node.lineno, origin


def part_of(module: str) -> str | None:
    """`genloc.models.lora` -> `models`; None outside the package and for `genloc.__version__`."""
    words = module.split(".")
    if words[0] != "genloc" or len(words) < 2 or words[1].startswith("__version"):
        return None
    return words[1]


def violations(path: str, source: str) -> list[str]:
    """What a file of the package imports against the table. `path` is relative to `genloc/`."""
    part = path.removesuffix(".py").split("/")[0]
    if part == "__init__":
        return [f"{path}:{n}: imports {name}" for n, name in imported(source) if part_of(name)]
    if part not in MAY_IMPORT and part not in ON_TOP:
        return [f"{path}: the part {part!r} is not in the table"]
    wrong = []
    for n, name in imported(source):
        other = part_of(name)
        if name.startswith("."):
            wrong.append(f"{path}:{n}: relative import")
        elif name.split(".")[0] in ("lightning", "pytorch_lightning") and part not in LIGHTNING:
            wrong.append(f"{path}:{n}: only {sorted(LIGHTNING)} may import Lightning")
        elif other and other != part and part not in ON_TOP and other not in MAY_IMPORT[part]:
            wrong.append(f"{path}:{n}: {part} may not import {other}")
    return wrong


def tracked(repository: Path) -> list[str]:
    """Files of the repository: those git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (repository / name).exists()]


def test_the_package_keeps_to_the_table(repository: Path) -> None:
    package = repository / "genloc"
    files = sorted(package.rglob("*.py"))
    assert len(files) > 10, "the package was not found"
    found = [
        line
        for file in files
        for line in violations(
            file.relative_to(package).as_posix(), file.read_text(encoding="utf-8")
        )
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("models/x.py", "from genloc.data.coco import read_image", "models may not import data"),
        ("models/x.py", "def f():\n    import genloc.training.module", "may not import training"),
        ("ops/x/y.py", "from genloc import skeleton", "ops may not import skeleton"),
        ("data/x.py", "from ..models import prior", "relative import"),
        ("predictor.py", "from lightning.pytorch import Trainer", "may import Lightning"),
        ("extras.py", "", "not in the table"),
        ("__init__.py", "from genloc.models import prior", "imports genloc.models"),
        ("keypoints.py", "from genloc.cli import main", "keypoints may not import cli"),
    ],
)
def test_a_planted_mistake_is_found(path: str, source: str, expected: str) -> None:
    assert expected in "\n".join(violations(path, source))


def test_allowed_imports_pass() -> None:
    source = (
        "import torch\nfrom genloc import __version__\nfrom genloc.ops import correlation_map\n"
    )
    assert violations("models/x.py", source) == []
    assert violations("cli/__init__.py", "from genloc.training.module import KeypointModule") == []


def test_one_concept_one_file(repository: Path) -> None:
    long = []
    for name in tracked(repository):
        if name.endswith(".py"):
            lines = len((repository / name).read_text(encoding="utf-8").splitlines())
            if lines > LIMIT:
                long.append(f"{name}: {lines} lines; the guide is {GUIDE}, the limit {LIMIT}")
    assert not long, "\n".join(long)


def test_names_say_something(repository: Path) -> None:
    wrong = [
        name
        for name in tracked(repository)
        if FORBIDDEN_NAMES & {part.lower() for part in Path(name).with_suffix("").parts}
    ]
    assert not wrong, f"name the concept instead: {wrong}"


def test_the_top_level_is_what_the_readme_says(repository: Path) -> None:
    top = {Path(name).parts[0] for name in tracked(repository)}
    extra = {name for name in top - TOP_LEVEL if not name.startswith(".")}
    assert not extra, f"not allowed at the top: {sorted(extra)}"


def loaded_after(statement: str) -> set[str]:
    """Names of the modules in memory after a statement, in a fresh Python."""
    code = f"{statement}\nimport sys\nprint('modules:', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.rpartition("modules:")[2].split())


@pytest.mark.parametrize("module", ["genloc", "genloc.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "diffusers", "transformers", "lightning", "cv2", "numpy"}
    loaded = loaded_after(f"import {module}")
    assert module in loaded
    assert not loaded & heavy


@pytest.mark.parametrize("module", ["genloc.visualize", "genloc.data.coco", "genloc.keypoints"])
def test_what_handles_files_and_pictures_needs_no_torch(module: str) -> None:
    assert "torch" not in loaded_after(f"import {module}")


@pytest.mark.parametrize(
    "module", ["genloc.inference", "genloc.models.genloc", "genloc.adapter", "genloc.predictor"]
)
def test_the_model_comes_without_lightning(module: str) -> None:
    assert "lightning" not in loaded_after(f"import {module}")


def test_help_comes_without_torch() -> None:
    code = "from genloc.cli import main\nassert main(['--help']) == 0"
    assert "torch" not in loaded_after(code)
