"""Which published files a split is made of: AP-10K's `ap10k-train-split1.json` and its siblings."""

from __future__ import annotations

from pathlib import Path

TRAIN, TEST = "train-split1", "val-split1"
"""AP-10K's files that zero-shot runs most likely used: see `published`."""


def published(annotations: str | Path, train: str = TRAIN, test: str = TEST) -> tuple[Path, Path]:
    """The files of the training labels and of the test labels.

    The paper does not say which files its zero-shot pairs come from. CLAMP, which it compares with, publishes no
    split, but its AP-10K configuration tests on val-split1, so that is the default.

    Args:
        annotations: a folder with the published files, or the training file, beside which the test file is looked
            for. A file that is not named after a published split holds both.
        train: word in the name of the training file.
        test: word in the name of the test file.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: several files have the word in their name.
    """
    path = Path(annotations)
    if path.is_dir():
        return _one(path, train), _one(path, test)
    if not path.is_file():
        raise FileNotFoundError(f"annotations: no file or folder {path.absolute()}")
    if train not in path.name:
        return path, path
    beside = path.with_name(path.name.replace(train, test))
    if not beside.is_file():
        raise FileNotFoundError(
            f"annotations: {path.name} is for training, and there is no {beside.absolute()} to test on; say which "
            "with --test-split"
        )
    return path, beside


def _one(folder: Path, word: str) -> Path:
    found = sorted(path for path in folder.glob("*.json") if word in path.stem)
    if not found:
        there = ", ".join(path.name for path in sorted(folder.glob("*.json"))) or "no json"
        raise FileNotFoundError(f"annotations: no file in {folder} is named {word}; it has {there}")
    if len(found) > 1:
        raise ValueError(
            f"annotations: {len(found)} files in {folder} are named {word}: "
            f"{', '.join(path.name for path in found)}; say one, with --train-split and --test-split"
        )
    return found[0]
