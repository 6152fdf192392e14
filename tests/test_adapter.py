from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load, save_file

from genloc import __version__
from genloc.adapter import AdapterError, load_adapter, save_adapter
from genloc.conditions.learned import LearnedCondition
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.lora import lora_parameters
from genloc.skeleton import AP10K
from tests.make_prior import tiny_modules, write_folder

RECIPE = {"crop_size": 64, "padding": 1.25, "train": {"split": "a|b", "shots": 5}}
LORA_FILE = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def prior_folder(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp("prior")))


SMALL = LoRA("up", rank=4, alpha=8)


def trained(prior_folder, lora: LoRA | None = SMALL, **arguments):
    """A model and conditions as if training had moved every number that learns."""
    model = GenLoc(Prior(prior_folder), lora=lora, **arguments).load()
    generator = torch.Generator().manual_seed(3)
    for _, parameter in lora_parameters(model.prior.unet):
        if parameter.requires_grad:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    condition = LearnedCondition().build(AP10K, 24, generator=generator)
    return model, condition


def save(folder, model, condition, **changes):
    arguments = {
        "model": model,
        "condition": condition,
        "skeleton": AP10K,
        "recipe": RECIPE,
        "metrics": {"AP": np.float64(51.25), "per_species": {"cat": np.float32(0.5)}},
    }
    return save_adapter(folder, **{**arguments, **changes})


@pytest.fixture
def saved(prior_folder, tmp_path):
    model, condition = trained(prior_folder)
    return save(tmp_path / "adapter", model, condition), model, condition


def maps(model, condition):
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        return model(image, condition())


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"context": "null", "layers": "finest", "finer": 2, "timestep": 21, "noise": False},
        {"lora": LoRA("full"), "read_out": "cross-renormalised"},
        {"lora": None},
    ],
)
def test_what_is_saved_is_loaded(prior_folder, tmp_path, arguments):
    model, condition = trained(prior_folder, **arguments)
    folder = save(tmp_path / "adapter", model, condition)
    adapter = load_adapter(folder)
    assert torch.equal(maps(adapter.model, adapter.condition), maps(model, condition))
    assert adapter.skeleton == AP10K
    assert adapter.recipe == RECIPE
    assert adapter.metrics == {"AP": 51.25, "per_species": {"cat": 0.5}}
    for name in ("context", "read_out", "layers", "finer", "timestep", "noise", "lora"):
        assert getattr(adapter.model, name) == getattr(model, name)


def test_files_of_an_adapter(saved):
    folder = saved[0]
    expected = {"README.md", "conditions.safetensors", "genloc.yaml", LORA_FILE}
    assert {file.name for file in folder.iterdir()} == expected
    assert sum(file.stat().st_size for file in folder.iterdir()) < 500_000
    assert f"genloc: {__version__}\n" in (folder / "genloc.yaml").read_text()
    card = (folder / "README.md").read_text()
    front, body = card.split("---\n")[1:3]
    assert yaml.safe_load(front)["library_name"] == "genloc"
    for line in ("| AP | 51.25 |", "| per_species / cat | 0.5 |", "| crop_size | 64 |"):
        assert line in body
    assert "| train / split | a\\|b |" in body and "$" not in card


def test_prior_can_be_given(saved, prior_folder, tmp_path):
    moved = str(shutil.copytree(prior_folder, tmp_path / "elsewhere"))
    for prior in (moved, Prior(moved)):
        assert load_adapter(saved[0], prior).model.prior.source == moved


def test_random_net_comes_back_by_its_seed(prior_folder, tmp_path):
    model = GenLoc(Prior(prior_folder, unet_seed=5)).load()
    again = load_adapter(save(tmp_path / "a", model, LearnedCondition().build(AP10K, 24)))
    assert again.model.prior.fingerprint() == model.prior.fingerprint()


def rewrite(folder, name, change, *, resign=True):
    """Change the tensors of a file, with the checksum put right as a careful hand would."""
    import hashlib

    state = load((folder / name).read_bytes())  # load_file would map what is overwritten
    change(state)
    save_file(state, folder / name)
    if resign:
        facts = yaml.safe_load((folder / "genloc.yaml").read_text())
        facts["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "genloc.yaml").write_text(yaml.safe_dump(facts))


def first(state):
    return sorted(state)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(first(s)), r"lacks unet\."),
        (lambda s: s.update(extra=torch.zeros(1)), "has too much: extra"),
        (lambda s: s.update({first(s): torch.zeros(2, 2)}), r"is \(2, 2\) float32, expected"),
        (lambda s: s.update({first(s): s[first(s)].half()}), "float16, expected"),
        (lambda s: s[first(s)].fill_(torch.nan), "not finite"),
        (lambda s: s[first(s)].view(-1)[3:4].fill_(torch.inf), "not finite"),
    ],
)
def test_lora_that_does_not_fit(saved, change, message):
    rewrite(saved[0], LORA_FILE, change)
    with pytest.raises(AdapterError, match=message):
        load_adapter(saved[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(weight=s["weight"][:5].clone()), r"\(5, 24\).*expected \(17, 24\)"),
        (lambda s: s.update(w=s.pop("weight")), "lacks weight; has too much: w"),
        (lambda s: s["weight"].fill_(torch.nan), "not finite"),
    ],
)
def test_conditions_that_do_not_fit(saved, change, message):
    rewrite(saved[0], "conditions.safetensors", change)
    with pytest.raises(AdapterError, match=message):
        load_adapter(saved[0])


