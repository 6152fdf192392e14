from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genloc.data.coco import CocoKeypoints
from genloc.skeleton import load_skeleton
from genloc.splits import (
    Part,
    Split,
    cross_domain,
    few_shot,
    held_out,
    merge,
    published,
    read_source,
    read_split,
    write_split,
    zero_shot,
)
from tests.splits.worlds import content, write

KEYPOINTS = ("nose", "tail", "left_paw")
NAMES = {name: name for name in KEYPOINTS}


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    source = read_source(write(tmp_path / "a.json", content()))
    other = read_source(write(tmp_path / "b.json", content(seed=1)))
    for split in (
        few_shot(source, 3, 7),
        zero_shot(source, other, ["Bovidae"], ["Felidae", "Equidae"], val=other),
        held_out(source, other, NAMES, NAMES, ["left_paw"], val=other),
    ):
        write_split(split, tmp_path / "deep" / "split.json")
        again = read_split(tmp_path / "deep" / "split.json")
        assert again == split
        assert again.summary() == split.summary()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["split.json"]


def test_the_bytes_are_pinned(tmp_path: Path) -> None:
    """The same file on every Python: the hash was taken once and must never change."""
    source = read_source(write(tmp_path / "a.json", content(images=30)))
    write_split(few_shot(source, 2, 3), tmp_path / "split.json")
    written = (tmp_path / "split.json").read_bytes()
    assert hashlib.sha256(written).hexdigest()[:16] == "d129b86837f439ea"


WRITE_ALL = """
import sys
root, folder = sys.argv[1:]
sys.path.insert(0, root)
from genloc.splits import few_shot, fraction, held_out, leave_one_out, read_source, write_split, zero_shot
train, val = (read_source(f"{folder}/{name}.json") for name in ("train", "val"))
made = [few_shot(train, n, seed) for n in (1, 3) for seed in (0, 7)]
names = {name: name for name in train.keypoints}
made += [fraction(train, 0.3, 2), held_out(train, val, names, names, ["left_paw"])]
made += [zero_shot(train, val, ["Bovidae"], ["Canidae"], val=val)]
made += [split for _, split in leave_one_out(train, train, by="order")]
for n, split in enumerate(made):
    write_split(split, f"{folder}/made-{n}.json")
"""


