"""Stable Diffusion 1.5's architecture at full size, with random weights in both forms of file.

Needs about 8 GiB of memory and 5 GB of disk, and some minutes.
"""

from __future__ import annotations

import shutil

import pytest
import torch

from genloc.models import GenLoc, LoRA, Prior
from genloc.models.weights import ASSETS
from tests.make_prior import write_folder, write_single_file


def full_modules():
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    config = str(ASSETS / "sd15")
    unet = UNet2DConditionModel.from_config(
        UNet2DConditionModel.load_config(config, subfolder="unet")
    )
    vae = AutoencoderKL.from_config(AutoencoderKL.load_config(config, subfolder="vae"))
    text = CLIPTextModel(CLIPTextConfig.from_pretrained(ASSETS / "sd15" / "text_encoder"))
    return {"unet": unet.half(), "vae": vae.half(), "text_encoder": text.half().eval()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A diffusers folder and a single CompVis file of the same weights, fp16."""
    place = tmp_path_factory.mktemp("full")
    modules = full_modules()
    folder = write_folder(place / "folder", modules, variant="fp16", tokenizer=False)
    single = write_single_file(place / "model.safetensors", modules)
    del modules
    yield str(folder), str(single)
    shutil.rmtree(place)


@pytest.mark.slow
def test_both_forms_are_the_same_prior(files):
    folder, single = (Prior(source).load() for source in files)
    assert folder.fingerprint().split("@")[1] == single.fingerprint().split("@")[1]
    assert folder.condition_channels == 768 and folder.stride == 8
    assert folder.scaling_factor == 0.18215
    null = single.null_context()
    assert null.shape == (1, 77, 768)
    torch.testing.assert_close(null, folder.null_context())
    torch.testing.assert_close(folder.alphas_cumprod, single.alphas_cumprod)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["conditions", "null"])
def test_training_step_at_256(files, context):
    model = GenLoc(Prior(files[1]), context=context, lora=LoRA()).load()
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in learning.values()) == 866_304 - 27_648
    assert len(model.layer_names) == 9
    condition = torch.randn(1, 17, 768, requires_grad=True)
    image, points = torch.rand(1, 3, 256, 256) * 2 - 1, torch.rand(1, 17, 2) * 32
    assert model.map_size(image) == (32, 32)
    optimiser = torch.optim.Adam(
        [{"params": [condition], "lr": 1e-2}, {"params": learning.values(), "lr": 1e-3}]
    )
    frozen = model.prior.unet.down_blocks[0].resnets[0].conv1.weight.clone()
    before = {n: p.detach().clone() for n, p in learning.items() if ".lora_B." in n}
    value = model.log_expectation(image, condition, points, 1.0)
    (-value).mean().backward()
    optimiser.step()
    assert value.shape == (1, 17) and value.isfinite().all()
    assert condition.grad is not None and condition.grad.any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning.values())
    assert any(not torch.equal(learning[n], old) for n, old in before.items())
    assert torch.equal(frozen, model.prior.unet.down_blocks[0].resnets[0].conv1.weight)


@pytest.mark.slow
def test_forward_at_512(files):
    model = GenLoc(Prior(files[0])).load()
    with torch.inference_mode():
        parts = model.layer_maps(torch.rand(1, 3, 512, 512) * 2 - 1, torch.randn(1, 17, 768))
    sides = [part.shape[-2:] for part in parts.values()]
    assert sides == [(16, 16)] * 3 + [(32, 32)] * 3 + [(64, 64)] * 3
    for part in parts.values():
        torch.testing.assert_close(part.sum((2, 3)), torch.ones(1, 17))
