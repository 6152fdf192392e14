"""`Journal`: one line of json for each finished frame, written at once, so that nothing is lost.

    {"genloc": ..., what the run depends on}
    {"index": 0, "name": "a.jpg", "size": [640, 480], "instances": [...], "error": null, "track": [...]}

A run that was killed may leave half a line at the end; it is cut off on opening.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genloc.keypoints import Keypoints
from genloc.skeleton import Skeleton

Record = dict[str, Any]


class Journal:
    """The finished frames of a run.

    Args:
        path: the file, made where absent.
        facts: what the results depend on, as plain values.

    Attributes:
        count: finished frames; they are the first ones of the input.

    Raises:
        ValueError: the file holds the results of another run; says what differs.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.facts = json.loads(json.dumps(facts))
        self.count = 0
        self.last: Record | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or not self._take_over():
            with path.open("wb") as file:
                file.write(_line(self.facts))
        self._file = path.open("ab")

    def add(self, record: Record) -> None:
        """Append a frame: from then on it outlives the process, from the next `flush` on the machine."""
        if record["index"] != self.count:
            raise ValueError(
                f"frame {record['index']} after {self.count} frames: frames come in order"
            )
        self._file.write(_line(record))
        self._file.flush()
        self.count += 1
        self.last = record

    def flush(self) -> None:
        """Bring what was added to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.flush()
        self._file.close()

    def records(self) -> Iterator[Record]:
        """The frames in order, one in memory at a time."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                yield json.loads(line)

    def _take_over(self) -> bool:
        """Read what an earlier run left and cut off what is not whole. False where nothing is of use."""
        with self.path.open("r+b") as file:
            head = file.readline()
            try:
                kept = json.loads(head)
            except ValueError:
                if head.endswith(b"\n"):
                    raise ValueError(
                        f"{self.path} is no journal of genloc predict: remove it"
                    ) from None
                return False
            if not isinstance(kept, dict):
                raise ValueError(f"{self.path} is no journal of genloc predict: remove it")
            if kept != self.facts:
                names = sorted(kept.keys() | self.facts.keys())
                other = [
                    f"{name} was {kept.get(name)!r}, is {self.facts.get(name)!r}"
                    for name in names
                    if kept.get(name) != self.facts.get(name)
                ]
                raise ValueError(
                    f"{self.path} holds the results of another run: {'; '.join(other)}. Give another --out, "
                    "or --restart to lose them."
                )
            whole = file.tell()
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n") or record.get("index") != self.count:
                    break
                whole += len(line)
                self.count += 1
                self.last = record
            file.truncate(whole)
        return True


def as_instances(
    found: Keypoints, categories: list[int], annotations: list[int] | None
) -> list[dict[str, Any]]:
    """The instances of a frame as plain values; floats come back from json bit for bit."""
    scores = found.instance_scores()
    return [
        {
            "keypoints": [
                [float(x), float(y), float(s)]
                for (x, y), s in zip(found.xy[i], found.scores[i], strict=True)
            ],
            "score": float(scores[i]),
            "bbox": [float(v) for v in found.boxes[i]],
            "box_score": float(found.box_scores[i]),
            "category_id": int(categories[i]),
        }
        | ({} if annotations is None else {"annotation_id": int(annotations[i])})
        for i in range(len(found))
    ]


def as_keypoints(record: Record, skeleton: Skeleton) -> Keypoints:
    """The instances of a frame, without what a journal does not keep (heatmaps and crops)."""
    instances = record["instances"]
    points = np.array([one["keypoints"] for one in instances], np.float32)
    points = points.reshape(len(instances), skeleton.num_keypoints, 3)
    return Keypoints(
        xy=points[..., :2],
        scores=points[..., 2],
        boxes=np.array([one["bbox"] for one in instances]).reshape(-1, 4),
        box_scores=np.array([one["box_score"] for one in instances]),
        skeleton=skeleton,
    )


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), allow_nan=True).encode() + b"\n"
