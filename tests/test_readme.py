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

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

SOURCE = "--model.model.init_args.prior.init_args.source"
# Small crops and a random net of Stable Diffusion's make instead of an hour with the real one.
SMALL = "--data.crop_size 64 --data.batch_size 2 --data.effective_batch 2 --data.num_workers 0"
QUICK = f"{SOURCE} prior {SMALL}"
ONE_STEP = f"{QUICK} --trainer.fast_dev_run 1"

# README's command -> what is run for it; "" means: as it stands.
RUN_AS = {
    "bash tools/quickstart": f"bash tools/quickstart --trainer.max_epochs 1 {QUICK}",
    "bash tools/quickstart --trainer.max_epochs 3": f"bash tools/quickstart --trainer.max_epochs 3 {SMALL}",
    "bash tools/test": "bash tools/test --no-lint --collect-only -q tests/test_conftest.py",
    "source .venv/bin/activate": "",
    "genloc fit --config configs/ap10k.yaml --data.root data/ap10k": (
        f"genloc fit --config configs/ap10k.yaml --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc test --config configs/ap10k.yaml --data.root data/ap10k": (
        f"genloc test --config configs/ap10k.yaml --data.root data/ap10k {ONE_STEP} --ckpt_path none"
    ),
    "genloc fit --config configs/ap10k.yaml --config configs/ablation/mse.yaml "
    "--config configs/ablation/ten_epochs.yaml --data.root data/ap10k": (
        "genloc fit --config configs/ap10k.yaml --config configs/ablation/mse.yaml "
        f"--config configs/ablation/ten_epochs.yaml --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc evaluate results.json data/ap10k/annotations/ap10k-val-split1.json --skeleton ap10k": "",
    "genloc split few-shot data/ap10k/annotations/ap10k-train-split1.json --shots 5 --seed 0 "
    "--out data/splits/shots_5.json": "",
    "genloc split zero-shot data/ap10k/annotations --train Bovidae --test Canidae "
    "--out data/splits/bovidae_canidae.json": "",
    "genloc fit --config configs/ap10k.yaml --config configs/protocol/scarcenet.yaml "
    "--config configs/ablation/ten_epochs.yaml --data.least_steps 46 "
    "--data.root data/ap10k --data.split data/splits/shots_5.json --name shots_5": (
        "genloc fit --config configs/ap10k.yaml --config configs/protocol/scarcenet.yaml "
        "--config configs/ablation/ten_epochs.yaml --data.least_steps 46 "
        f"--data.root data/ap10k --data.split data/splits/shots_5.json --name shots_5 {ONE_STEP}"
    ),
    "genloc fit --config configs/ap10k.yaml --config configs/protocol/zero_shot.yaml "
    "--data.root data/ap10k --data.split data/splits/bovidae_canidae.json --name bovidae_canidae": (
        "genloc fit --config configs/ap10k.yaml --config configs/protocol/zero_shot.yaml --data.root data/ap10k "
        f"--data.split data/splits/bovidae_canidae.json --name bovidae_canidae {ONE_STEP}"
    ),
    "genloc fit --config configs/zoo.yaml --data.split configs/splits/zoo/few_shot_5_seed_0.json "
    "--name zoo_shots_5": (  # the kept splits are of a larger zoo than the one here, and refused
        "genloc fit --config configs/zoo.yaml --data.root data/ap10k --data.split data/splits/shots_5.json "
        f"--name zoo_shots_5 {ONE_STEP}"
    ),
    "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml --name words": (
        "genloc fit --config configs/zoo.yaml --config configs/words/text.yaml --name words "
        f"--data.root data/ap10k {ONE_STEP}"
    ),
    "genloc split few-shot data/ap10k/annotations/ap10k-train-split1.json --shots 5 "
    "--out data/splits/few_shot_5.json": "",
    "python tools/paper_tables.py --table 5 --on ap10k --splits data/splits --dry-run": (
        "python tools/paper_tables.py --table 5 --on ap10k --splits data/splits --dry-run --prior prior"
    ),
    "python tools/paper_tables.py --table 1 --on zoo --dry-run": (
        "python tools/paper_tables.py --table 1 --on zoo --dry-run --prior prior --root data/ap10k"
    ),
    "python tools/paper_tables.py --table 1 --on zoo --quick": (
        "python tools/paper_tables.py --table 1 --on zoo --quick --prior prior "
        "--rows 'CKHE = MSE loss' 'Only condition'"
    ),
    "genloc report runs/quickstart": "",
    "genloc zoo data/zoo": "genloc zoo data/zoo --per-species 3 --size 64 --workers 1",
    "genloc zoo data/categories --bodies all": (
        "genloc zoo data/bodies --bodies all --per-species 10 --size 48 --workers 1"
    ),
    "genloc fit --config configs/visual.yaml": f"genloc fit --config configs/visual.yaml {ONE_STEP}",
    "genloc test --config configs/visual.yaml": (
        f"genloc test --config configs/visual.yaml {ONE_STEP} --ckpt_path none"
    ),
    "genloc predict lake.jpg --adapter runs/visual/adapter --like heron.jpg --points heron.json": (
        "genloc predict lake.jpg --adapter runs/asked/adapter --like heron.jpg --points heron.json"
    ),
    "genloc fit --config configs/language.yaml": (
        f"genloc fit --config configs/language.yaml --data.root data/ap10k {ONE_STEP}"
    ),
    "genloc test --config configs/language.yaml": (
        f"genloc test --config configs/language.yaml --data.root data/ap10k {ONE_STEP} --ckpt_path none"
    ),
    # The page itself runs in tests/app; here its command is understood.
    "genloc app --adapter runs/quickstart/adapter": "genloc app --adapter runs/made/adapter --help",
    "genloc predict clips/horse.mp4 --adapter runs/quickstart/adapter --track": (
        "genloc predict clips/horse.mp4 --adapter runs/made/adapter --track"
    ),
    "genloc predict data/ap10k/data --boxes data/ap10k/annotations/ap10k-val-split1.json "
    "--adapter runs/quickstart/adapter --out predictions/val": (
        "genloc predict data/ap10k/data --boxes data/ap10k/annotations/ap10k-val-split1.json "
        "--adapter runs/made/adapter --out predictions/val"
    ),
    "genloc evaluate predictions/val/results.json data/ap10k/annotations/ap10k-val-split1.json "
    "--skeleton ap10k": "",
    "genloc import mine/CollectedData.csv mine/labels.json": "",
    "genloc check mine/labels.json": "",
    "genloc fit --config configs/own_data.yaml --data.annotations mine/labels.json": (
        f"genloc fit --config configs/own_data.yaml --data.annotations mine/labels.json {ONE_STEP}"
    ),
    "genloc predict film.mp4 --adapter runs/own_data/adapter --zoom": (
        "genloc predict clips/horse.mp4 --adapter runs/made/adapter --zoom --out predictions/film"
    ),
    "genloc fit --config configs/own_data.yaml --config configs/prior/sd15.yaml "
    "--data.annotations mine/labels.json --name own_sd15": (
        "genloc fit --config configs/own_data.yaml --config configs/prior/sd15.yaml "
        f"--data.annotations mine/labels.json --name own_sd15 {ONE_STEP}"
    ),
    "genloc fit --config configs/own_data.yaml --data.annotations mine/annotations.json "
    "--data.skeleton mine/skeleton.yaml --name own_skeleton": (
        "genloc fit --config configs/own_data.yaml --data.annotations mine/annotations.json "
        f"--data.skeleton mine/skeleton.yaml --name own_skeleton {ONE_STEP}"
    ),
}


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
    from genloc.splits import few_shot, read_source, write_split, zero_shot
    from tests.make_adapter import write_adapter, write_visual_adapter
    from tests.make_categories import write_categories
    from tests.make_prior import tiny_modules, write_folder
    from tests.media.clips import write_clip
    from tests.report.make_record import write_scores

    clone = tmp_path_factory.mktemp("clone")
    for name in ("genloc", "configs", "tools", "tests", "pyproject.toml", "README.md", "LICENSE"):
        (clone / name).symlink_to(REPOSITORY / name)
    (clone / ".venv").symlink_to(sys.prefix)
    write_folder(clone / "prior", tiny_modules())
    zoo = clone / "data" / "ap10k"
    for part in ("train", "val", "test"):
        name = f"annotations/mp100_split1_{part}.json"
        write_categories(clone / "data" / "categories", name=name)
    write_zoo(zoo, per_species=4, size=64, species=(1, 7), workers=1)
    train, val = (read_source(zoo / f"annotations/ap10k-{p}-split1.json") for p in ("train", "val"))
    pair = zero_shot(train, val, ["Bovidae"], ["Canidae"], val=val)
    write_split(few_shot(train, 5), clone / "data" / "splits" / "shots_5.json")
    write_split(pair, clone / "data" / "splits" / "bovidae_canidae.json")
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
    (clone / "heron.json").write_text('{"keypoints": {"beak": [120, 84], "tail": [30, 150]}}')
    for name in ("a.jpg", "b.jpg", "lake.jpg", "heron.jpg"):
        cv2.imwrite(str(clone / name), np.zeros((200, 300, 3), np.uint8))
    write_table(mine / "CollectedData.csv", truth)
    return clone


def write_table(path: Path, truth: dict) -> None:
    """The first animal of each picture in DeepLabCut's layout."""
    names = truth["categories"][0]["keypoints"]
    columns = [name for name in names for _ in "xy"]
    lines = [["scorer", *("me" for _ in columns)], ["bodyparts", *columns]]
    lines.append(["coords", *("xy"[i % 2] for i in range(len(columns)))])
    for image in truth["images"]:
        one = next(a for a in truth["annotations"] if a["image_id"] == image["id"])
        points = zip(*(one["keypoints"][i::3] for i in range(3)), strict=True)
        numbers = [str(n) if v else "" for x, y, v in points for n in (x, y)]
        lines.append([f"images/{image['file_name']}", *numbers])
    path.write_text("\n".join(",".join(line) for line in lines), encoding="utf-8")


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


def test_the_python_example_runs(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in blocks("python") if "KeypointPredictor" in block]
    monkeypatch.chdir(clone)
    names: dict[str, Any] = {}
    exec(code.replace("runs/quickstart", "runs/made"), names)
    assert names["found"].xy.shape == (2, 17, 2)


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
