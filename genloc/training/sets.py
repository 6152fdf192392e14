"""Which annotated crops a run trains on, watches and is tested on; refused early when they cannot work."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from genloc.data.coco import CocoKeypoints
from genloc.skeleton import Skeleton, read_coco_json


@dataclass(frozen=True)
class SetSpec:
    """One set of annotated images. Paths are relative to the `root` of the data module.

    Args:
        annotations: COCO-keypoints json.
        images: folder that the file names in the json start from.
        image_ids: keep only these images: their ids, or a file of ids, either numbers in any punctuation or a
            json in which `file.json#key.key` names the part (a list, or lists below it).
        annotation_ids: keep only these annotations; same form.
        exclude: ids to leave out again, same form: of annotations where `annotation_ids` is given, else of
            images.
    """

    annotations: str
    images: str = "."
    image_ids: str | list[int] | None = None
    annotation_ids: str | list[int] | None = None
    exclude: str | list[int] | None = None

    def selection(self) -> str:
        """What is kept, in words; empty for everything."""
        kept = [_in_words(part) for part in (self.image_ids, self.annotation_ids) if part]
        return " and ".join(kept) + (f" without {_in_words(self.exclude)}" if self.exclude else "")


def _in_words(ids: str | list[int]) -> str:
    if isinstance(ids, str):
        return ids
    shown = ", ".join(map(str, ids[:12])) + (", ..." if len(ids) > 12 else "")
    return f"{len(ids)} images ({shown})"


def read_ids(path: str | list[int], root: Path) -> list[int]:
    """Ids in a file, in its order, each once. `path` may end in `#key.key`, see `SetSpec`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such key, or no numbers there.
    """
    if not isinstance(path, str):
        return list(dict.fromkeys(path))
    name, _, key = path.partition("#")
    file = root / name
    if not file.is_file():
        raise FileNotFoundError(f"ids: no file {file}")
    if not key:
        found = [int(number) for number in re.findall(r"-?\d+", file.read_text(encoding="utf-8"))]
    else:
        node = json.loads(file.read_text(encoding="utf-8"))
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                there = sorted(node) if isinstance(node, dict) else f"a {type(node).__name__}"
                raise ValueError(
                    f"ids: {file} has no {key!r}: looked for {part!r}, there is {there}"
                )
            node = node[part]
        found = list(_numbers(node))
    if not found:
        raise ValueError(f"ids: {path!r} holds no ids")
    return list(dict.fromkeys(found))


def _numbers(node: object) -> list[int]:
    if isinstance(node, dict):
        return [number for value in node.values() for number in _numbers(value)]
    if isinstance(node, list):
        return [number for value in node for number in _numbers(value)]
    return [int(node)] if isinstance(node, int) else []


def load_set(
    name: str, spec: SetSpec, skeleton: Skeleton, root: Path, *, images: bool = True
) -> CocoKeypoints:
    """Read one set and refuse what cannot be trained or evaluated on.

    Args:
        name: train, val or test, for messages.
        spec: what to read.
        skeleton: which keypoints.
        root: folder that the paths start from.
        images: whether the pictures are needed, and looked for.

    Raises:
        FileNotFoundError: no annotations, no images folder, or a picture is not in it.
        ValueError: no usable instance, other keypoints than the skeleton's, or ids that are not in the file.
    """
    annotations = root / spec.annotations
    if not annotations.is_file():
        raise FileNotFoundError(
            f"data.{name}.annotations: no file {annotations.absolute()}; put the data there, or say where "
            f"it is with --data.root or --data.{name}.annotations"
        )
    images_kept = None if spec.image_ids is None else read_ids(spec.image_ids, root)
    kept = None if spec.annotation_ids is None else read_ids(spec.annotation_ids, root)
    if spec.exclude is not None:
        left_out = set(read_ids(spec.exclude, root))
        if kept is not None:
            kept = [i for i in kept if i not in left_out]
        else:
            listed = [int(image["id"]) for image in read_coco_json(annotations)["images"]]
            images_kept = [i for i in images_kept or listed if i not in left_out]
    try:
        source = CocoKeypoints(
            annotations,
            root / spec.images if images else None,
            skeleton=skeleton,
            image_ids=images_kept,
            annotation_ids=kept,
        )
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"data.{name}: {error}") from error
    if not source.instances:
        raise ValueError(
            f"data.{name}: no instance with a box and a labelled keypoint is left\n{source.summary()}"
        )
    return source
