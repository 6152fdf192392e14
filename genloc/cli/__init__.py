"""The command `genloc`: one module a command, dispatched before anything heavy is imported.

A module's `run(arguments)` parses its arguments first and imports what it needs after that, so that help
comes at once. The first line of its docstring is its help.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import genloc
from genloc.cli.app import run as app
from genloc.cli.check import run as check
from genloc.cli.evaluate import run as evaluate
from genloc.cli.import_ import run as import_
from genloc.cli.predict import run as predict
from genloc.cli.report import run as report
from genloc.cli.split import run as split
from genloc.cli.train import fit, test, validate
from genloc.cli.zoo import run as zoo

Command = Callable[[Sequence[str]], int | None]


COMMANDS: dict[str, Command] = {
    "fit": fit,
    "validate": validate,
    "test": test,
    "predict": predict,
    "app": app,
    "evaluate": evaluate,
    "split": split,
    "report": report,
    "zoo": zoo,
    "import": import_,
    "check": check,
}
"""Name -> what it does; the first line of its docstring is its help."""


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: genloc COMMAND [ARGUMENTS]",
            "",
            "keypoints of animals and people, found with the prior of an image generator",
            "",
            *lines,
            "",
            "genloc COMMAND --help says more. A training run starts with data and a configuration file:",
            "  genloc zoo data/zoo",
            "  genloc fit --config configs/zoo.yaml",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status; 2 for a mistake in what was asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if given[0] in ("-V", "--version"):
        print(f"genloc {genloc.__version__}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"genloc: no command {name!r}; there are {known}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[name](rest) or 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        # A mistake that our own code found, and what the system refused (no such folder, no room, no right), is
        # said in a line; anything else is a bug and keeps its traceback.
        said = _of_a_worker(error)
        if said is None and (_found_by_us(error) or getattr(error, "errno", None) is not None):
            said = str(error)
        if os.environ.get("GENLOC_TRACEBACK") or said is None:
            raise
        print(f"genloc {name}: {said}", file=sys.stderr)
        return 2


def _of_a_worker(error: BaseException) -> str | None:
    """What our own code said in a process that loads data; torch wraps it in the text of its traceback."""
    lines = str(error).rstrip().splitlines()
    files = [line.split('"')[1] for line in lines if line.strip().startswith('File "')]
    if "worker process" not in (lines or [""])[0] or not files:
        return None
    ours = Path(files[-1]).is_relative_to(Path(genloc.__file__).parent)
    return lines[-1].partition(": ")[2] if ours else None


def _found_by_us(error: BaseException) -> bool:
    """Whether the error was raised by code of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(genloc.__file__).parent)