@pytest.mark.parametrize("minor", range(11, 14))
def test_every_python_writes_the_same_bytes(minor: int, tmp_path: Path, repository: Path) -> None:
    """Those from 3.11 to 3.13 that are on this machine, against the one that runs the tests."""
    other = python(minor)
    if other is None:
        pytest.skip(f"no python3.{minor} here")
    written: list[dict[str, bytes]] = []
    for which in (sys.executable, other):
        folder = tmp_path / str(len(written))
        for name, seed, first in (("train", 0, 1), ("val", 1, 100)):
            write(folder / f"{name}.json", content(images=35, seed=seed, first=first))
        command = [which, "-I", "-S", "-c", WRITE_ALL, str(repository), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        written.append({path.name: path.read_bytes() for path in folder.glob("made-*.json")})
    assert written[0] == written[1] and len(written[0]) > 8


def python(minor: int) -> str | None:
    """A Python 3.`minor` that starts: on the path, or one that pyenv keeps."""
    name = f"python3.{minor}"
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/{name}"))
    for path in (shutil.which(name), *map(str, kept)):
        # A shim may be there for a version that is not.
        if path and not subprocess.run([path, "-c", ""], capture_output=True).returncode:
            return path
    return None


def test_it_needs_the_standard_library_only() -> None:
    code = "import sys, genloc.splits; print(*(m.split('.')[0] for m in sys.modules))"
    # -I -S: without site-packages nothing else could be imported.
    code = f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); {code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    known = sys.stdlib_module_names | {"genloc", "__main__"}
    assert not {m for m in done.stdout.split() if m not in known and not m.startswith("_")}


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", content())
    part = few_shot(read_source(path), 2).parts["train"]
    part.check(path, "the split")
    other = write(tmp_path / "b.json", content(seed=1))
    with pytest.raises(ValueError, match=r"x#train was made for a\.json .*b\.json has .* again"):
        part.check(other, "x#train")
    with pytest.raises(FileNotFoundError, match="no annotation file"):
        part.check(tmp_path / "c.json", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a json file"),
        ("[]", "is no split"),
        ('{"images": []}', "is no split"),
        ('{"format": "genloc split 1", "kind": "x"}', "damaged: KeyError"),
        (
            '{"format": "genloc split 1", "kind": "x", "recipe": {}, "seed": 0, "notes": [],'
            '"parts": {"train": {"file": "a"}}}',
            "damaged: KeyError",
        ),
        (
            '{"format": "genloc split 1", "kind": "x", "recipe": {}, "seed": 0, "notes": [],'
            '"parts": {}}',
            "has parts",
        ),
    ],
)
def test_files_that_are_no_splits(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_split(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match="genloc split makes one"):
        read_split(tmp_path / "b.json")


def test_parts_are_asked_for_by_name() -> None:
    split = Split("few-shot", {}, 0, {"train": Part("a.json", "0" * 16)})
    with pytest.raises(ValueError, match="no part 'test'; it has train"):
        split.part("test")


def test_held_out_keypoints(tmp_path: Path) -> None:
    source = read_source(write(tmp_path / "a.json", content()))
    split = held_out(source, source, NAMES, NAMES, ["left_paw"])
    assert split.parts["train"].keypoints == {"nose": "nose", "tail": "tail"}
    assert split.parts["test"].keypoints == {"left_paw": "left_paw"}
    for held in (["wing"], [], list(KEYPOINTS)):
        with pytest.raises(ValueError, match="cannot be held out"):
            held_out(source, source, NAMES, NAMES, held)
    with pytest.raises(ValueError, match=r"nothing of a\.json is left"):  # no tail is labelled
        held_out(source, source, NAMES, NAMES, ["tail"])


def test_animals_without_a_keypoint_that_counts_are_not_counted(tmp_path: Path) -> None:
    given = content(images=20)
    for annotation in given["annotations"][:7]:
        annotation["keypoints"][6:] = [0, 0, 0]  # its paw
    write(tmp_path / "a.json", given)
    source = read_source(tmp_path / "a.json")
    split = held_out(source, source, NAMES, NAMES, ["left_paw"])
    counted = split.parts["test"].counts["annotations"]
    assert counted == split.parts["train"].counts["annotations"] - 7
    read = CocoKeypoints(
        tmp_path / "a.json",
        None,
        skeleton=load_skeleton(tmp_path / "a.json"),
        keypoints=split.parts["test"].keypoints,
    )
    assert len(read) == counted


def test_a_folder_is_no_place_for_a_split(tmp_path: Path) -> None:
    split = Split("few-shot", {}, 0, {"train": Part("a.json", "0" * 16)})
    with pytest.raises(IsADirectoryError, match="say the json to write"):
        write_split(split, tmp_path)
    with pytest.raises(IsADirectoryError, match="name one of its annotation files"):
        read_source(tmp_path)
    assert not list(tmp_path.iterdir())


def test_domains_meet_on_the_keypoints_of_both(tmp_path: Path) -> None:
    a = read_source(write(tmp_path / "a.json", content()))
    b = read_source(write(tmp_path / "b.json", content(seed=1)))
    here, there = {"Nose": "nose", "ear": "tail"}, {"Nose": "left_paw", "hoof": "nose"}
    split = cross_domain(a, b, here, there, val=a)
    assert split.parts["train"].keypoints == split.parts["val"].keypoints == {"Nose": "nose"}
    assert split.parts["test"].keypoints == {"Nose": "left_paw"}
    assert split.notes == ("only one file has ear, hoof: not counted",)
    with pytest.raises(ValueError, match=r"a.json has no keypoint 'Nose'; it has nose, tail"):
        cross_domain(a, b, {"nose": "Nose"}, {"nose": "nose"})
    names = {name: name for name in KEYPOINTS}
    same = cross_domain(a, b, names, names)
    assert same.parts["train"].keypoints is None and not same.notes
    with pytest.raises(ValueError, match="share no keypoint"):
        cross_domain(a, b, {"ear": "Ear"}, {"tail": "T"})


def test_published_files_are_found_by_a_word(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write(tmp_path / f"ap10k-{name}-split1.json", content())
    assert published(tmp_path, "val-split1").name == "ap10k-val-split1.json"
    beside = tmp_path / "ap10k-train-split1.json"
    assert published(beside, "train-split1") == beside
    assert published(beside, "test-split1").name == "ap10k-test-split1.json"
    with pytest.raises(FileNotFoundError, match="is named val-split2; it has ap10k-test-split1"):
        published(tmp_path, "val-split2")
    with pytest.raises(ValueError, match=r"3 files .* say more"):
        published(tmp_path, "split1")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        published(tmp_path / "absent", "split1")


def test_labels_are_never_written_over(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{n}.json", content(first=n)) for n in (1, 100))
    before = a.read_bytes()
    split = few_shot(read_source(a), 5)
    with pytest.raises(FileExistsError, match="no split, so it is not overwritten"):
        write_split(split, a)
    with pytest.raises(FileExistsError, match="was not merged here"):
        merge([a, b], a)
    assert a.read_bytes() == before
    for _ in range(2):  # what is our own may be written again
        write_split(split, tmp_path / "split.json")
        merge([a, b], tmp_path / "both.json")


def test_files_are_merged_and_split_as_one(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{n}.json", content(first=n)) for n in (1, 100))
    counts = merge([a, b], tmp_path / "c.json")
    both = read_source(tmp_path / "c.json")
    assert both.labels == tuple(sorted(read_source(a).labels + read_source(b).labels))
    assert counts == {"images": 80, "annotations": len(both.labels)}
    with pytest.raises(ValueError, match="share 40 ids of images"):
        merge([a, a], tmp_path / "d.json")
    other = content(first=100)
    other["categories"] = other["categories"][1:]
    write(b, other)
    with pytest.raises(ValueError, match="other categories"):
        merge([a, b], tmp_path / "d.json")
    with pytest.raises(ValueError, match="expected two or more"):
        merge([a], tmp_path / "d.json")
    (tmp_path / "e.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="not in COCO"):
        merge([a, tmp_path / "e.json"], tmp_path / "d.json")
    assert not (tmp_path / "d.json").exists()
