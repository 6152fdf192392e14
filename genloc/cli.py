"""The command `genloc`. Commands are dispatched before anything heavy is imported."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import genloc

Command = Callable[[Sequence[str]], int | None]


def fit(arguments: Sequence[str]) -> None:
    """train a localizer, in runs/<name>/"""
    _train(["fit", *arguments])


def validate(arguments: Sequence[str]) -> None:
    """score a run on its validation set"""
    _train(["validate", *arguments])


def test(arguments: Sequence[str]) -> None:
    """score a run on its test set: metrics.json, AP table, pictures"""
    _train(["test", *arguments])


def _train(arguments: list[str]) -> None:
    from genloc.training.command import run

    run(arguments)


def evaluate(arguments: Sequence[str]) -> None:
    """score anybody's COCO results file"""
    parser = _parser("evaluate", evaluate)
    parser.add_argument("results", type=Path, help="COCO keypoint results, json")
    parser.add_argument("annotations", type=Path, help="COCO keypoint annotations, json")
    parser.add_argument(
        "--skeleton",
        required=True,
        help="ap10k, coco, human_art, animalpose, or a json or yaml file that says it",
    )
    parser.add_argument(
        "--sigmas", help="OKS sigmas by name, such as ap10k-legacy; default: the skeleton's own"
    )
    parser.add_argument("--nms", type=float, help="OKS above which detections are the same one")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file, too")
    given = parser.parse_args(arguments)

    import rich

    from genloc.data.coco import CocoKeypoints
    from genloc.metrics.evaluate import evaluate as score
    from genloc.skeleton import load_skeleton

    skeleton = load_skeleton(given.skeleton)
    source = CocoKeypoints(given.annotations, None, skeleton=skeleton)
    result = score(
        given.results, source.ground_truth(), skeleton, sigmas=given.sigmas, nms=given.nms
    )
    tables = [result.table()]
    if len(result.scores["per_species"]) > 1:
        tables.append(result.species_table())
    for table in tables:
        rich.print(table.rich())
    if given.out is not None:
        text = "\n\n".join(table.markdown() for table in tables)
        given.out.write_text(text + "\n", encoding="utf-8")


def zoo(arguments: Sequence[str]) -> None:
    """draw the built-in animals as a data set in AP-10K's layout"""
    parser = _parser("zoo", zoo)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument(
        "--per-species", type=int, default=40, help="pictures of each of 54 species (%(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="side in pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (%(default)s)")
    parser.add_argument(
        "--style",
        default="photo",
        help="photo, cartoon, sketch, painting, night or mixed (%(default)s)",
    )
    parser.add_argument("--workers", type=int, help="processes; default: one for each core")
    given = parser.parse_args(arguments)

    from rich.progress import Progress

    from genloc.data.coco import CocoKeypoints, read_image
    from genloc.data.zoo import write_zoo
    from genloc.skeleton import load_skeleton
    from genloc.visualize import overlay_sheet

    with Progress() as progress:
        task = progress.add_task("drawing")
        written = write_zoo(
            given.out,
            per_species=given.per_species,
            size=given.size,
            seed=given.seed,
            style=given.style,
            workers=given.workers,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    source = CocoKeypoints(written["train"], given.out / "data", skeleton=load_skeleton("ap10k"))
    few = source.instances[:: max(1, len(source) // 24)][:24]
    overlay_sheet(
        [read_image(instance.file) for instance in few],
        [instance.keypoints[:, :2] for instance in few],
        None,
        None,
        given.out / "sheet.png",
        skeleton=source.skeleton,
        visible=[instance.keypoints[:, 2] for instance in few],
        captions=[source.species(instance.category_id) for instance in few],
        title="The zoo as labelled: discs are seen, rings are hidden",
        columns=6,
    )
    for path in (*written.values(), given.out / "sheet.png"):
        print(path)


COMMANDS: dict[str, Command] = {
    "fit": fit,
    "validate": validate,
    "test": test,
    "evaluate": evaluate,
    "zoo": zoo,
}
"""Name -> what it does; the first line of its docstring is its help."""


def _parser(name: str, command: Command) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"genloc {name}", description=command.__doc__)


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
            "genloc COMMAND --help says more. A training run starts with a configuration file:",
            "  genloc fit --config configs/quickstart.yaml",
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
        # A mistake that our own code found is said in a line; anything else is a bug and keeps its traceback.
        if os.environ.get("GENLOC_TRACEBACK") or not _found_by_us(error):
            raise
        print(f"genloc {name}: {error}", file=sys.stderr)
        return 2


def _found_by_us(error: BaseException) -> bool:
    """Whether the error was raised by code of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(genloc.__file__).parent)
