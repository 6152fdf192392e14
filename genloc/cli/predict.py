"""`genloc predict`: find keypoints in one's own pictures or in a video"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genloc.cli.localizer import read_localizer

if TYPE_CHECKING:
    from genloc.media import Pictures, Video
    from genloc.predictor import KeypointPredictor
    from genloc.streaming.boxes import BoxSource
    from genloc.streaming.overlays import Overlays

JOURNAL, RESULTS, TABLE = "predictions.jsonl", "results.json", "keypoints.csv"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genloc predict",
        description="Finds keypoints in pictures or a video. Every finished frame is written at once: the same "
        "command goes on where a stopped one was.",
    )
    parser.add_argument(
        "input", help="a picture, a folder of pictures, a glob in quotes, or a video"
    )
    parser.add_argument(
        "--adapter", required=True, help="what training wrote (runs/<name>/adapter), or a hub id"
    )
    parser.add_argument(
        "--prior", help="where the weights of its prior are, if not where the adapter says"
    )
    parser.add_argument(
        "--ask",
        action="append",
        default=[],
        metavar="PHRASE",
        help='look for this instead of the adapter\'s keypoints, such as "the left front paw"; may be given '
        "several times. The adapter must have been trained with words (configs/words/text.yaml)",
    )
    parser.add_argument(
        "--tokenizer",
        help="tokenizer folder for --ask, where the prior is a single file without one",
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write to (predictions/<name of the input>)"
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew, losing what is in --out"
    )

    example = parser.add_argument_group(
        "what to look for (an adapter of configs/visual.yaml; once for each labelled picture)"
    )
    example.add_argument("--like", type=Path, action="append", default=[], metavar="PICTURE",
                         help="a picture that shows it")  # fmt: skip
    example.add_argument("--points", type=Path, action="append", default=[], metavar="JSON",
                         help='its keypoints: {"keypoints": {"beak": [120, 84], "tail": null}}, and a "box" around '
                         "what it shows (the whole picture, if not said); or a COCO json")  # fmt: skip

    where = parser.add_argument_group("where to look (the whole picture, if nothing is said)")
    source = where.add_mutually_exclusive_group()
    source.add_argument(
        "--boxes",
        type=Path,
        help="COCO json whose file_name is relative to the input folder, or a csv with image (or frame), x, y, "
        "width, height and, where known, score",
    )
    source.add_argument(
        "--detector", help="object detector for transformers: a folder, or a hub id"
    )
    source.add_argument(
        "--zoom",
        action="store_true",
        help="at the whole picture, then closer at what was found there: for one small animal in each picture",
    )
    where.add_argument("--labels", nargs="+", default=[], help="classes of the detector to keep")
    where.add_argument(
        "--threshold", type=float, default=0.5, help="least score of the detector (%(default)s)"
    )
    where.add_argument("--most", type=int, help="so many boxes of the detector in a frame")
    where.add_argument(
        "--all-boxes", action="store_true", help="of a COCO json, boxes without labels as well"
    )
    where.add_argument(
        "--track",
        action="store_true",
        help="look next where the keypoints of the last frame were; --boxes, --detector, --zoom or the whole picture "
        "only to begin with and for what is lost",
    )

    how = parser.add_argument_group("how")
    how.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="average with the mirrored crop (as the adapter was evaluated)",
    )
    how.add_argument("--batch-size", type=int, default=8, help="crops at once (%(default)s)")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")

    what = parser.add_argument_group("what to draw")
    what.add_argument(
        "--overlays",
        choices=("jpg", "png", "none"),
        default="jpg",
        help="kind of the drawn pictures; of a video mp4 unless none (%(default)s)",
    )
    what.add_argument("--heatmaps", action="store_true", help="draw the maps under the keypoints")
    return parser


def run(arguments: Sequence[str]) -> int:
    """find keypoints in one's own pictures or in a video"""
    given = _parser().parse_args(arguments)

    from genloc.media import find_media

    out = given.out or Path("predictions") / _stem(given.input)
    media = find_media(given.input, but=out)
    predictor = read_localizer(given)
    media, boxes, image_ids = _where(given, media, predictor)

    from genloc.streaming.journal import Journal

    if given.restart:
        _forget(out)
    journal = Journal(out / JOURNAL, _facts(given, media, predictor, boxes))
    if journal.count:
        print(f"{journal.count} of {len(media)} frames are done, and drawn as was asked for then")
    try:
        _stream(given, media, predictor, boxes, journal, overlays := _overlays(given, media, out))
    except KeyboardInterrupt as stopped:
        print(
            f"stopped: {journal.count} of {len(media)} frames are in {journal.path}; the same command goes on"
        )
        return 143 if stopped.args else 130  # as a shell reports SIGTERM and Ctrl-C

    from genloc.media import Video
    from genloc.streaming.tables import write_coco, write_deeplabcut

    if not any(record["error"] is None for record in journal.records()):
        raise ValueError(f"{given.input}: none of its {len(media)} frames can be read")
    write_coco(journal, out / RESULTS, image_ids)
    write_deeplabcut(journal, out / TABLE, predictor.skeleton, numbered=isinstance(media, Video))
    drawn = None if overlays is None else overlays.finish()
    for path in (out / RESULTS, out / TABLE, drawn):
        if path is not None:
            print(path)
    return 0


