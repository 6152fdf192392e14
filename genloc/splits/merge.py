"""Several published files as one, where a protocol trains or tests on their union."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def merge(files: Sequence[str | Path], out: str | Path) -> dict[str, int]:
    """Write the images and annotations of all files into one COCO keypoints json.

    Args:
        files: two or more, of one data set: the same categories, no image or annotation id twice.
        out: json to write; it appears whole or not at all.

    Returns:
        How many images and annotations it holds.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not in the format, or they are not parts of one data set.
    """
    if len(files) < 2:
        raise ValueError(f"merge: {len(files)} file given, expected two or more")
    contents = [_read(Path(file)) for file in files]
    first = contents[0]
    for file, content in zip(files, contents, strict=True):
        if content["categories"] != first["categories"]:
            raise ValueError(f"merge: {file} has other categories than {files[0]}")
    merged: dict[str, list[dict[str, Any]]] = {}
    for key in ("images", "annotations"):
        merged[key] = [record for content in contents for record in content[key]]
        ids = [record["id"] for record in merged[key]]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f"merge: the files share {len(ids) - len(set(ids))} ids of {key}: they are not parts of one data set"
            )
    info = {"description": MERGED + ", ".join(Path(file).name for file in files)}
    out = Path(out)
    if out.is_file() and not str((_read(out).get("info") or {}).get("description")).startswith(
        MERGED
    ):
        raise FileExistsError(
            f"merge: {out} is there already and was not merged here, so it is not overwritten; choose another --out"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    partial.write_text(
        json.dumps({"info": info, **merged, "categories": first["categories"]}), encoding="utf-8"
    )
    os.replace(partial, out)
    return {key: len(rows) for key, rows in merged.items()}


MERGED = "merged from "


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"merge: no file {path.absolute()}") from None
    except ValueError as error:
        raise ValueError(f"merge: {path} is not a json file: {error}") from None
    wanted = ("images", "annotations", "categories")
    lists = isinstance(content, dict) and all(isinstance(content.get(k), list) for k in wanted)
    if not lists:
        raise ValueError(f"merge: {path} is not in COCO keypoints format")
    return content
