"""Every command of the README runs. A long one runs in a reduced form, said here.

The commands run in a folder that looks like a clone: the repository's files, the environment of
these tests as `.venv`, and a data set of a few pictures where the README has a real one. The zoo is
laid out as AP-10K is, so it stands in for it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.readme_commands import RUN_AS

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Contents of the README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The commands of the README's bash blocks, one line each, without comments."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone, with small data in it."""
    from genloc.data.zoo import write_zoo
    from genloc.labels.mpii import EDGES, JOINTS
    from genloc.skeleton import Skeleton
    from genloc.splits import cross_domain, few_shot, held_out, read_source, write_split, zero_shot
    from tests.labels.make_labels import write_deeplabcut
    from tests.language.make_language import write_decoder
    from tests.make_adapter import write_adapter, write_text_adapter, write_visual_adapter
    from tests.make_categories import write_categories
    from tests.make_coco import write_coco
    from tests.make_prior import tiny_modules, write_folder
    from tests.media.clips import write_clip
    from tests.report.make_record import write_scores
    from tests.test_configs import coco

    clone = tmp_path_factory.mktemp("clone")
    top = ("genloc", "configs", "tools", "tests", "benchmarks")
    for name in (*top, "pyproject.toml", "README.md", "LICENSE"):
        (clone / name).symlink_to(REPOSITORY / name)
    (clone / ".venv").symlink_to(sys.prefix)
    write_folder(clone / "prior", tiny_modules())
    zoo = clone / "data" / "ap10k"
    for part in ("train", "val", "test"):
        name = f"annotations/mp100_split1_{part}.json"
        write_categories(clone / "data" / "categories", name=name)
    for part in ("train", "test"):
        name = f"cross_category_annotations/fewshot_{part}_humanface.json"
        write_categories(clone / "data" / "categories", name=name)
    # One species of each family of Table 6.
    write_zoo(zoo, per_species=4, size=64, species=(1, 7, 19, 21, 25), workers=1)
    train, val = (read_source(zoo / f"annotations/ap10k-{p}-split1.json") for p in ("train", "val"))
    pair = zero_shot(train, val, ["Bovidae"], ["Canidae"], val=val)
    names = {name: name for name in train.keypoints}
    held = ["right_elbow", "left_front_paw", "left_knee", "right_back_paw"]
    splits = clone / "data" / "splits"
    test = read_source(zoo / "annotations" / "ap10k-test-split1.json")
    write_split(held_out(train, test, names, names, held, val=val), splits / "held_out.json")
    drawn = clone / "data" / "zoo_cartoon"
    write_zoo(drawn, per_species=4, size=64, species=(1, 7), style="cartoon", workers=1)
    other = read_source(drawn / "annotations" / "ap10k-test-split1.json")
    write_split(cross_domain(train, other, names, names, val=val), splits / "photo_to_cartoon.json")
    coco(clone / "data" / "coco")
    mpii = Skeleton("mpii", JOINTS, EDGES, (), (0.05,) * 16)
    write_coco(clone / "data" / "mpii", skeleton=mpii, name="labels.json")
    write_split(few_shot(train, 5), splits / "shots_5.json")
    write_split(pair, splits / "bovidae_canidae.json")
    # A command may run without those before it: in these, one of each table's is enough.
    write_split(few_shot(train, 5), splits / "few_shot_5_seed_0.json")
    write_split(pair, splits / "zero_shot_Bovidae_Canidae.json")
    (clone / "runs" / "quickstart").mkdir(parents=True)
    shutil.copytree(zoo, clone / "runs" / "quickstart" / "zoo")
    write_scores(clone / "runs" / "quickstart")

    truth = json.loads((zoo / "annotations" / "ap10k-val-split1.json").read_text(encoding="utf-8"))
    results = [
        {key: one[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for one in truth["annotations"]
    ]
    (clone / "results.json").write_text(json.dumps(results), encoding="utf-8")

    mine = clone / "mine"
    shutil.copytree(zoo / "data", mine / "images")
    for one in truth["categories"]:  # ears instead of eyes: nothing that GenLoc knows by name
        one["keypoints"] = [k.replace("_eye", "_ear") for k in one["keypoints"]]
    (mine / "annotations.json").write_text(json.dumps(truth), encoding="utf-8")
    (mine / "skeleton.yaml").write_text(blocks("yaml")[0], encoding="utf-8")

    # A random adapter stands in for the quickstart's, which is trained by another test.
    write_adapter(clone / "runs" / "made")
    (clone / "clips").mkdir()
    write_clip(clone / "clips" / "horse.mp4", 6)
    write_visual_adapter(clone / "runs" / "asked")
    write_text_adapter(clone / "runs" / "told")
    write_decoder(clone / "weights" / "vicuna-7b-v1.5")
    (clone / "heron.json").write_text('{"keypoints": {"beak": [120, 84], "tail": [30, 150]}}')
    for name in ("a.jpg", "b.jpg", "lake.jpg", "heron.jpg"):
        cv2.imwrite(str(clone / name), np.zeros((200, 300, 3), np.uint8))
    write_deeplabcut(mine / "CollectedData.csv", truth)
    person = {"joints": [[9, 9]] * 16, "joints_vis": [1] * 16}
    person["image"] = truth["images"][0]["file_name"]
    (mine / "mpii.json").write_text(json.dumps([person]))
    return clone


def run(command: str, clone: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run one command in the clone, as a person would who has activated the environment."""
    environment = os.environ | {
        "GENLOC_INSTALL": "no",  # the environment of these tests stays as it is
        "GENLOC_VENV": "",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def test_the_readme_and_this_table_name_the_same_commands() -> None:
    found = commands()
    assert len(found) == len(set(found)), "a command stands twice in the README"
    assert sorted(found) == sorted(RUN_AS), (
        "say in RUN_AS how a new command of the README is tested"
    )


@pytest.mark.parametrize("command", [c for c in commands() if "tools/quickstart" not in c])
def test_a_command_runs(command: str, clone: Path) -> None:
    done = run(RUN_AS.get(command) or command, clone, seconds=300)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_the_python_examples_run(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, words = [block for block in blocks("python") if "KeypointPredictor" in block]
    monkeypatch.chdir(clone)
    names: dict[str, Any] = {}
    exec(boxes.replace("runs/quickstart", "runs/made"), names)
    assert names["found"].xy.shape == (2, 17, 2)
    exec(words.replace("runs/words", "runs/told"), names)
    assert names["places"].xy.shape == (1, 2, 2)
    assert len(names["named"]) == 17 and abs(sum(names["named"].values()) - 1) < 1e-4


def test_a_reduced_form_keeps_the_command_and_its_options() -> None:
    for command, reduced in RUN_AS.items():
        asked, ran = shlex.split(command), shlex.split(reduced or command)
        assert ran[:2] == asked[:2]
        assert {word for word in asked if word.startswith("--")} <= set(ran)


def test_quickstart_ends_with_its_table_and_files_and_uses_them_again(clone: Path) -> None:
    first = run(RUN_AS["bash tools/quickstart"], clone, seconds=300)
    assert first.returncode == 0, f"{first.stdout[-2000:]}\n{first.stderr[-4000:]}"
    assert "mean pose" in first.stdout
    for name in ("metrics.json", "adapter", "overlays.png"):
        assert f"runs/quickstart/{name}" in first.stdout[-200:]
        assert (clone / "runs" / "quickstart" / name).exists()
    assert "AP" in (clone / "runs" / "quickstart" / "metrics.json").read_text(encoding="utf-8")

    adapter = clone / "runs" / "quickstart" / "adapter" / "genloc.yaml"
    written = adapter.stat().st_mtime_ns
    again = run(RUN_AS["bash tools/quickstart"], clone, seconds=300)
    assert again.returncode == 0, again.stderr[-4000:]
    assert "Trained already" in again.stderr
    assert adapter.stat().st_mtime_ns == written


@pytest.mark.slow
def test_quickstart_trains_anew_for_other_arguments(clone: Path) -> None:
    """This one from the prior that ships with the package."""
    command = RUN_AS["bash tools/quickstart --trainer.max_epochs 3"]
    done = run(command, clone, seconds=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Trained already" not in done.stderr
    assert "max_epochs: 3" in (clone / "runs/quickstart/config.yaml").read_text(encoding="utf-8")


def test_files_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"`((?:configs|tools|genloc|tests|benchmarks)/[\w./-]*\w)/?`", README))
    assert named, "the README names no file"
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []


def test_the_first_sentence_says_keypoint() -> None:
    title, first, *_ = README.split("\n\n")
    assert title == "# GenLoc"
    assert "keypoint" in first.partition(". ")[0]
