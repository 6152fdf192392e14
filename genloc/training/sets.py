"""Which annotated crops a run trains on, watches and is tested on; refused early when they cannot work."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genloc.data.coco import CocoKeypoints
from genloc.data.detections import with_detections
from genloc.skeleton import Skeleton, read_coco_json
from genloc.splits import Part, Split, read_split
from genloc.splits.source import checksum_of


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
        split: a file of `genloc split` instead of the three above. Its part of the set's own name is taken (train,
            val or test), or the one that `FILE#part` names. Found from the root, else from the working folder.
        detections: boxes of a detector instead of the annotations', for `genloc validate` and `test`; a COCO
            detections json.
    """

    annotations: str
    images: str = "."
    image_ids: str | list[int] | None = None
    annotation_ids: str | list[int] | None = None
    exclude: str | list[int] | None = None
    split: str | None = None
    detections: str | None = None

    def selection(self) -> str:
        """What is kept, in words; empty for everything."""
        given = (self.image_ids, self.annotation_ids, self.split)
        kept = [_in_words(part) for part in given if part]
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
        ValueError: the file is broken, or has no such key, or no numbers there.
    """
    if not isinstance(path, str):
        return list(dict.fromkeys(path))
    name, _, key = path.partition("#")
    file = root / name
    if not file.is_file():
        raise FileNotFoundError(f"ids: no file {file}")
    try:
        text = file.read_text(encoding="utf-8")
        node = json.loads(text) if key else None
    except ValueError as error:  # also UnicodeDecodeError
        kind = "json" if key else "text"
        raise ValueError(f"ids: {file} is not a {kind} file: {error}") from error
    if not key:
        found = [int(number) for number in re.findall(r"-?\d+", text)]
    else:
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
    name: str,
    spec: SetSpec,
    skeleton: Skeleton,
    root: Path,
    *,
    images: bool = True,
    kind: type[CocoKeypoints] = CocoKeypoints,
) -> CocoKeypoints:
    """Read one set and refuse what cannot be trained or evaluated on.

    Args:
        name: train, val or test, for messages.
        spec: what to read.
        skeleton: which keypoints.
        root: folder that the paths start from.
        images: whether the pictures are needed, and looked for.
        kind: what reads it; `CategorySets` where each category has keypoints of its own.

    Raises:
        FileNotFoundError: no annotations, no images folder, or a picture is not in it.
        ValueError: no usable instance, other keypoints than the skeleton's, or ids that are not in the file.
    """
    annotations = root / spec.annotations
    if not annotations.is_file():
        bodies = "" if kind is CocoKeypoints else " --bodies all"
        raise FileNotFoundError(
            f"data.{name}.annotations: no file {annotations.absolute()}; put the data there, or say where "
            f"it is with --data.root or --data.{name}.annotations (the built-in animals are drawn by "
            f"genloc zoo FOLDER{bodies})"
        )
    part = None
    if spec.split is not None:
        if spec.image_ids or spec.annotation_ids or spec.exclude:
            raise ValueError(
                f"data.{name}: split {spec.split} says the ids; leave out image_ids, annotation_ids and exclude"
            )
        part = split_part(name, spec.split, root)
        part.check(annotations, f"data.{name}.split: {spec.split}")
    chosen = (
        _ids(spec, annotations, root) if part is None else (part.image_ids, part.annotation_ids)
    )
    called: dict[str, Any] = {}
    if part is not None and part.keypoints is not None:
        called["keypoints"] = part.keypoints
    if called and kind is not CocoKeypoints:
        raise ValueError(
            f"data.{name}: split {spec.split} maps keypoints by name, which sets whose categories have "
            "keypoints of their own (data.episodes) cannot use; give a split of ids alone"
        )
    try:
        source = kind(
            annotations,
            root / spec.images if images else None,
            skeleton=skeleton,
            image_ids=chosen[0],
            annotation_ids=chosen[1],
            **called,
        )
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"data.{name}: {error}") from error
    if not source.instances:
        raise ValueError(
            f"data.{name}: no instance with a box and a labelled keypoint is left\n{source.summary()}"
        )
    if spec.detections is None:
        return source
    if name == "train":
        raise ValueError(
            "data.train.detections: detections have no labels to train on; leave it out"
        )
    try:
        return with_detections(source, root / spec.detections)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"data.{name}.{error}") from error


def _ids(spec: SetSpec, annotations: Path, root: Path) -> tuple[list[int] | None, list[int] | None]:
    """Ids of the images and of the annotations that are kept; None for all."""
    images = None if spec.image_ids is None else read_ids(spec.image_ids, root)
    kept = None if spec.annotation_ids is None else read_ids(spec.annotation_ids, root)
    if spec.exclude is not None:
        left_out = set(read_ids(spec.exclude, root))
        if kept is not None:
            kept = [i for i in kept if i not in left_out]
        else:
            listed = [int(image["id"]) for image in read_coco_json(annotations)["images"]]
            images = [i for i in images or listed if i not in left_out]
    return images, kept


def open_split(path: str, root: Path) -> Split:
    """The split of `FILE` or `FILE#part`, from below the root of the data, else from the working folder.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: it is no split.
    """
    file = path.partition("#")[0]
    return read_split(root / file if (root / file).is_file() else file)


def split_part(name: str, split: str, root: Path) -> Part:
    """The part of `FILE#part`, or of `FILE` the part called `name`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no split, or has no such part.
    """
    return open_split(split, root).part(split.partition("#")[2] or name)


def check_before_training(specs: dict[str, SetSpec | None], root: Path) -> None:
    """Refuse before a training what would spoil its test.

    Raises:
        ValueError: the part that is tested on was made for another file than its set has; or the split says what
            is tested on but not what is watched, and the same file would be watched.
    """
    test, val = specs["test"], specs["val"]
    if test is None or test.split is None or not (root / test.annotations).is_file():
        return
    tested = root / test.annotations
    part = split_part("test", test.split, root)
    part.check(tested, f"data.test.split: {test.split}")  # `load_set` does, of what `fit` reads
    if val is None or val.selection():
        return
    watched = root / val.annotations
    if watched.is_file() and checksum_of(watched) == part.sha256:
        raise ValueError(
            f"data.val: {test.split.partition('#')[0]} says what of {tested.name} is tested on and has no part val, "
            f"so the checkpoint would be chosen on that file; make the split with a part val (--val FILE, or another "
            "--val-split), give data.val other annotations, or null"
        )


def lay_over(
    split: str | None, specs: dict[str, SetSpec | None], root: Path
) -> dict[str, SetSpec | None]:
    """The sets with the parts of one split: each part on the set of its name; other sets stay as they are.

    Raises:
        FileNotFoundError: no such split.
        ValueError: it is no split, a part has no set, or a set says its ids already.
    """
    if split is None:
        return specs
    laid = dict(specs)
    for name in open_split(split, root).parts:
        spec = specs[name]
        if spec is None:
            raise ValueError(
                f"data.split: {split} has a part {name}, but data.{name} is null; say its annotations and images"
            )
        if spec.selection():
            raise ValueError(
                f"data.split: {split} has a part {name}, but data.{name} takes {spec.selection()} already"
            )
        laid[name] = replace(spec, split=f"{split}#{name}")
    return laid
