"""A diffusers pipeline takes an adapter's LoRA, of every preset."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

from genloc.adapter import LORA_FILE, load_adapter, save_adapter
from genloc.conditions.learned import LearnedCondition
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.lora import Preset, lora_parameters, lora_targets
from genloc.skeleton import AP10K
from tests.make_prior import tiny_modules, word_tokenizer, write_folder


@pytest.fixture(scope="module")
def prior_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))


def saved(prior: str, folder: Path, lora: LoRA) -> GenLoc:
    """A model whose LoRA is as if trained, written as an adapter."""
    model = GenLoc(Prior(prior), lora=lora).load()
    generator = torch.Generator().manual_seed(3)
    for _, parameter in lora_parameters(model.prior.unet):
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    condition = LearnedCondition().build(AP10K, 24, generator=generator)
    save_adapter(folder, model=model, condition=condition, skeleton=AP10K, recipe={}, metrics={})
    return model


def pipeline() -> Any:
    from diffusers import DDPMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        **tiny_modules(),
        tokenizer=word_tokenizer(),
        scheduler=DDPMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.parametrize("preset", get_args(Preset))
def test_diffusers_pipeline_takes_the_lora(
    preset: Preset, prior_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives the same U-Net: alpha is not the rank here, which a plain file would lose."""
    lora = LoRA(preset, rank=4, alpha=8)
    model = saved(prior_folder, tmp_path, lora)
    with safe_open(tmp_path / LORA_FILE, "pt") as file:
        told = json.loads(file.metadata()["lora_adapter_metadata"])
    # of a U-Net that never had LoRA
    assert told["unet.target_modules"] == lora_targets(tiny_modules()["unet"], lora)

    pipe = pipeline()
    inputs = torch.randn(1, 4, 16, 16), 1, torch.randn(1, 5, 24)
    before = pipe.unet(*inputs).sample
    hub_is_off = "diffusers.loaders.lora_base.HF_HUB_OFFLINE"  # diffusers 0.37 then wants a name
    monkeypatch.setattr(hub_is_off, False, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        pipe.load_lora_weights(str(tmp_path))
    after = pipe.unet(*inputs).sample
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, model.prior.unet(*inputs).sample)
    assert len(dict(lora_parameters(pipe.unet))) == len(dict(lora_parameters(model.prior.unet)))


def test_an_adapter_that_names_other_layers_loads_all_the_same(
    prior_folder: str, tmp_path: Path
) -> None:
    """Earlier versions listed the parts of layers that had LoRA already."""
    import hashlib

    saved(prior_folder, tmp_path, LoRA("all", rank=2))
    path = tmp_path / LORA_FILE
    state, before = load(path.read_bytes()), path.read_bytes()
    listed = [name.removeprefix("unet.").removesuffix(".weight") for name in state]
    told = {"unet.r": 2, "unet.lora_alpha": 16, "unet.target_modules": listed}
    save_file(state, path, {"format": "pt", "lora_adapter_metadata": json.dumps(told)})
    facts = (tmp_path / "genloc.yaml").read_text()
    old, new = (hashlib.sha256(content).hexdigest() for content in (before, path.read_bytes()))
    (tmp_path / "genloc.yaml").write_text(facts.replace(old, new))
    loaded = dict(lora_parameters(load_adapter(tmp_path).model.prior.unet))
    for name, parameter in loaded.items():
        assert torch.equal(parameter, state["unet." + name.replace(".default.", ".")])
