"""Every kind of condition goes into an adapter and comes back as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from genloc.adapter import AdapterError, load_adapter, save_adapter
from genloc.conditions import LearnedCondition, TextCondition
from genloc.conditions.saved import can_be_saved, condition_tensors, make_condition
from genloc.conditions.text import ask
from genloc.models import GenLoc, LoRA, Prior
from genloc.skeleton import AP10K, COCO
from tests.make_prior import write_folder


@pytest.fixture(scope="module")
def prior_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))


def saved(folder: Path, prior_folder: str, **arguments) -> tuple[GenLoc, TextCondition]:
    model = GenLoc(Prior(prior_folder), context="null", lora=LoRA("up", rank=2)).load()
    condition = TextCondition(**arguments).build(AP10K, 24, model.prior.text)
    with torch.no_grad():  # as if training had moved it
        for parameter in condition.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
    save_adapter(folder, model=model, condition=condition, skeleton=AP10K, recipe={}, metrics={})
    return model, condition


@pytest.mark.parametrize("arguments", [{}, {"encoder_rank": 2, "held_out": ["left_knee"]}])
def test_words_come_back_and_answer_the_same(
    prior_folder: str, tmp_path: Path, arguments: dict
) -> None:
    model, condition = saved(tmp_path / "a", prior_folder, say="full", hidden=16, **arguments)
    adapter = load_adapter(tmp_path / "a")
    assert isinstance(adapter.condition, TextCondition)
    assert adapter.condition.facts() == condition.facts()
    phrases = ["the left back paw", "tail"]
    with torch.no_grad():
        assert torch.equal(adapter.condition(), condition())
        asked, skeleton = ask(adapter.condition, phrases)
        assert torch.equal(asked()[0], condition.embed(phrases))
        image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
        assert torch.equal(
            adapter.model(image, asked()), model(image, condition.embed(phrases)[None])
        )
    assert skeleton.keypoints == tuple(phrases)
    assert set(condition_tensors(condition)) >= {"head.0.weight", "centre", "scale"}
    assert not any("embeddings" in name for name in condition_tensors(condition))
    assert sum(file.stat().st_size for file in (tmp_path / "a").iterdir()) < 200_000


def test_edited_words_travel_with_the_adapter(prior_folder: str, tmp_path: Path) -> None:
    words = {name: ["a paw", "the paw"] for name in AP10K.keypoints} | {"nose": "dog nose"}
    saved(tmp_path / "a", prior_folder, descriptions=words)
    facts = yaml.safe_load((tmp_path / "a" / "genloc.yaml").read_text())
    assert facts["condition"]["kind"] == "TextCondition"
    assert facts["condition"]["descriptions"]["nose"] == {"names": ["dog nose"]}
    assert load_adapter(tmp_path / "a").condition.phrases[2] == "dog nose"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Other"}, "kind is 'Other'; known are"),
        ({"pool": "max"}, "pool='max'"),
        ({"extra": 1}, "extra"),
        ({"descriptions": {"nose": "nose"}}, "says nothing of"),
        ({"hidden": 7}, r"head.0.bias is \(128,\)"),
    ],
)
def test_facts_that_are_not_valid(
    prior_folder: str, tmp_path: Path, change: dict, message: str
) -> None:
    saved(tmp_path / "a", prior_folder)
    facts = yaml.safe_load((tmp_path / "a" / "genloc.yaml").read_text())
    facts["condition"].update(change)
    (tmp_path / "a" / "genloc.yaml").write_text(yaml.safe_dump(facts))
    with pytest.raises(AdapterError, match=message):
        load_adapter(tmp_path / "a")


def test_an_adapter_whose_prior_lost_its_tokenizer(prior_folder: str, tmp_path: Path) -> None:
    saved(tmp_path / "a", prior_folder)
    bare = tmp_path / "bare"
    shutil.copytree(prior_folder, bare, ignore=shutil.ignore_patterns("tokenizer"))
    with pytest.raises(FileNotFoundError, match=r"Give Prior\(tokenizer="):
        load_adapter(tmp_path / "a", str(bare))
    tokenizer = str(Path(prior_folder) / "tokenizer")
    assert (
        load_adapter(tmp_path / "a", Prior(str(bare), tokenizer=tokenizer)).condition().shape[1]
        == 17
    )


def test_what_does_not_belong_is_refused(prior_folder: str, tmp_path: Path) -> None:
    model, condition = saved(tmp_path / "a", prior_folder)

    def save(condition: object, skeleton=AP10K) -> None:
        save_adapter(
            tmp_path / "b",
            model=model,
            condition=condition,
            skeleton=skeleton,
            recipe={},
            metrics={},
        )

    with pytest.raises(ValueError, match="the skeleton has \\['nose'"):
        save(condition, COCO)
    with pytest.raises(ValueError, match="keypoints None"):
        save(TextCondition())
    with pytest.raises(ValueError, match="condition is a Linear"):
        save(torch.nn.Linear(1, 1))
    assert not can_be_saved(None) and can_be_saved(condition)


def test_learned_conditions_from_words_ask_for_none_when_read(prior_folder: str) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked for words")

    condition = make_condition({"init": "text"}, AP10K, 24, refuse)  # facts of version 0.1
    assert isinstance(condition, LearnedCondition) and condition.init == "text"
    assert condition.weight is not None and condition.weight.shape == (17, 24)
