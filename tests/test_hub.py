"""Sharing, with the hub played by a folder: nothing here reaches the network."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import yaml

from genloc.adapter import AdapterError
from genloc.card import model_card, prior_has_seen
from genloc.cli import main
from genloc.hub import FILES, fetch_adapter, push_to_hub
from genloc.predictor import KeypointPredictor
from tests.make_adapter import write_adapter
from tests.training.conftest import make_world

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("made"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds the hub's repositories."""
    store = tmp_path / "hub"

    class Api:
        def __init__(self, token: str | None = None) -> None:
            assert token in (None, "secret")

        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            (store / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            (store / repo_id / ".private").write_text(str(private))

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
            shutil.copytree(folder_path, store / repo_id, dirs_exist_ok=True)

    def download(repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        if not (store / repo_id).is_dir():
            raise huggingface_hub.errors.LocalEntryNotFoundError(f"no {repo_id}\nand more")
        copy = tmp_path / "cache" / repo_id
        for name in allow_patterns:
            if (store / repo_id / name).is_file():
                copy.mkdir(parents=True, exist_ok=True)
                shutil.copy(store / repo_id / name, copy / name)
        return str(copy)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that `genloc fit` and `genloc test` made, with its prior."""
    folder = tmp_path_factory.mktemp("world")
    world = make_world(folder)
    fit = world.arguments("fit", folder / "runs", "--trainer.max_epochs", "1")
    assert main([*fit, "--model.flip_test", "true", "--pictures.count", "0"]) == 0
    assert main(world.arguments("test", folder / "runs", "--model.flip_test", "true")) == 0
    return folder / "runs" / "small"


def test_what_is_pushed_is_what_others_load(run: Path, hub: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    folder = tmp_path / "run" / "adapter"
    (folder / "notes.txt").write_text("mine alone")
    address = push_to_hub(folder, "me/mouse", base_model=SD15, private=True, token="secret")
    assert address.endswith("/me/mouse")
    assert {p.name for p in (hub / "me/mouse").iterdir()} == {*FILES, ".private"}
    assert (hub / "me/mouse/.private").read_text() == "True"
    card = (hub / "me/mouse/README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "creativeml-openrail-m"
    assert head["base_model"] == SD15
    assert "CreativeML Open RAIL-M" in card
    here = str(run.parent.parent)
    assert here not in card
    assert here not in (hub / "me/mouse/genloc.yaml").read_text()

    # the base model is a name that is nowhere on this machine; its weights are the same
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    theirs = KeypointPredictor.from_pretrained(
        "me/mouse", prior=str(run.parent.parent / "prior"), device="cpu"
    )
    ours = KeypointPredictor.from_pretrained(folder, device="cpu")
    np.testing.assert_array_equal(theirs(picture).xy, ours(picture).xy)
    assert theirs.fingerprint == ours.fingerprint


def test_the_card_holds_the_numbers_of_genloc_test(run: Path, hub: Path) -> None:
    numbers = json.loads((run / "metrics.json").read_text())["test"]
    push_to_hub(run / "adapter", "me/mouse", base_model=SD15)
    for card in (run / "adapter" / "README.md", hub / "me/mouse/README.md"):
        text = card.read_text()
        assert "On `test`, 5 instances:" in text
        assert "| | this adapter | mean pose of the training set |" in text
        for name in ("AP", "PCK@0.1"):
            ours, pose = (f"{100 * kept[name]:.1f}" for kept in (numbers, numbers["mean_pose"]))
            assert f"| {name} | {ours} | {pose} |" in text
        assert "- annotations: val.json (sha256 " in text
        assert "- weights: best.ckpt, after step 3 on 22 crops" in text
        assert "- flip test: on" in text
        assert "while training" not in text


def test_numbers_of_other_weights_stay_out_of_the_card(
    run: Path, hub: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    folder, metrics = tmp_path / "run" / "adapter", tmp_path / "run" / "metrics.json"
    other = json.loads(metrics.read_text())
    other["test"]["steps"] = 999
    metrics.write_text(json.dumps(other))
    push_to_hub(folder, "me/mouse", base_model="tiny")
    card = (hub / "me/mouse/README.md").read_text()
    assert "On `test`" not in card
    assert re.search(r"\| val, while training, no flip test / AP \| [\d.e-]+ \|", card)
    kept = r"\| val, while training, no flip test / annotations \| val\.json \(sha256 \w+\) \|"
    assert re.search(kept, card)
    assert "license: apache-2.0" in card
    assert f"means nothing on others. This prior has seen {prior_has_seen('tiny')}." in card
    with pytest.raises(
        ValueError, match=r"no numbers in .* were made with the weights after step 3"
    ):
        push_to_hub(folder, "me/mouse", base_model="tiny", outcome=metrics)
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"is no metrics\.json"):
        push_to_hub(folder, "me/mouse", base_model="tiny", outcome=tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError, match="outcome: no file"):
        push_to_hub(folder, "me/mouse", base_model="tiny", outcome=tmp_path / "none.json")


def test_what_others_could_not_use_is_not_pushed(made: Path, hub: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="base_model: this adapter's prior is"):
        push_to_hub(made, "me/mouse")
    with pytest.raises(ValueError, match="repo_id is 'mouse'"):
        push_to_hub(made, "mouse", base_model=SD15)
    with pytest.raises(FileNotFoundError, match="holds no adapter"):
        push_to_hub(tmp_path, "me/mouse", base_model=SD15)
    assert not hub.exists()


def test_where_it_looked_is_said(hub: Path, tmp_path: Path) -> None:
    assert fetch_adapter(tmp_path) == tmp_path
    with pytest.raises(
        FileNotFoundError, match=r"no adapter 'me/none'.*LocalEntryNotFoundError: no me/none$"
    ):
        fetch_adapter("me/none")
    for name in ("runs/a/adapter", "nothing", tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            fetch_adapter(name)
    (hub / "me" / "other").mkdir(parents=True)  # a repository of something else
    with pytest.raises((AdapterError, FileNotFoundError), match="holds no adapter"):
        KeypointPredictor.from_pretrained("me/other")


def test_an_unknown_prior_is_said_to_be_unknown(made: Path) -> None:
    facts = yaml.safe_load((made / "genloc.yaml").read_text())
    facts["prior"]["source"] = "somebody/model"
    card = model_card(facts)
    assert "license: other" in card and "has seen" not in card
    assert "not known to GenLoc" in card


def test_the_cards_own_example_runs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    card = (made / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("picture.jpg", np.zeros((200, 300, 3), np.uint8))
    exec(code.replace("this folder, or its id on the hub", str(made)), {})
