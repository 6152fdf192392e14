"""Which tool a file is from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from genloc.labels.cvat import read_cvat
from genloc.labels.deeplabcut import is_table, read_project, read_table
from genloc.labels.label_studio import read_label_studio
from genloc.labels.labelled import Labelled
from genloc.labels.mpii import read_mpii
from genloc.labels.sleap import read_sleap

Reader = Callable[[Path, Path | None], Labelled]

FORMATS: dict[str, Reader] = {
    "deeplabcut": read_table,
    "deeplabcut-project": read_project,
    "lightning-pose": read_table,
    "sleap": read_sleap,
    "label-studio": read_label_studio,
    "cvat": read_cvat,
    "mpii": read_mpii,
}
"""Name of a format -> its reader (file, folder of the pictures or None)."""


def read_labels(path: Path, images: Path | None = None, form: str | None = None) -> Labelled:
    """Read labels of any known tool.

    Args:
        path: the file, or a DeepLabCut project's folder.
        images: folder of the pictures; None looks around the file.
        form: a key of `FORMATS`; None finds it out.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: the format is not known, or the file is not in it.
    """
    if form is not None and form not in FORMATS:
        raise ValueError(f"format {form!r}: expected one of {', '.join(FORMATS)}")
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path.absolute()}")
    return FORMATS[form or guess_format(path)](path, images)


def guess_format(path: Path) -> str:
    """The format a file or folder is in, by its kind and its first bytes.

    Raises:
        ValueError: none that is known; says which are.
    """
    kind = path.suffix.lower()
    if path.is_dir() or path.name == "config.yaml":
        return "deeplabcut-project"
    if kind == ".slp":
        return "sleap"
    if kind in (".h5", ".hdf", ".hdf5") or (kind == ".csv" and is_table(path)):
        return "deeplabcut"
    if kind == ".xml":
        return "cvat"
    if kind == ".mat":
        return "mpii"
    if kind == ".json":
        return _guess_json(path)
    more = "; unpack it first" if kind in (".zip", ".gz", ".tar") else ""
    raise ValueError(
        f"{path}: what tool is it from? Not seen from its name and beginning{more}. Known are "
        f"{', '.join(FORMATS)}; say which with --format"
    )


def _guess_json(path: Path) -> str:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict) and {"joints", "joints_vis"} <= first.keys():
        return "mpii"
    if isinstance(first, dict) and ({"annotations", "completions"} & first.keys()):
        return "label-studio"
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        raise ValueError(f"{path} is a COCO json already; it needs no import: genloc check {path}")
    raise ValueError(
        f"{path}: what tool is it from? Of json files those of Label Studio (export as JSON, not "
        "JSON-MIN) and MPII are known"
    )
