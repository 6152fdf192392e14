"""The splits in configs/splits/zoo hold for the zoo that `genloc zoo` draws with its defaults."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from genloc.data.zoo import SPECIES, write_zoo
from genloc.splits import SHOTS, TABLE_6, read_split, write_split

REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = REPOSITORY / "configs" / "splits" / "zoo"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo_splits", REPOSITORY / "tools/zoo_splits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ids(name: str, part: str = "train") -> set[int]:
    taken = read_split(KEPT / f"{name}.json").parts[part]
    return set(taken.image_ids or taken.annotation_ids or ())


def test_what_is_kept(tool: ModuleType) -> None:
    few = {f"few_shot_{shots}_seed_{seed}" for shots in SHOTS for seed in tool.SEEDS}
    zero = {f"zero_shot_{a}_{b}" for a, b in TABLE_6}
    parts = {f"fraction_{round(100 * part)}_seed_0" for part in tool.PARTS}
    styles = {f"photo_to_{s}" for s in tool.STYLES} | {f"{s}_to_photo" for s in tool.STYLES}
    kept = {path.stem for path in KEPT.glob("*.json")}
    assert kept == few | zero | parts | styles | {"held_out"}


def test_all_are_of_the_same_few_files() -> None:
    """One zoo of photos, and one of each other style: no split is of an older drawing."""
    sums: dict[str, set[str]] = {}
    for path in KEPT.glob("*.json"):
        of_photos = "_to_" not in path.stem
        for part in read_split(path).parts.values():
            if of_photos:
                sums.setdefault(part.file, set()).add(part.sha256)
    assert {file: len(found) for file, found in sums.items()} == dict.fromkeys(
        (f"ap10k-{name}-split1.json" for name in ("train", "val", "test")), 1
    )
    style = read_split(KEPT / "photo_to_sketch.json").parts
    assert style["train"].sha256 in sums[style["train"].file]
    assert style["test"].sha256 not in sums[style["test"].file]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shots_are_nested_and_of_every_species(seed: int) -> None:
    before: set[int] = set()
    for shots in SHOTS:
        now = ids(f"few_shot_{shots}_seed_{seed}")
        assert before < now
        counts = read_split(KEPT / f"few_shot_{shots}_seed_{seed}.json").parts["train"].counts
        assert len(counts["species"]) == len(SPECIES)
        assert min(counts["species"].values()) >= shots
        before = now
    assert ids("few_shot_5_seed_0") != ids("few_shot_5_seed_1")


def test_pairs_share_no_species() -> None:
    for a, b in TABLE_6:
        parts = read_split(KEPT / f"zero_shot_{a}_{b}.json").parts
        train, val, test = (set(parts[p].counts["species"]) for p in ("train", "val", "test"))
        assert train == val
        assert not train & test


@pytest.mark.parametrize("style", ["cartoon", "sketch", "painting", "night"])
def test_a_style_changes_pictures_and_no_label(
    tmp_path: Path, style: str, tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the files of all styles are known once one is drawn."""
    small: dict[str, Any] = {"per_species": 3, "size": 64, "species": (1, 19), "workers": 1}
    photo = write_zoo(tmp_path / "photo", **small)
    other = write_zoo(tmp_path / "drawn", style=style, **small)
    monkeypatch.setattr(tool, "STYLES", (style,))
    assert [name for name, _ in tool.style_splits(tmp_path / "photo", tmp_path / "known")] == [
        f"photo_to_{style}",
        f"{style}_to_photo",
    ]
    for name, path in photo.items():
        known = tmp_path / "known" / style / "annotations" / path.name
        assert known.read_bytes() == other[name].read_bytes()
    first = sorted((tmp_path / "photo" / "data").iterdir())[0]
    assert first.read_bytes() != (tmp_path / "drawn" / "data" / first.name).read_bytes()


@pytest.mark.slow
def test_they_are_made_again_to_the_byte(
    tool: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Draws the whole zoo, some minutes: what a picture hides is known when it is drawn."""
    folder = tmp_path_factory.mktemp("zoos")
    write_zoo(folder / "photo")
    made = [*tool.photo_splits(folder / "photo"), *tool.style_splits(folder / "photo", folder)]
    assert {name for name, _ in made} == {path.stem for path in KEPT.glob("*.json")}
    for name, split in made:
        write_split(split, folder / "again.json")
        assert (folder / "again.json").read_bytes() == (KEPT / f"{name}.json").read_bytes(), name
