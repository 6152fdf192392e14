"""`genloc check`: everything wrong or odd in an annotation file, with a contact sheet"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genloc.labels.check import Report

DESCRIPTION = """Says everything wrong or odd in a COCO keypoints json at once, before an hour of
training is spent, and draws the oddest and some typical animals. The exit status is 1 where
something is wrong, 0 where things are at most odd."""


def run(arguments: Sequence[str]) -> int:
    """everything wrong or odd in an annotation file, with a contact sheet"""
    parser = argparse.ArgumentParser(prog="genloc check", description=DESCRIPTION)
    parser.add_argument("annotations", type=Path, help="COCO keypoints json")
    parser.add_argument(
        "--images", type=Path, help="folder that file names start from; default: around the json"
    )
    parser.add_argument(
        "--skeleton",
        help="ap10k, coco, ..., or a yaml, for its pairs of left and right; default: from the names",
    )
    parser.add_argument(
        "--decode", action="store_true", help="read every pixel, not only both ends of each picture"
    )
    parser.add_argument(
        "--sheet", type=Path, help="contact sheet to write (default: <json's name>-check.png here)"
    )
    parser.add_argument("--no-sheet", action="store_true", help="draw nothing")
    parser.add_argument(
        "--most", type=int, default=8, help="ids shown of each finding (%(default)s)"
    )
    given = parser.parse_args(arguments)

    from rich.progress import Progress

    from genloc.labels.check import check_labels
    from genloc.skeleton import load_skeleton

    pairs = None
    if given.skeleton is not None:
        skeleton = load_skeleton(given.skeleton)
        names = skeleton.keypoints
        pairs = tuple((names[a], names[b]) for a, b in skeleton.flip_pairs)
    with Progress(transient=True) as progress:
        task = progress.add_task("pictures")
        report = check_labels(
            given.annotations,
            given.images,
            pairs=pairs,
            decode=given.decode,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _tell(report, given.most)
    if not given.no_sheet:
        from genloc.cli.contact_sheet import write_contact_sheet

        sheet = given.sheet or Path(f"{given.annotations.stem}-check.png")
        if write_contact_sheet(report, sheet):
            print(sheet)
        else:
            print("no contact sheet: no animal with keypoints in a picture that can be read")
    return 1 if report.findings.errors else 0


def _tell(report: Report, most: int) -> None:
    import rich
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from genloc.labels.check import keypoint_counts

    records = report.records
    print(
        f"{report.annotations}: {records.annotations} annotations in {len(records.images)} images, "
        f"{records.crowds} of them crowds; pictures in {report.folder}"
    )
    for group in records.groups:
        table = Table(box=box.SIMPLE, pad_edge=False)
        table.add_column(f"{len(group.ids)} animals")
        for column in ("labelled", "%", "hidden"):
            table.add_column(column, justify="right")
        for name, labelled, hidden in keypoint_counts(group):
            share = f"{100 * labelled / max(1, len(group.ids)):.0f}"
            table.add_row(escape(name), str(labelled), share, str(hidden))
        rich.print(table)
    findings = report.findings
    for title, kinds, style in (
        ("wrong", findings.errors, "bold red"),
        ("odd", findings.oddities, "bold"),
    ):
        rich.print(Text(f"{title}: {len(kinds) or 'nothing'}", style=style))
        for finding in sorted(kinds, key=lambda f: -len(f.ids)):
            print(f"  {finding.line(most)}")
