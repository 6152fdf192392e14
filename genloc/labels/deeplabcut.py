"""DeepLabCut's and Lightning Pose's labels: a csv or h5, or a DeepLabCut project folder.

Both tools write a pandas frame of three or four header rows (scorer, perhaps individuals,
bodyparts, coords), one row a picture; see DeepLabCut's "standard use" guide and Lightning Pose's
"data directory" page. pandas reads it here as it wrote it there. (sleap-io 0.9 reads the csv, too,
but sorts the keypoints by name, does not know the h5, and where a picture is missing gives the
labels of each picture to the next one.)
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from genloc.labels.labelled import Animal, Labelled, Picture, Pictures, no_labels

HEADER = ("scorer", "individuals", "bodyparts", "coords")

# One row of a file: the picture's name and its numbers, [columns].
Rows = list[tuple[str, np.ndarray]]


def is_table(path: Path) -> bool:
    """Whether a csv begins with the header rows of either tool."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = [
                row[0].strip() for row, _ in zip(csv.reader(file), range(4), strict=False) if row
            ]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {"scorer", "bodyparts", "coords"} <= set(first)


def read_table(path: Path, images: Path | None = None) -> Labelled:
    """Read one csv or h5.

    Args:
        path: `CollectedData_*.csv` or `.h5`. Where both are there the csv is read: an h5 may hold
            pickles.
        images: folder that the pictures' names start from; found around the file by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not in the format, or holds predictions.
    """
    return _labelled([path], "DeepLabCut or Lightning Pose", images, {})


def read_project(folder: Path, images: Path | None = None) -> Labelled:
    """Read all `labeled-data/*/CollectedData_*` of a DeepLabCut project (its folder or config.yaml).

    Raises:
        FileNotFoundError: no config.yaml, or no labels beside it.
        ValueError: a file is not in the format.
    """
    import yaml

    config = folder if folder.suffix == ".yaml" else folder / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(f"{folder} is no DeepLabCut project: there is no {config}")
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{config} is not a yaml file: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{config}: expected DeepLabCut's settings, got {type(content).__name__}")
    scorer = content.get("scorer")
    tables = []
    for videos in sorted((config.parent / "labeled-data").glob("*/")):
        found = sorted([*videos.glob("CollectedData_*.csv"), *videos.glob("CollectedData_*.h5")])
        own = [f for f in found if f.stem == f"CollectedData_{scorer}"] or found
        tables += own[:1]
    if not tables:
        raise FileNotFoundError(
            f"{config.parent}: no CollectedData_*.csv or .h5 below labeled-data; label frames first"
        )
    return _labelled(tables, "DeepLabCut", images or config.parent, content)


def _labelled(
    tables: list[Path], tool: str, images: Path | None, config: dict[str, Any]
) -> Labelled:
    read = [(path, *_read(path)) for path in tables]
    names = list(dict.fromkeys(part for _, columns, _ in read for _, part in columns))
    wanted = [*_listed(config, "bodyparts"), *_listed(config, "multianimalbodyparts")]
    wanted += _listed(config, "uniquebodyparts")
    names.sort(key=lambda name: wanted.index(name) if name in wanted else len(wanted))
    edges = [pair for pair in config.get("skeleton") or [] if len(pair) == 2]
    pictures: list[Picture] = []
    for path, columns, rows in read:
        folder = path.absolute().parent
        roots = (
            [folder, folder.parent, folder.parent.parent] if images is None else [images, folder]
        )
        finder = Pictures(roots)
        for name, numbers in rows:
            animals = _animals(columns, numbers, names)
            pictures.append(Picture(name, finder.find(name), animals))
    if not any(picture.animals for picture in pictures):
        raise no_labels(tables[0], "no keypoint is labelled")
    return Labelled(
        tool=tool,
        keypoints=tuple(names),
        edges=tuple(
            (names.index(a), names.index(b)) for a, b in edges if a in names and b in names
        ),
        pictures=pictures,
    )


def _listed(config: dict[str, Any], key: str) -> list[str]:
    value = config.get(key)
    return (
        [str(v) for v in value] if isinstance(value, list) else []
    )  # "MULTI!" in projects of many


