"""Where the pictures of an annotation file are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def image_folder(annotations: str | Path, file_names: Iterable[str]) -> Path:
    """The folder that `file_name` is most likely relative to, by looking for some of the pictures.

    Tried are the json's own folder and the one above it, then `images` and `data` in either.

    Returns:
        the first of these with the most of them; the json's own folder where none has any.
    """
    own = Path(annotations).parent
    names = list(file_names)
    some = names[:: max(1, len(names) // 20)]
    above = own / ".." if own == Path() else own.parent
    tried = [own, above, *(f / name for f in (own, above) for name in ("images", "data"))]
    return max(tried, key=lambda folder: sum((folder / name).is_file() for name in some))
