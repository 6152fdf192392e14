"""`CocoKeypoints`: the one reader of COCO keypoints json files, and of what is published as such.

Published files differ from the format in many small ways. Each is read here or refused in one
sentence, and whatever is left out or made up is counted in `CocoKeypoints.summary()`.

Letters: K keypoints of the skeleton. Pixels: (0, 0) is the centre of the top-left pixel. Boxes: x,
y, width, height as in the file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genloc.data.annotation import (
    NO_AREA,
    Annotation,
    Box,
    KeypointOrder,
    is_outside,
    read_annotation,
    stated_size,
    whole,
)
from genloc.data.image import read_image
from genloc.data.selection import of_no_use, wanted_ids
from genloc.skeleton import Skeleton, read_coco_json

__all__ = ["CocoKeypoints", "Instance", "read_image"]


@dataclass(frozen=True, eq=False)
class Instance:
    """One labelled animal or person.

    Args:
        annotation_id, image_id, category_id: as in the file.
        file: the picture.
        box: x, y, width, height in image pixels, width and height above 0.
        keypoints: float32 [K, 3]: x, y in image pixels, v (0 not labelled, 1 hidden, 2 seen). Rows
            with v = 0 are all 0.
        area: in square pixels, above 0; what OKS measures errors against.
        image_size: (width, height) the file states, or None.
    """

    annotation_id: int
    image_id: int
    category_id: int
    file: Path
    box: tuple[float, float, float, float]
    keypoints: np.ndarray
    area: float
    image_size: tuple[int, int] | None = None


OUTSIDE = "its box has no area within the picture"
_UNLABELLED = "no labelled keypoint"
_NO_PICTURE = "its picture is not there"
_UNLISTED = "image_id is not among images"


class CocoKeypoints:
    """The instances of one annotation file, cut to one skeleton.

    Args:
        annotations: a COCO keypoints json (or Animal Pose's own form of it).
        images: folder that `file_name` is relative to; None to read labels only (`file` is then
            just the name).
        skeleton: which keypoints to take, found by name (`L_F_Paw` is `left_front_paw`) where the
            file names its keypoints, else by position.
        image_ids: take only these images; None for all. Repeated ids count once.
        annotation_ids: take only these annotations; None for all.
        keypoints: keypoint of the skeleton -> its name in the file; the skeleton's others count as
            not labelled. None for all of them, each by its own name.
        require_keypoints: leave out instances without a labelled keypoint.
        missing_images: `error` refuses a set with absent files at once; `drop` leaves their
            instances out, counted.

    Attributes:
        labelled: what is left, in the order of the file. instances: the same, or a detector's boxes.
        dropped: reason -> number of annotations left out.
        notes: what was read otherwise than written, in words.
        annotations: the file. checksum: first 16 hex digits of its sha256.
        box_scores: annotation_id -> score of its box, where boxes are a detector's
            (`genloc.data.detections`); else None.
        has_areas: some instance has an area of its own; else all are those of their boxes.
        counted: bool [K], the keypoints that may have labels.

    Raises:
        FileNotFoundError: the file, the folder or (`missing_images="error"`) a picture is absent.
        ValueError: the file is not in the format, does not hold the skeleton's keypoints, or lacks
            an id that was asked for.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None,
        *,
        skeleton: Skeleton,
        image_ids: Iterable[int] | None = None,
        annotation_ids: Iterable[int] | None = None,
        keypoints: Mapping[str, str] | None = None,
        require_keypoints: bool = True,
        missing_images: Literal["error", "drop"] = "error",
    ) -> None:
        self.annotations = Path(annotations)
        self.images = None if images is None else Path(images)
        self.skeleton = skeleton
        if self.images is not None and not self.images.is_dir():
            raise FileNotFoundError(f"images: no folder {self.images.absolute()}")
        content = read_coco_json(self.annotations)
        self.checksum = hashlib.sha256(self.annotations.read_bytes()).hexdigest()[:16]
        self.box_scores: dict[int, float] | None = None
        self.dropped: dict[str, int] = {}
        self.notes: list[str] = []
        self._seen: Counter[str] = Counter()

        self._called = keypoints
        self.counted = np.array([keypoints is None or k in keypoints for k in skeleton.keypoints])
        if keypoints is not None:
            n, k = len(keypoints), skeleton.num_keypoints
            self.notes.append(f"{n} of the {k} keypoints count: {', '.join(keypoints)}")

        self._images = self._read_images(content["images"])
        self._categories = {int(c["id"]): c for c in content["categories"]}
        records = self._read_annotations(content)
        every, listed = records, self._images
        for record in every:
            record.reason = self._reason(record, require_keypoints)
        wanted = wanted_ids(image_ids, self._images, "image_ids", self.annotations)
        if wanted is not None:
            self._images = {i: r for i, r in self._images.items() if i in wanted}
            records = [r for r in records if r.image_id in wanted]
        known = [r.id for r in records]
        chosen = wanted_ids(annotation_ids, known, "annotation_ids", self.annotations)
        if chosen is not None:
            records = [r for r in records if r.id in chosen]
            kept = {r.image_id for r in records}
            self._images = {i: r for i, r in self._images.items() if i in kept}
        self._selected = ""
        if len(records) < len(every):
            self._selected = (
                f"{len(records)} of {len(every)} annotations, in {len(self._images)} of "
                f"{len(listed)} images"
            )
            if useless := of_no_use(every, listed, records, self._images):
                self.notes.append(f"not selected and of no use: {useless}")

        missing = self._missing_files(records, missing_images)
        for record in records:
            if record.reason is None and record.image_id in missing:
                record.reason = _NO_PICTURE
        away = (_NO_PICTURE, _UNLISTED)  # neither can a result be about them
        self._records = [r for r in records if r.reason not in away]
        self.dropped = dict(Counter(r.reason for r in records if r.reason is not None))
        self.instances = [self._instance(r, r.box) for r in records if r.reason is None and r.box]
        self.labelled = self.instances
        scored = [r for r in self._records if r.evaluated]
        self.has_areas = any(NO_AREA not in r.remarks for r in scored)
        self._seen.update(remark for r in records for remark in r.remarks)
        self.notes += [f"{n} {remark}" for remark, n in self._seen.items()]
        if uncut := sum(r.reason is not None for r in scored):
            self.notes.append(
                f"{uncut} annotations left out are labelled: the AP counts them all the same"
            )

    def __len__(self) -> int:
        return len(self.instances)

    def species(self, category_id: int) -> str:
        """Name of a category; `category 4` where the file does not list it."""
        return str(self._categories.get(category_id, {}).get("name", f"category {category_id}"))

    def summary(self) -> str:
        """What was read, left out and taken otherwise than written, one line each."""
        images = len({i.image_id for i in self.instances})
        lines = [
            f"{self.annotations.name} (sha256 {self.checksum}): {len(self)} instances in {images} "
            f"images, {self.skeleton.name} ({self.skeleton.num_keypoints} keypoints)"
        ]
        if self._selected:
            lines.append(f"  selected: {self._selected}")
        if not self.skeleton.flip_pairs:
            lines.append("  note: no flip pairs are known, so pictures are never mirrored")
        elif lone := [self.skeleton.keypoints[i] for i in self.skeleton.lone_sides]:
            lines.append(
                f"  note: no partners are known of {lone}: mirrored pictures do not show them"
            )
        lines += [f"  left out: {n} ({reason})" for reason, n in self.dropped.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def remarks(self) -> list[str]:
        """What was left out and taken otherwise than written, for below a table of results."""
        left_out = ", ".join(f"{n} ({reason})" for reason, n in self.dropped.items())
        return [f"annotations left out: {left_out}"] * bool(left_out) + self.notes

    def ground_truth(self) -> dict[str, Any]:
        """COCO json object of the selected images for pycocotools, keypoints cut to the skeleton.

        What pycocotools reads in the file by itself is in it. Crowds and instances without keypoints
        stay as what they are to COCO's evaluation: regions where a detection is neither right nor
        wrong. Labelled ones that no crop is made of (a box without area) count; their `bbox` is the
        extent of their keypoints, by which only PCK and the mean pose are measured. `info` holds
        file, checksum and whether areas are the file's (`areas`).
        """
        listed = {
            i: {**c, "keypoints": list(self.skeleton.keypoints)}
            for i, c in self._categories.items()
        }
        for record in self._records:
            i = record.category_id
            listed.setdefault(i, {"id": i, "name": self.species(i)})
        return {
            "info": {
                "file": self.annotations.name,
                "checksum": self.checksum,
                "areas": self.has_areas,
            },
            "images": list(self._images.values()),
            "annotations": [
                {
                    "id": r.id,
                    "image_id": r.image_id,
                    "category_id": r.category_id,
                    "bbox": list(r.region),
                    "area": r.area,
                    "iscrowd": int(r.crowd),
                    "num_keypoints": int((r.keypoints[:, 2] > 0).sum()),
                    "keypoints": r.keypoints.astype(float).ravel().tolist(),
                }
                for r in self._records
                if r.region is not None
            ],
            "categories": list(listed.values()),
        }

    def _read_images(self, images: Any) -> dict[int, dict[str, Any]]:
        if isinstance(images, dict):  # Animal Pose: an object from id to file name
            images = [{"id": whole(i), "file_name": name} for i, name in images.items()]
        listed: dict[int, dict[str, Any]] = {}
        for image in images:
            if whole(image.get("id")) is None or not _is_name(image.get("file_name")):
                raise ValueError(
                    f"{self.annotations}: image {image} needs an integer id and a file_name"
                )
            image = {**image, "id": whole(image["id"])}
            if image["id"] in listed:
                self._seen["images are listed again under the same id: the first counts"] += 1
            else:
                listed[image["id"]] = image
        return listed

    def _read_annotations(self, content: dict[str, Any]) -> list[Annotation]:
        rows = content["annotations"]
        ids: list[Any] = [whole(a.get("id")) for a in rows]
        if None in ids or len(set(ids)) != len(ids):
            what = "have no id" if None in ids else "share ids"
            self.notes.append(f"annotations {what}: numbered from 1 by their place in the file")
            ids = list(range(1, len(rows) + 1))
        # Animal Pose's own form, the only one with an object of images, gives boxes as two corners.
        corners = isinstance(content["images"], dict)
        if corners:
            self.notes.append("boxes are two corners, as Animal Pose publishes them")
        order = self._order(content["categories"])
        return [
            read_annotation(record, int(id_), order, corners=corners)
            for record, id_ in zip(rows, ids, strict=True)
        ]

    def _order(self, categories: list[dict[str, Any]]) -> KeypointOrder:
        return KeypointOrder(self.skeleton, categories, self.annotations, self._called)

    def _reason(self, record: Annotation, require_keypoints: bool) -> str | None:
        if record.image_id not in self._images:
            return _UNLISTED
        if record.crowd:
            return "iscrowd"
        if record.box is None:
            return "no box, or one without area"
        if require_keypoints and not (record.keypoints[:, 2] > 0).any():
            return _UNLABELLED
        if is_outside(record.box, stated_size(self._images[record.image_id])):
            return OUTSIDE
        return None

    def _instance(self, record: Annotation, box: Box) -> Instance:
        image = self._images[record.image_id]
        return Instance(
            annotation_id=record.id,
            image_id=record.image_id,
            category_id=record.category_id,
            file=(self.images or Path()) / image["file_name"],
            box=box,
            keypoints=record.keypoints,
            area=record.area,
            image_size=stated_size(image),
        )

    def _missing_files(self, records: list[Annotation], rule: str) -> set[int]:
        """Ids of images whose file is absent, looking only at those an instance needs."""
        if self.images is None:
            return set()
        needed = {r.image_id: 0 for r in records if r.reason is None}
        files = {i: self.images / self._images[i]["file_name"] for i in needed}
        missing = {i for i, file in files.items() if not file.is_file()}
        if missing and rule == "error":
            first = files[min(missing)]
            raise FileNotFoundError(
                f"{len(missing)} of the {len(files)} images of {self.annotations} are not there, "
                f"the first is {first.absolute()}; `images` must be the folder that file_name "
                f"({self._images[min(missing)]['file_name']!r}) is relative to"
            )
        return missing


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value
