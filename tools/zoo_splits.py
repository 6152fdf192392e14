"""Write the splits of the built-in zoo that are kept in configs/splits/zoo.

    genloc zoo data/zoo
    python tools/zoo_splits.py data/zoo

They hold for a zoo drawn with the defaults, and in another style. One that is drawn otherwise is refused
by its checksum.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from genloc.data.zoo.write import write_json
from genloc.splits import (
    SHOTS,
    TABLE_6,
    Source,
    Split,
    cross_domain,
    few_shot,
    few_shot_name,
    fraction,
    held_out,
    published,
    read_source,
    write_split,
    zero_shot,
    zero_shot_name,
)

KEPT = Path(__file__).resolve().parent.parent / "configs" / "splits" / "zoo"
SEEDS = (0, 1, 2)
PARTS = (0.1, 0.25, 0.5)
STYLES = ("cartoon", "sketch", "painting", "night")
# One of each kind, the mirror partner of each seen in training: LocLLM's rule on AP-10K's keypoints.
HELD_OUT = ("right_elbow", "left_front_paw", "left_knee", "right_back_paw")


def photo_splits(zoo: Path) -> Iterator[tuple[str, Split]]:
    """Name and split of all that need the zoo `genloc zoo data/zoo` alone."""
    train, val, test = _parts(zoo)
    for shots in SHOTS:
        for seed in SEEDS:
            yield few_shot_name(shots, seed), few_shot(train, shots, seed)
    for part in PARTS:
        yield f"fraction_{round(100 * part)}_seed_0", fraction(train, part)
    for a, b in TABLE_6:
        # test-split1 has twice as many pictures as val-split1, on which AP-10K's pairs are tested.
        yield zero_shot_name(a, b), zero_shot(train, test, [a], [b], val=val)
    names = {name: name for name in train.keypoints}
    yield "held_out", held_out(train, test, names, names, HELD_OUT, val=val)


def style_splits(zoo: Path, folders: Path) -> Iterator[tuple[str, Split]]:
    """Name and split from photos to each style and back.

    A style changes pictures and no label, so its annotations are known without drawing it; they are
    written to `folders`.
    """
    for style in STYLES:
        folder = folders / style
        (folder / "annotations").mkdir(parents=True)
        for path in (zoo / "annotations").glob("*.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            content["info"]["style"] = style
            write_json(folder / "annotations" / path.name, content)
        for a, b, source, target in (("photo", style, zoo, folder), (style, "photo", folder, zoo)):
            train, val, _ = _parts(source)
            test = _parts(target)[2]
            names = {name: name for name in train.keypoints}
            yield f"{a}_to_{b}", cross_domain(train, test, names, names, val=val)


def _parts(zoo: Path) -> tuple[Source, Source, Source]:
    folder = zoo / "annotations"
    train, val, test = (published(folder, f"{p}-split1") for p in ("train", "val", "test"))
    return read_source(train), read_source(val), read_source(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("zoo", type=Path, help="folder of `genloc zoo`")
    zoo = parser.parse_args().zoo
    with tempfile.TemporaryDirectory() as folder:
        made = [*photo_splits(zoo), *style_splits(zoo, Path(folder))]
        for name, split in made:
            write_split(split, KEPT / f"{name}.json")
    print(f"{len(made)} splits in {KEPT}")


if __name__ == "__main__":
    main()