@pytest.mark.parametrize("name", [LORA_FILE, "conditions.safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_truncated_files(saved, name, keep):
    folder, _, _ = saved
    (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    with pytest.raises(AdapterError, match=f"{name} is not a whole safetensors file"):
        load_adapter(folder)


def test_absent_files(saved, tmp_path):
    folder, _, _ = saved
    with pytest.raises(FileNotFoundError, match=r"no genloc\.yaml"):
        load_adapter(tmp_path / "none")
    for name in (LORA_FILE, "conditions.safetensors"):
        broken = shutil.copytree(folder, tmp_path / name)
        (broken / name).unlink()
        with pytest.raises(AdapterError, match=f"lacks {name}"):
            load_adapter(broken)


@pytest.mark.parametrize("name", [LORA_FILE, "conditions.safetensors"])
def test_pickles_are_not_read(saved, name):
    folder, _, _ = saved
    torch.save({}, folder / name)
    with pytest.raises(AdapterError, match="not a whole safetensors file"):
        load_adapter(folder)


def test_mixture_of_two_adapters_is_noticed(saved):
    folder, _, _ = saved
    rewrite(folder, LORA_FILE, lambda s: s[first(s)].mul_(2), resign=False)
    with pytest.raises(AdapterError, match="mix of two adapters"):
        load_adapter(folder)


def edit(folder, change):
    facts = yaml.safe_load((folder / "genloc.yaml").read_text())
    change(facts)
    (folder / "genloc.yaml").write_text(yaml.safe_dump(facts))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("skeleton"), r"lacks \['skeleton'\]"),
        (lambda f: f.update(format=2), "reads format 1"),
        (lambda f: f["skeleton"].pop("sigmas"), "skeleton is not valid"),
        (lambda f: f["skeleton"].update(flip_pairs=[[0, 99]]), "skeleton is not valid"),
        (lambda f: f["model"].update(context="none"), "model is not valid"),
        (lambda f: f["model"].pop("read_out"), "model must hold"),
        (lambda f: f["model"]["lora"].update(preset="everything"), "model.lora is not valid"),
        (lambda f: f["model"]["lora"].update(rank=8), "does not fit this model"),
        (lambda f: f.update(prior="tiny"), "prior must hold"),
        (lambda f: f.update(files={}), "mix of two adapters"),
    ],
)
def test_facts_that_are_not_valid(saved, change, message):
    edit(saved[0], change)
    with pytest.raises(AdapterError, match=message):
        load_adapter(saved[0])


@pytest.mark.parametrize(
    "content", ["a: [", "just words", "", "!!python/object/apply:os.getcwd []"]
)
def test_facts_that_are_no_yaml(saved, content):
    folder, _, _ = saved
    (folder / "genloc.yaml").write_text(content)
    with pytest.raises(AdapterError, match=r"genloc\.yaml (is not yaml|lacks)"):
        load_adapter(folder)


def test_another_prior_is_refused(saved, tmp_path):
    folder, _, _ = saved
    other = str(write_folder(tmp_path / "other", tiny_modules(seed=1)))
    with pytest.raises(AdapterError, match="other weights"):
        load_adapter(folder, other)


def test_saving_refuses_what_could_not_be_loaded(prior_folder, tmp_path):
    model, condition = trained(prior_folder)
    with pytest.raises(ValueError, match=r"load\(\)"):
        save(tmp_path / "a", GenLoc(Prior()), condition)
    with pytest.raises(ValueError, match="train_unet"):
        save(
            tmp_path / "a",
            GenLoc(Prior(prior_folder), lora=None, train_unet=True).load(),
            condition,
        )
    with pytest.raises(ValueError, match=r"None; this skeleton and prior need \(17, 24\)"):
        save(tmp_path / "a", model, LearnedCondition())
    with pytest.raises(TypeError, match="is a object"):
        save(tmp_path / "a", model, condition, recipe={"x": object()})
    condition.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="conditions: weight holds values that are not finite"):
        save(tmp_path / "a", model, condition)
    assert not (tmp_path / "a").exists()


def test_interrupted_save_leaves_the_old_adapter(saved, monkeypatch):
    folder, model, condition = saved
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    condition.weight.data += 1
    calls = []

    def full_disk(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            save(folder, model, condition)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    load_adapter(folder)


def test_save_cut_off_between_two_moves_is_refused_on_loading(saved, monkeypatch):
    folder, model, condition = saved
    condition.weight.data += 1
    replace = os.replace
    moved: list[object] = []

    def cut(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            save(folder, model, condition)
    with pytest.raises(AdapterError, match="interrupted save"):
        load_adapter(folder)


def test_saving_over_an_adapter(saved, prior_folder):
    folder = saved[0]
    (folder / "notes.txt").write_text("mine")
    model, condition = trained(prior_folder, lora=None)
    save(folder, model, condition)
    assert not (folder / LORA_FILE).exists() and (folder / "notes.txt").read_text() == "mine"
    adapter = load_adapter(folder)
    assert torch.equal(maps(adapter.model, adapter.condition), maps(model, condition))
