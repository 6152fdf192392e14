"""`predict_media`: through the frames of an input, each written when it is done, so that any stop is safe."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from genloc.data.crops import Crops
from genloc.data.picture import Picture
from genloc.keypoints import Keypoints
from genloc.media import Frame, Pictures, Video
from genloc.predictor import KeypointPredictor
from genloc.streaming.boxes import BoxSource, Found
from genloc.streaming.journal import Journal, Record, as_instances, as_keypoints
from genloc.streaming.overlays import Overlays, draw
from genloc.streaming.tracking import Tracker

SAVE_EVERY = 2.0  # seconds between two times that the journal is brought to the disk


@dataclass(eq=False)
class MediaRun:
    """What one run works with.

    Args:
        media: the frames.
        predictor: finds keypoints.
        boxes: says where to look; a `Tracker` follows what was found.
        journal: of finished frames; the run goes on after its last one.
        overlays: where drawn frames go, or None.
        heatmaps: draw the maps as well.
        progress: called with the number of finished frames.
        report: called with a line for each frame that could not be read, and for each box left out.
    """

    media: Pictures | Video
    predictor: KeypointPredictor
    boxes: BoxSource
    journal: Journal
    overlays: Overlays | None = None
    heatmaps: bool = False
    progress: Callable[[int], None] = lambda done: None
    report: Callable[[str], None] = print

    def run(self) -> None:
        """Do what is left to do. Interrupted at any point, a new run with the same journal and overlays
        goes on and ends with the same files."""
        try:
            self._draw_again()
            self._go_on()
        except BaseException:
            if self.overlays is not None:
                self.overlays.drop()
            raise
        finally:
            self.journal.close()

    def _draw_again(self) -> None:
        """Draw the frames that the journal knows and the overlays do not."""
        if self.overlays is None:
            return
        frames: Iterator[Frame] | None = None
        for record in self.journal.records():
            index = record["index"]
            if frames is None and not self.overlays.needs(index):
                continue
            if frames is None:
                frames = self.media.frames(index)
            frame = next(frames)
            if self.overlays.needs(index):
                found = as_keypoints(record, self.predictor.skeleton)
                if self.heatmaps and len(found) and frame.picture is not None:
                    found = self._again(frame.picture, found, record)
                self._draw(frame, found)
            self.progress(index + 1)

    def _again(self, picture: Picture, found: Keypoints, record: Record) -> Keypoints:
        """A finished frame with its maps, which are too large to be kept."""
        ids = [one.get("annotation_id", 0) for one in record["instances"]]
        crops = self.predictor.crops(picture, found.boxes, found.box_scores, ids=ids)
        return next(self.predictor.locate([crops], keep_heatmaps=True))

    def _go_on(self) -> None:
        """Predict the frames after the journal's last one."""
        tracker = self.boxes if isinstance(self.boxes, Tracker) else None
        if tracker is not None and self.journal.last is not None:
            tracker.restore(self.journal.last.get("track") or [])
        waiting: deque[tuple[Frame, Found | None]] = deque()
        cut = self._cut(waiting)
        if tracker is None:
            results = self.predictor.locate(cut, keep_heatmaps=self.heatmaps)
        else:  # where to look next is known only when this frame is done
            results = (
                next(self.predictor.locate([crops], keep_heatmaps=self.heatmaps)) for crops in cut
            )
        saved = time.monotonic()
        for found in results:
            frame, boxes = waiting.popleft()
            categories = [] if boxes is None else list(boxes.category_ids)
            annotations = (
                None
                if boxes is None or boxes.annotation_ids is None
                else list(boxes.annotation_ids)
            )
            record: Record = {
                "index": frame.index,
                "name": frame.name,
                "size": None if frame.picture is None else list(frame.picture.size),
                "instances": as_instances(found, categories, annotations),
                "error": frame.error,
            }
            if tracker is not None:
                if frame.picture is not None:
                    tracker.update(found, categories, frame.picture.size)
                record["track"] = tracker.state()
            self.journal.add(record)
            if time.monotonic() - saved > SAVE_EVERY:
                self.journal.flush()
                saved = time.monotonic()
            if self.overlays is not None and self.overlays.needs(frame.index):
                self._draw(frame, found)
            self.progress(frame.index + 1)

    def _cut(self, waiting: deque[tuple[Frame, Found | None]]) -> Iterator[Crops]:
        """The crops of each frame that is left; the frame goes into `waiting`, its error with it."""
        nothing = Crops.none(self.predictor.crop_size)
        for frame in self.media.frames(self.journal.count):
            boxes, crops = None, nothing
            if frame.picture is not None:
                try:
                    boxes = self.boxes.find(frame).inside(frame.picture.size)
                    crops = self.predictor.crops(
                        frame.picture,
                        boxes.boxes,
                        boxes.scores,
                        ids=boxes.annotation_ids,
                        name=frame.name,
                    )
                    for note in boxes.notes:
                        self.report(f"{frame.name}: {note}")
                except OSError as error:
                    boxes = None
                    frame = Frame(frame.index, frame.name, None, str(error))
            if frame.error is not None:
                self.report(frame.error)
            waiting.append((frame, boxes))
            yield crops

    def _draw(self, frame: Frame, found: Keypoints) -> None:
        assert self.overlays is not None
        if frame.picture is None:
            self.overlays.add(frame, None)
            return
        try:
            rgb = frame.picture.rgb()
        except (
            OSError
        ) as error:  # nothing was looked for in it, or only now it turns out to be damaged
            self.report(str(error))
            self.overlays.add(frame, None)
            return
        size = self.predictor.crop_size if self.heatmaps else None
        self.overlays.add(frame, draw(rgb, found, crop_size=size))
