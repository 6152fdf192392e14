"""A run over a clip with a localizer that takes its time, as a program that can be killed.

python slow_run.py CLIP OUT SECONDS_A_BATCH [track] [heatmaps]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from genloc.media import Video
from genloc.streaming.boxes import WholePicture
from genloc.streaming.journal import Journal
from genloc.streaming.overlays import VideoOverlays
from genloc.streaming.run import MediaRun
from genloc.streaming.tables import write_coco, write_deeplabcut
from genloc.streaming.tracking import Tracker
from tests.spots import SPOTS, Spots, spots_predictor


def run(clip: Path, out: Path, pause: float = 0.0, *options: str) -> list[int]:
    """Returns the numbers of crops that went through the localizer at a time."""
    predictor = spots_predictor()
    assert isinstance(predictor.model, Spots)
    predictor.model.register_forward_hook(lambda *_: time.sleep(pause))
    media = Video(clip)
    boxes = Tracker(WholePicture()) if "track" in options else WholePicture()
    journal = Journal(
        out / "predictions.jsonl", {"input": media.fingerprint(), "boxes": boxes.facts}
    )
    overlays = VideoOverlays(media, out / "labelled.mp4", segment=8)
    heatmaps = "heatmaps" in options
    MediaRun(
        media, predictor, boxes, journal, overlays, heatmaps=heatmaps, report=lambda _: None
    ).run()
    write_coco(journal, out / "results.json")
    write_deeplabcut(journal, out / "keypoints.csv", SPOTS, numbered=True)
    overlays.finish()
    return predictor.model.calls


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