def _animals(
    columns: list[tuple[str, str]], numbers: np.ndarray, names: list[str]
) -> tuple[Animal, ...]:
    """One for each individual with a labelled keypoint; numbers is [columns, 2]."""
    found: dict[str, np.ndarray] = {}
    for (individual, part), (x, y) in zip(columns, numbers, strict=True):
        if np.isfinite(x) and np.isfinite(y):
            rows = found.setdefault(individual, np.zeros((len(names), 3)))
            rows[names.index(part)] = x, y, 2
    return tuple(Animal(rows) for rows in found.values())


def _read(path: Path) -> tuple[list[tuple[str, str]], Rows]:
    """(individual, bodypart) of each pair of columns, and the rows with their numbers [pairs, 2]."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.absolute()}")
    beside = path.with_suffix(".csv")
    if path.suffix.lower() in (".h5", ".hdf", ".hdf5") and not beside.is_file():
        header, names, values = _read_h5(path)
    else:
        header, names, values = _read_csv(beside if beside.is_file() else path)
    coords = header["coords"]
    if "likelihood" in coords:
        raise ValueError(
            f"{path} holds predictions (a column `likelihood`), not labels; import the file of "
            "labels, CollectedData_*.csv"
        )
    if coords[0::2] != ["x"] * len(coords[0::2]) or coords[1::2] != ["y"] * len(coords[0::2]):
        raise ValueError(f"{path}: coords are {coords[:4]}..., expected x, y, x, y, ...")
    individuals = header.get("individuals", [""] * len(coords))
    columns = list(zip(individuals[::2], header["bodyparts"][::2], strict=True))
    if len(set(columns)) != len(columns):
        raise ValueError(f"{path}: a bodypart has its columns twice: {columns}")
    numbers = values.reshape(len(names), len(columns), 2)
    return columns, list(zip(names, numbers, strict=True))


def _read_csv(path: Path) -> tuple[dict[str, list[str]], list[str], np.ndarray]:
    import pandas as pd

    if not is_table(path):
        raise ValueError(
            f"{path} is not in DeepLabCut's format: expected header rows scorer, bodyparts, coords"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = [row for row, _ in zip(csv.reader(file), range(len(HEADER)), strict=False)]
    head = head[: next((i for i, row in enumerate(head) if row[0] not in HEADER), len(head))]
    # Newer files have the picture's path in three columns, which the header leaves empty.
    index = 1 + next((i for i, cell in enumerate(head[0][1:]) if cell), 0)
    width = len(head[0])
    header = {row[0]: row[index:] for row in head}
    try:
        frame = pd.read_csv(
            path, header=None, skiprows=len(head), names=range(width), index_col=False, dtype=str
        )
        values = frame.iloc[:, index:].to_numpy(dtype=float)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: a row is not a picture and its numbers: {error}") from None
    if {len(row) for row in head} != {width} or (width - index) % 2:
        raise ValueError(f"{path}: its header rows have {[len(row) for row in head]} cells")
    names = ["/".join(row) for row in frame.iloc[:, :index].fillna("").to_numpy(dtype=str)]
    if "" in names:
        raise ValueError(f"{path}: row {names.index('') + 1} names no picture")
    return header, names, values


def _read_h5(path: Path) -> tuple[dict[str, list[str]], list[str], np.ndarray]:
    import pandas as pd

    try:
        frame = pd.read_hdf(path)
    except ImportError as error:
        raise ValueError(
            f"{path}: reading an h5 needs PyTables ({error}); pip install 'genloc[labels]', or "
            "import the csv of the same name"
        ) from None
    except Exception as error:  # PyTables and pickle raise of every kind
        raise ValueError(f"{path} is not an h5 of DeepLabCut: {error}") from None
    levels = list(getattr(frame.columns, "names", []))
    if not {"bodyparts", "coords"} <= set(levels):
        raise ValueError(f"{path} is not an h5 of DeepLabCut: its columns are {levels}")
    header = {n: [str(v) for v in frame.columns.get_level_values(n)] for n in levels}
    names = ["/".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in frame.index]
    if all(re.fullmatch(r"\d+", name) for name in names):
        raise ValueError(f"{path}: its rows are frame numbers, expected pictures; is it of labels?")
    return header, names, frame.to_numpy(dtype=float)
