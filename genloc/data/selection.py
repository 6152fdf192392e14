"""Which annotations of a file are taken, and what no selection could take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from genloc.data.annotation import Annotation


def wanted_ids(
    ids: Iterable[int] | None, known: Iterable[int], name: str, file: str | Path
) -> set[int] | None:
    """Ids that were asked for, each once; None for all.

    Args:
        ids: asked for. known: those of the file. name, file: for the error.

    Raises:
        ValueError: the file lacks one.
    """
    if ids is None:
        return None
    wanted = {int(i) for i in ids}
    absent = sorted(wanted - set(known))
    if absent:
        raise ValueError(
            f"{name}: {len(absent)} of {len(wanted)} ids are not in {file}: {absent[:5]}"
            f"{'...' if len(absent) > 5 else ''}; is it the list of another split?"
        )
    return wanted


def of_no_use(
    records: Sequence[Annotation],
    images: Iterable[int],
    taken: Sequence[Annotation],
    taken_images: Iterable[int],
) -> str:
    """What of a file was not selected and could not have been used, in words: sets that divide a file
    between them have it in none, so neither of them would count it.

    Args:
        records, images: all of the file, each record with its reason. taken, taken_images: the selected.

    Returns:
        such as "2 annotations (iscrowd), 3 images without an annotation"; empty where there is nothing.
    """
    mine, labelled = {r.id for r in taken}, {r.image_id for r in records}
    reasons = Counter(r.reason for r in records if r.reason is not None and r.id not in mine)
    parts = [f"{n} annotations ({reason})" for reason, n in reasons.items()]
    if empty := len(set(images) - set(taken_images) - labelled):
        parts.append(f"{empty} images without an annotation")
    return ", ".join(parts)
