"""`genloc split` and what a run makes of its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genloc.cli import main
from genloc.skeleton import COCO
from genloc.splits import TABLE_6, read_split
from tests.make_coco import write_coco
from tests.splits.worlds import content, write


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """AP-10K's three files: two families, 12 images each."""
    for seed, part in enumerate(("train", "val", "test")):
        name = f"annotations/ap10k-{part}-split1.json"
        (tmp_path / "annotations").mkdir(exist_ok=True)
        write_coco(tmp_path, images=12, species=(1, 8), name=name, seed=seed)
    return tmp_path / "annotations"


def split(*arguments: str | Path) -> int:
    return main(["split", *map(str, arguments)])


def test_few_shots(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, out = files / "ap10k-train-split1.json", tmp_path / "out.json"
    assert split("few-shot", train, "--shots", "2", "--seed", "3", "--out", out) == 0
    first = out.read_bytes()
    assert "few-shot, shots 2, seed 3" in capsys.readouterr().out
    assert len(read_split(out).parts["train"].image_ids or ()) == 4
    assert split("few-shot", train, "--shots", "2", "--seed", "3", "--out", out) == 0
    assert out.read_bytes() == first
    assert split("few-shot", train, "--shots", "20", "--out", out) == 0
    assert "note: antelope has 6 images, all taken" in capsys.readouterr().out
    # Several at once, under the names that the tables look for; each as if it were made alone.
    many = ("--shots", "1", "2", "--seeds", "0", "3", "--out", tmp_path / "few")
    assert split("few-shot", train, *many) == 0
    names = {f"few_shot_{n}_seed_{s}.json" for n in (1, 2) for s in (0, 3)}
    assert {path.name for path in (tmp_path / "few").iterdir()} == names
    assert (tmp_path / "few" / "few_shot_2_seed_3.json").read_bytes() == first
    assert split("few-shot", train, "--shots", "1", "2", "--out", tmp_path / "one") == 0
    assert len(list((tmp_path / "one").glob("few_shot_?_seed_0.json"))) == 2
    for wrong in (("--seed", "1", "--shots", "2"), ("--list", out)):
        with pytest.raises(SystemExit):
            split("few-shot", train, *wrong, "--seeds", "0", "--out", out)


def test_zero_shots(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    pair = ("--train", "Bovidae", "--test", "Canidae")
    assert split("zero-shot", files, *pair, "--out", out) == 0
    parts = read_split(out).parts
    assert {name: part.file for name, part in parts.items()} == {
        "train": "ap10k-train-split1.json",
        "val": "ap10k-val-split1.json",
        "test": "ap10k-val-split1.json",
    }
    assert "test: 6 images, 6 annotations, 1 species" in capsys.readouterr().out
    assert split("zero-shot", files, *pair, "--test-split", "test-split1", "--out", out) == 0
    assert read_split(out).parts["test"].file == "ap10k-test-split1.json"
    assert split("zero-shot", files, "--pairs", "--out", tmp_path / "pairs") == 0
    names = {path.name for path in (tmp_path / "pairs").iterdir()}
    assert names == {"zero_shot_Bovidae_Canidae.json", "zero_shot_Canidae_Bovidae.json"}
    assert (
        split("zero-shot", files, "--leave-one-out", "--by", "species", "--out", tmp_path / "l")
        == 0
    )
    assert {path.name for path in (tmp_path / "l").iterdir()} == {
        "without_antelope.json",
        "without_dog.json",
    }
    for wrong in (
        ("--pairs", *pair),
        ("--train", "Bovidae"),
        (),
        ("--table-6", "--pairs"),
        ("--table-6", "--by", "order"),
    ):
        with pytest.raises(SystemExit):
            split("zero-shot", files, *wrong, "--out", out)
    assert split("zero-shot", files, "--train", "Mars", "--test", "Canidae", "--out", out) == 2
    assert "has no labels of family Mars" in capsys.readouterr().err


def test_the_pairs_of_table_6_are_one_command(tmp_path: Path) -> None:
    for part in ("train", "val"):
        animals = content(first={"train": 1, "val": 100}[part])
        write(tmp_path / "annotations" / f"ap10k-{part}-split1.json", animals)
    out = tmp_path / "out"
    assert split("zero-shot", tmp_path / "annotations", "--table-6", "--out", out) == 0
    assert {p.stem for p in out.iterdir()} == {f"zero_shot_{a}_{b}" for a, b in TABLE_6}
    for a, b in TABLE_6:
        found = read_split(out / f"zero_shot_{a}_{b}.json")
        assert (found.recipe["train"], found.recipe["test"]) == ([a], [b])
        assert list(found.parts) == ["train", "val", "test"]


def test_the_other_kinds(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, val, out = (
        files / "ap10k-train-split1.json",
        files / "ap10k-val-split1.json",
        tmp_path / "o",
    )
    assert split("fraction", train, "--part", "0.5", "--out", out) == 0
    assert len(read_split(out).parts["train"].image_ids or ()) == 6
    assert split("cross-domain", train, val, "--val", train, "--out", out) == 0
    assert list(read_split(out).parts) == ["train", "val", "test"]
    assert (
        split("held-out", train, val, "--skeleton", "ap10k", "--keypoints", "nose", "--out", out)
        == 0
    )
    assert read_split(out).parts["test"].keypoints == {"nose": "nose"}
    assert split("held-out", train, val, "--skeleton", "ap10k", "--out", out) == 2
    assert "left_wrist, right_ankle cannot be held out" in capsys.readouterr().err
    people = [write_coco(tmp_path, skeleton=COCO, name=f"{n}.json") for n in "ab"]
    assert split("held-out", *people, "--out", out) == 0
    assert len(read_split(out).parts["train"].keypoints or ()) == 13
    assert split("merge", *people, "--out", tmp_path / "c.json") == 2
    assert "share 6 ids" in capsys.readouterr().err


def test_evaluate_scores_a_part(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, val = tmp_path / "out.json", files / "ap10k-val-split1.json"
    assert split("zero-shot", files, "--train", "Bovidae", "--test", "Canidae", "--out", out) == 0
    truth = json.loads(val.read_text())
    results = [
        {k: a[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for a in truth["annotations"]
    ]
    dogs = [r for r in results if r["category_id"] == 8]
    (tmp_path / "r.json").write_text(json.dumps(dogs))
    score = ["evaluate", str(tmp_path / "r.json"), str(val), "--skeleton", "ap10k"]
    table = ["--out", str(tmp_path / "t.md"), "--per-folder"]
    assert main([*score, *table, "--split", str(out)]) == 0
    text = (tmp_path / "t.md").read_text()
    assert "| results | 100.0 |" in text and "Each folder" in text
    assert main([*score, *table]) == 0
    assert "| results | 50.0 |" in (tmp_path / "t.md").read_text(), (
        "half the species have no result"
    )
    capsys.readouterr()
    assert main([*score, "--split", f"{out}#train"]) == 2
    assert "was made for ap10k-train-split1.json" in capsys.readouterr().err


def test_help_comes_without_torch_or_numpy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, contextlib\n"
        "from genloc.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['split', 'zero-shot', '--help'])\n"
        "print('loaded:', {'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--leave-one-out" in done.stdout
    assert "loaded: set()" in done.stdout, done.stdout + done.stderr
