"""ConvHead: its features are the U-Net's own, only the head learns, both outputs train."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genloc.codecs.heatmap import decode, gaussian_target
from genloc.losses import HEL, HeatmapMSE
from genloc.models import Prior
from genloc.models.baselines import ConvHead
from tests.make_prior import write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp("prior")))


def make(folder: str, keypoints: int = 3, **arguments) -> ConvHead:
    torch.manual_seed(0)
    return ConvHead(Prior(folder), channels=16, **arguments).load().build(keypoints)


@pytest.fixture
def latent() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_features_are_those_the_unet_predicts_its_noise_from(folder, latent) -> None:
    model = make(folder)
    features = model.features(latent)
    unet = model.prior.unet
    assert [tuple(f.shape[-2:]) for f in features] == [(4, 4), (8, 8), (8, 8)]
    with torch.no_grad():
        noise = unet.conv_out(unet.conv_act(unet.conv_norm_out(features[-1])))
        expected = unet(latent, 1, model.prior.null_context().expand(2, -1, -1)).sample
    torch.testing.assert_close(noise, expected)
    assert not any(block._forward_hooks for block in unet.up_blocks)


def test_only_the_head_learns(folder, latent) -> None:
    model = make(folder)
    before = {name: value.clone() for name, value in model.prior.state_dict().items()}
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names and all(name.startswith(("head.", "norms.")) for name in names)
    optimiser = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    model.train()
    model.log_expectation(None, torch.full((2, 3, 2), 3.0), 0.5, latent=latent).mean().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n in names)
    optimiser.step()
    after = model.prior.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not model.prior.unet.training


@pytest.mark.parametrize("upsample", [1, 2])
def test_maps_and_log_expectation_agree(folder, latent, upsample) -> None:
    model = make(folder, upsample=upsample).eval()
    maps = model(None, latent=latent)
    size = model.map_size(torch.empty(0, 3, 64, 64))
    assert maps.shape == (2, 3, *size) == (2, 3, 8 * upsample, 8 * upsample)
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(2, 3))
    points = torch.rand(2, 3, 2) * 8 * upsample
    expected = (maps * gaussian_target(points, size, 0.7)).sum((-2, -1)).log()
    found = model.log_expectation(None, points, 0.7, latent=latent)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_image_and_its_latent_give_the_same_maps(folder) -> None:
    model = make(folder).eval()
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(model(image), model(None, latent=model.encode(image)))
    with pytest.raises(ValueError, match="either image or latent"):
        model(None)
    with pytest.raises(ValueError, match="either image or latent"):
        model(image, latent=model.encode(image))


@pytest.mark.parametrize(("output", "loss"), [("softmax", HEL()), ("linear", HeatmapMSE())])
def test_both_outputs_learn_places(folder, output, loss) -> None:
    model = make(folder, keypoints=1, output=output).train()
    latent = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    points = torch.tensor([[2.0, 1.0], [5.0, 3.0], [3.0, 6.0], [6.0, 5.0]])[:, None]
    visible = torch.ones(4, 1, dtype=torch.bool)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=1e-2)
    for _ in range(50):
        if output == "softmax":
            value = loss(model.log_expectation(None, points, 0.5, latent=latent), visible)
        else:
            maps = model(None, latent=latent)
            value = loss(maps, gaussian_target(points, (8, 8), 0.5), visible)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    found, scores = decode(model(None, latent=latent), score=model.score)
    assert (found - points).abs().max() < 0.5
    assert (scores > 0.3).all() and (scores < 1.2).all()


def test_mistakes_are_refused(folder, latent) -> None:
    with pytest.raises(ValueError, match="output="):
        ConvHead(Prior(folder), output="sigmoid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="upsample=0"):
        ConvHead(Prior(folder), upsample=0)
    with pytest.raises(RuntimeError, match=r"call load\(\) first"):
        ConvHead(Prior(folder)).build(3)
    with pytest.raises(RuntimeError, match="build"):
        ConvHead(Prior(folder)).load()(None, latent=latent)
    linear = make(folder, output="linear")
    with pytest.raises(ValueError, match="HeatmapMSE"):
        linear.log_expectation(None, torch.zeros(2, 3, 2), 0.5, latent=latent)
