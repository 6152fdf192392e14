"""`genloc split`: say which labels are for training and which for testing, in a file of ids"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from genloc.splits import (
    LOCLLM,
    TABLE_6,
    TEST,
    TRAIN,
    VAL,
    Source,
    Split,
    cross_domain,
    few_shot,
    few_shot_name,
    fraction,
    held_out,
    leave_one_out,
    listed,
    merge,
    pairs,
    published,
    read_source,
    write_split,
    zero_shot,
    zero_shot_name,
)

Made = Iterable[tuple[Path, Split]]


def run(arguments: Sequence[str]) -> None:
    """say which labels are for training and which for testing"""
    parser = argparse.ArgumentParser(prog="genloc split", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for add in (_few_shot, _zero_shot, _fraction, _cross_domain, _held_out, _merge):
        add(kinds)
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
    how.add_argument(
        "--shots",
        type=int,
        nargs="+",
        metavar="N",
        help="pictures of each species; one split for each number, --out is then a folder",
    )
    how.add_argument(
        "--list", type=Path, help="a published list of image ids instead, such as ScarceNet's"
    )
    drawn = parser.add_mutually_exclusive_group()
    drawn.add_argument("--seed", type=int, default=0, help="which pictures (%(default)s)")
    drawn.add_argument(
        "--seeds", type=int, nargs="+", metavar="N", help="one split for each; --out is a folder"
    )

    def make(given: argparse.Namespace) -> Made:
        if given.list is not None and given.seeds is not None:
            parser.error("--list says which pictures, so there is nothing to draw with --seeds")
        source = read_source(given.annotations)
        if given.list is not None:
            return [(given.out, listed(source, given.list))]
        if given.seeds is None and len(given.shots) == 1:
            return [(given.out, few_shot(source, given.shots[0], given.seed))]
        return [
            (given.out / f"{few_shot_name(shots, seed)}.json", few_shot(source, shots, seed))
            for shots in given.shots
            for seed in given.seeds or [given.seed]
        ]

    parser.set_defaults(make=make)


def _zero_shot(kinds: argparse._SubParsersAction) -> None:
    parser = _add(kinds, "zero-shot", "some animals for training, others for testing")
    parser.add_argument("annotations", type=Path, help="folder of the published files")
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
        "--table-6",
        action="store_true",
        help="one split for each of the paper's six pairs of families; --out is a folder",
    )
    parser.add_argument(
        "--by",
        choices=("species", "family", "order"),
        default="family",
        help="what a group is (%(default)s: the supercategory)",
    )
    where = "published file that is {}, by a word in its name (%(default)s)"
    parser.add_argument("--train-split", default=TRAIN, help=where.format("trained on"))
    parser.add_argument("--val-split", default=VAL, help=where.format("watched"))
    parser.add_argument("--test-split", default=TEST, help=where.format("tested on"))

    def make(given: argparse.Namespace) -> Made:
        named = given.train is not None and given.test is not None
        if named + given.leave_one_out + given.pairs + given.table_6 != 1:
            parser.error("say --train and --test, or --leave-one-out, or --pairs, or --table-6")
        if given.table_6 and given.by != "family":
            parser.error(f"--table-6 is of families, so --by {given.by} cannot be")
        train, val, test = _published(given)
        if given.pairs:
            found = pairs(train, test, by=given.by, val=val)
            return [(given.out / f"{zero_shot_name(*pair)}.json", split) for pair, split in found]
        if given.table_6:
            return [
                (
                    given.out / f"{zero_shot_name(a, b)}.json",
                    zero_shot(train, test, [a], [b], val=val),
                )
                for a, b in TABLE_6
            ]
        if given.leave_one_out:
            left = leave_one_out(train, test, by=given.by, val=val)
            return [(given.out / f"without_{name}.json", split) for name, split in left]
        split = zero_shot(train, test, given.train, given.test, by=given.by, val=val)
        return [(given.out, split)]

    parser.set_defaults(make=make)


def _published(given: argparse.Namespace) -> tuple[Source, Source | None, Source]:
    """Training, validation and test file; no validation file where it is the training file."""
    train = published(given.annotations, given.train_split)
    val = published(given.annotations, given.val_split)
    test = published(given.annotations, given.test_split)
    return read_source(train), None if val == train else read_source(val), read_source(test)


def _fraction(kinds: argparse._SubParsersAction) -> None:
    parser = _add(kinds, "fraction", "a part of each species' pictures for training")
    parser.add_argument("annotations", type=Path, help="COCO keypoints json")
    parser.add_argument("--part", type=float, required=True, help="above 0, at most 1")
    parser.add_argument("--seed", type=int, default=0, help="which pictures (%(default)s)")

    def make(given: argparse.Namespace) -> Made:
        return [(given.out, fraction(read_source(given.annotations), given.part, given.seed))]

    parser.set_defaults(make=make)


def _files(parser: argparse.ArgumentParser, skeleton: str) -> None:
    parser.add_argument("train", type=Path, help="COCO keypoints json that is trained on")
    parser.add_argument("test", type=Path, help="COCO keypoints json that is tested on")
    parser.add_argument("--val", type=Path, help="json of the training domain that is watched")
    parser.add_argument(
        "--skeleton",
        default=skeleton,
        help="the run's skeleton: a name or a json or yaml file that says it (%(default)s)",
    )


def _sources(given: argparse.Namespace) -> tuple[Source, Source, Source | None]:
    """Training, test and validation file."""
    val = None if given.val is None else read_source(given.val)
    return read_source(given.train), read_source(given.test), val


def _names(skeleton: str, source: Source, *, every: bool = False) -> dict[str, str]:
    """Keypoint of the skeleton -> its name in the file.

    Args:
        every: whether the file must have them all.

    Raises:
        ValueError: it has none of them, or not all that it must.
    """
    from genloc.data.names import shared_keypoints
    from genloc.skeleton import load_skeleton

    wanted = load_skeleton(skeleton).keypoints
    found = shared_keypoints(wanted, source.keypoints or wanted)
    lacking = [name for name in wanted if name not in found]
    if lacking and (every or not found):
        raise ValueError(
            f"--skeleton {skeleton}: {source.file} has no {', '.join(lacking)}; it has "
            f"{', '.join(source.keypoints)}. Say the skeleton that the run will have"
        )
    return found


def _cross_domain(kinds: argparse._SubParsersAction) -> None:
    parser = _add(
        kinds, "cross-domain", "one data set or style for training, another for testing, on the "
        "keypoints that both label"
    )  # fmt: skip
    _files(parser, "ap10k")

    def make(given: argparse.Namespace) -> Made:
        train, test, val = _sources(given)
        names = [_names(given.skeleton, source) for source in (train, test)]
        return [(given.out, cross_domain(train, test, *names, val=val))]

    parser.set_defaults(make=make)


def _held_out(kinds: argparse._SubParsersAction) -> None:
    parser = _add(kinds, "held-out", "some keypoints for training, others for testing")
    _files(parser, "coco")
    parser.add_argument(
        "--keypoints",
        nargs="+",
        default=LOCLLM,
        help=f"held out ({' '.join(LOCLLM)}, as LocLLM has it)",
    )

    def make(given: argparse.Namespace) -> Made:
        train, test, val = _sources(given)
        here, there = (_names(given.skeleton, source, every=True) for source in (train, test))
        return [(given.out, held_out(train, test, here, there, given.keypoints, val=val))]

    parser.set_defaults(make=make)


def _merge(kinds: argparse._SubParsersAction) -> None:
    parser = _add(kinds, "merge", "write several published files as one, to split their union")
    parser.add_argument("annotations", type=Path, nargs="+", help="COCO keypoints json files")

    def make(given: argparse.Namespace) -> Made:
        counts = merge(given.annotations, given.out)
        print(f"{given.out}: {counts['images']} images, {counts['annotations']} annotations")
        return []

    parser.set_defaults(make=make)