def _where(
    given: argparse.Namespace, media: Pictures | Video, predictor: KeypointPredictor
) -> tuple[Pictures | Video, BoxSource, dict[str, int] | None]:
    """The frames to go through, where to look in them, and their image ids where a json states them."""
    from genloc.media import Pictures
    from genloc.streaming.boxes import WholePicture, coco_boxes, csv_boxes
    from genloc.streaming.detector import Detector
    from genloc.streaming.tracking import Tracker
    from genloc.streaming.zoom import Zoom

    image_ids = None
    boxes: Any = WholePicture()
    if given.boxes is not None and given.boxes.suffix.lower() == ".csv":
        boxes = csv_boxes(given.boxes)
        names = [media.name(i) for i in range(len(media))]
        if unknown := boxes.unknown(names):
            print(
                f"--boxes {given.boxes}: {len(unknown)} of its frames are not in the input: {unknown[:3]}"
            )
    elif given.boxes is not None:
        if not isinstance(media, Pictures) or not Path(given.input).is_dir():
            raise ValueError(
                f"--boxes {given.boxes}: a COCO json needs the folder of its pictures as input; for a video or "
                "single pictures give a csv"
            )
        media, boxes, image_ids, summary = coco_boxes(
            given.boxes, Path(given.input), predictor.skeleton, all_boxes=given.all_boxes
        )
        print(summary)
    elif given.detector is not None:
        boxes = Detector(
            given.detector,
            labels=tuple(given.labels),
            threshold=given.threshold,
            most=given.most,
            device=str(predictor.device),
        )
    elif given.zoom:
        boxes = Zoom(predictor)
    return media, Tracker(boxes) if given.track else boxes, image_ids


def _facts(
    given: argparse.Namespace,
    media: Pictures | Video,
    predictor: KeypointPredictor,
    boxes: BoxSource,
) -> dict[str, Any]:
    """What the results depend on: a run goes on only with the same."""
    from genloc import __version__

    return {
        "genloc": __version__,
        "input": media.fingerprint(),
        "adapter": predictor.fingerprint,
        "boxes": boxes.facts,
        "flip_test": predictor.flip_test,
    }


def _overlays(given: argparse.Namespace, media: Pictures | Video, out: Path) -> Overlays | None:
    from genloc.media import Video
    from genloc.streaming.overlays import PictureOverlays, VideoOverlays

    if given.overlays == "none":
        return None
    if isinstance(media, Video):
        return VideoOverlays(media, out / f"{media.path.stem}_labelled.mp4")
    return PictureOverlays(media, out / "overlays", given.overlays)


def _stream(
    given: argparse.Namespace,
    media: Pictures | Video,
    predictor: KeypointPredictor,
    boxes: BoxSource,
    journal: Any,
    overlays: Overlays | None,
) -> None:
    """Go through the frames under a bar with the time that is left; SIGTERM stops as Ctrl-C does."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from genloc.streaming.run import MediaRun

    def stop(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with Progress(*columns) as progress:
            task = progress.add_task("frames", total=len(media), completed=journal.count)
            MediaRun(
                media,
                predictor,
                boxes,
                journal,
                overlays,
                heatmaps=given.heatmaps,
                progress=lambda done: progress.update(task, completed=done),
                report=lambda line: progress.console.print(line, style="yellow", markup=False),
            ).run()
    finally:
        signal.signal(signal.SIGTERM, before)


def _stem(given: str) -> str:
    """What a folder of results is called: `clip` of clip.mp4, `frames` of frames/ and of frames/*.png."""
    path = Path(given).expanduser().absolute()
    while any(sign in path.name for sign in "*?["):
        path = path.parent
    return path.stem if path.is_file() else path.name


def _forget(out: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    import shutil

    for name in (JOURNAL, RESULTS, TABLE):
        (out / name).unlink(missing_ok=True)
    for path in (out / "overlays", *out.glob("*_labelled.mp4.parts")):
        shutil.rmtree(path, ignore_errors=True)
    for path in out.glob("*_labelled.mp4"):
        path.unlink()
