"""Which published files a split is made of: AP-10K's `ap10k-train-split1.json` and its siblings."""

from __future__ import annotations

from pathlib import Path

TRAIN, VAL, TEST = "train-split1", "val-split1", "val-split1"
"""AP-10K's files of a zero-shot run. The paper does not say which it used. CLAMP, which it compares with, publishes
no split, but its AP-10K configuration tests on val-split1: so that is the default."""


def published(annotations: str | Path, word: str) -> Path:
    """The published file with a word in its name.

    Args:
        annotations: a folder with the published files, or one of them, beside which the others are.
        word: such as `val-split1`.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: several files have the word in their name.
    """
    path = Path(annotations)
    if path.is_file():
        return path if word in path.stem else _one(path.parent, word)
    if not path.is_dir():
        raise FileNotFoundError(f"annotations: no file or folder {path.absolute()}")
    return _one(path, word)


def _one(folder: Path, word: str) -> Path:
    found = sorted(path for path in folder.glob("*.json") if word in path.stem)
    if not found:
        there = ", ".join(path.name for path in sorted(folder.glob("*.json"))) or "no json"
        raise FileNotFoundError(f"annotations: no file in {folder} is named {word}; it has {there}")
    if len(found) > 1:
        raise ValueError(
            f"annotations: {len(found)} files in {folder} are named {word}: "
            f"{', '.join(path.name for path in found)}; say more of the name"
        )
    return found[0]
