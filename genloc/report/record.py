"""`Record`: what an evaluation leaves for its report, in one small file that needs no data beside it.

It holds the labels of every evaluated instance, and picture and heatmaps of a few chosen crops: those
with the worst and those with the median OKS.

Letters: N instances, M chosen crops, K keypoints, S crop pixels, h, w heatmap cells.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from genloc.skeleton import Skeleton

FORMAT = 1


@dataclass(frozen=True)
class Shown:
    """One chosen crop.

    Args:
        annotation_id: of its instance.
        picture: uint8 [S, S, 3] RGB.
        to_image: float64 [2, 3], crop pixels to image pixels.
        maps: [K, h, w] heatmaps.
    """

    annotation_id: int
    picture: np.ndarray
    to_image: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Detected:
    """What became of the boxes of a detector.

    Args:
        box_id: [N] of the box that holds each of the record's instances, by which its result is named.
        animals: labelled ones in all, N of them in a box. boxes: in all, N of them with an animal.
    """

    box_id: np.ndarray
    animals: int
    boxes: int


@dataclass(frozen=True)
class Record:
    """Labels of an evaluated set, and a few of its crops.

    Args:
        skeleton: K keypoints, with the sigmas of OKS.
        species: category id -> name.
        annotation_id, image_id, category_id: [N].
        area: [N] square pixels. boxes: [N, 4]. keypoints: [N, K, 3] x, y, v; all in image pixels.
        mean_pose: [K, 2] in box units, of `genloc.metrics.mean_pose`; mean_pose_of: of what.
        shown: the chosen crops.
        detected: where boxes are a detector's; the record then holds the animals that are in one.
    """

    skeleton: Skeleton
    species: dict[int, str]
    annotation_id: np.ndarray
    image_id: np.ndarray
    category_id: np.ndarray
    area: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    mean_pose: np.ndarray
    mean_pose_of: str
    shown: tuple[Shown, ...] = ()
    detected: Detected | None = None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it, whole or not at all. Pictures become JPEG, maps 8 bits of their own peak."""
        path = Path(path)
        k = self.skeleton.num_keypoints
        maps = np.array([s.maps for s in self.shown], np.float32) if self.shown else np.zeros((0, k, 1, 1))  # fmt: skip
        peaks = maps.max(axis=(2, 3))
        levels = np.rint(255 * maps / np.maximum(peaks, 1e-30)[..., None, None])
        pictures = [_jpeg(s.picture) for s in self.shown]
        facts = {
            "format": FORMAT,
            "skeleton": dataclasses.asdict(self.skeleton),
            "species": self.species,
            "mean_pose_of": self.mean_pose_of,
        }
        boxes = self.detected
        if boxes is not None:
            facts["detected"] = {**vars(boxes), "box_id": boxes.box_id.tolist()}
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                facts=np.array(json.dumps(facts)),
                annotation_id=self.annotation_id,
                image_id=self.image_id,
                category_id=self.category_id,
                area=self.area,
                boxes=self.boxes,
                keypoints=np.asarray(self.keypoints, np.float32),
                mean_pose=self.mean_pose,
                shown=np.array([s.annotation_id for s in self.shown], np.int64),
                to_image=np.array([s.to_image for s in self.shown]).reshape(-1, 2, 3),
                levels=np.clip(levels, 0, 255).astype(np.uint8),
                peaks=peaks,
                pictures=np.frombuffer(b"".join(pictures), np.uint8),
                sizes=np.array([len(p) for p in pictures], np.int64),
            )
        part.replace(path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Record:
        """Read it back.

        Raises:
            FileNotFoundError: no such file.
            ValueError: damaged, or written by another version.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no record {path.absolute()}: genloc test writes it")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                if facts["format"] != FORMAT:
                    raise ValueError(f"format {facts['format']}, expected {FORMAT}")
                return cls(
                    skeleton=_skeleton(facts["skeleton"]),
                    species={int(i): name for i, name in facts["species"].items()},
                    mean_pose_of=facts["mean_pose_of"],
                    shown=_shown(arrays),
                    detected=_detected(facts.get("detected")),
                    **{
                        name: arrays[name]
                        for name in (
                            *("annotation_id", "image_id", "category_id", "area", "boxes"),
                            *("keypoints", "mean_pose"),
                        )
                    },
                )
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} cannot be read as the record of an evaluation ({error}); "
                "genloc test writes it anew"
            ) from error


def choose(
    oks: np.ndarray, labelled: np.ndarray, *, worst: int = 8, median: int = 8
) -> tuple[list[int], list[int]]:
    """Which instances are shown: those with the lowest OKS, and those nearest to the median.

    Instances with fewer labelled keypoints than most have say little and are passed over while there
    are others; of equal ones the first count.

    Args:
        oks: [N]. labelled: [N] number of labelled keypoints.
        worst, median: how many of each; fewer where there are not so many.

    Returns:
        rows of the worst, worst first, and rows of the median ones, none of them twice.
    """
    if not len(oks):
        return [], []
    order = [int(i) for i in np.argsort(oks, kind="stable")]
    telling = labelled >= 0.5 * np.median(labelled)
    order = [i for i in order if telling[i]] or order
    low = order[:worst]
    rest = order[len(low) :]
    middle = float(np.median(oks[order]))
    near = sorted(rest, key=lambda i: (abs(float(oks[i]) - middle), i))[:median]
    return low, sorted(near, key=lambda i: float(oks[i]))


def _skeleton(facts: dict[str, Any]) -> Skeleton:
    def pairs(values: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
        return tuple((a, b) for a, b in values)

    return Skeleton(
        facts["name"],
        tuple(facts["keypoints"]),
        pairs(facts["edges"]),
        pairs(facts["flip_pairs"]),
        tuple(facts["sigmas"]),
        tuple(facts["upper_body"]),
    )


def _detected(facts: dict[str, Any] | None) -> Detected | None:
    if facts is None:
        return None
    return Detected(np.array(facts["box_id"]), animals=facts["animals"], boxes=facts["boxes"])


def _shown(arrays: Any) -> tuple[Shown, ...]:
    ends = np.cumsum(arrays["sizes"])
    data = np.split(arrays["pictures"], ends[:-1]) if len(ends) else []
    maps = arrays["levels"].astype(np.float32) / 255 * arrays["peaks"][..., None, None]
    return tuple(
        Shown(int(id_), _decoded(jpeg), to_image, of)
        for id_, jpeg, to_image, of in zip(
            arrays["shown"], data, arrays["to_image"], maps, strict=True
        )
    )


def _decoded(jpeg: np.ndarray) -> np.ndarray:
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("a picture in it is damaged")
    return picture[..., ::-1]


def _jpeg(picture: np.ndarray) -> bytes:
    ok, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise OSError("could not encode a crop as JPEG")
    return data.tobytes()
