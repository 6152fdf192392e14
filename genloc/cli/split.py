"""`genloc split`: say which labels are for training and which for testing, in a file of ids"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from genloc.splits import Split, few_shot, leave_one_out, listed, pairs, read_source, write_split
from genloc.splits.published import TEST, TRAIN, published
from genloc.splits.zero_shot import zero_shot


def run(arguments: Sequence[str]) -> None:
    """say which labels are for training and which for testing"""
    parser = argparse.ArgumentParser(prog="genloc split", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _few_shot(kinds)
    _zero_shot(kinds)
    given = parser.parse_args(arguments)
    for path, split in given.make(given):
        write_split(split, path)
        print(f"{path}: {split.summary()}")


def _add(kinds: argparse._SubParsersAction, name: str, help_: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=help_, description=help_)
    parser.add_argument("--out", type=Path, required=True, help="json to write")
    return parser


def _few_shot(kinds: argparse._SubParsersAction) -> None:
    parser = _add(kinds, "few-shot", "some pictures of each species for training")
    parser.add_argument("annotations", type=Path, help="COCO keypoints json")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--shots", type=int, help="pictures of each species")
    how.add_argument(
        "--list", type=Path, help="a published list of image ids, such as ScarceNet's, instead"
    )
    parser.add_argument("--seed", type=int, default=0, help="which pictures (%(default)s)")

    def make(given: argparse.Namespace) -> Iterable[tuple[Path, Split]]:
        source = read_source(given.annotations)
        if given.list is not None:
            return [(given.out, listed(source, given.list))]
        return [(given.out, few_shot(source, given.shots, given.seed))]

    parser.set_defaults(make=make)


def _zero_shot(kinds: argparse._SubParsersAction) -> None:
    parser = _add(kinds, "zero-shot", "train on some animals, test on others")
    parser.add_argument(
        "annotations", type=Path, help="folder of the published files, or the training file"
    )
    parser.add_argument("--train", nargs="+", metavar="GROUP", help="trained on")
    parser.add_argument("--test", nargs="+", metavar="GROUP", help="tested on")
    parser.add_argument(
        "--leave-one-out",
        action="store_true",
        help="one split for each group, tested on it and trained on the rest; --out is a folder",
    )
    parser.add_argument(
        "--pairs", action="store_true", help="one split for each ordered pair; --out is a folder"
    )
    parser.add_argument(
        "--by",
        choices=("species", "family", "order"),
        default="family",
        help="what a group is (%(default)s: the supercategory)",
    )
    parser.add_argument(
        "--train-split", default=TRAIN, help="published split that is trained on (%(default)s)"
    )
    parser.add_argument(
        "--test-split", default=TEST, help="published split that is tested on (%(default)s)"
    )

    def make(given: argparse.Namespace) -> Iterable[tuple[Path, Split]]:
        named = given.train is not None and given.test is not None
        if named + given.leave_one_out + given.pairs != 1:
            parser.error("say --train and --test, or --leave-one-out, or --pairs")
        paths = published(given.annotations, given.train_split, given.test_split)
        train, test = (read_source(path) for path in paths)
        if given.pairs:
            return [
                (given.out / f"{a}_{b}.json", split)
                for (a, b), split in pairs(train, test, by=given.by)
            ]
        if given.leave_one_out:
            made = leave_one_out(train, test, by=given.by)
            return [(given.out / f"without_{name}.json", split) for name, split in made]
        return [(given.out, zero_shot(train, test, given.train, given.test, by=given.by))]

    parser.set_defaults(make=make)
