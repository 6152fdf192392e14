"""SimplePose against transformers' own ResNet and the published size; it finds what it was shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from genloc.codecs.heatmap import decode, gaussian_target
from genloc.losses import HeatmapMSE
from genloc.models.baselines import SimplePose


def small(weights: str | None = None) -> SimplePose:
    return SimplePose(
        depths=(1, 1, 1, 1),
        widths=(8, 8, 16, 16),
        layer="basic",
        stem=8,
        channels=16,
        weights=weights,
    )


def test_the_default_is_the_published_resnet_50() -> None:
    with torch.device("meta"):
        model = SimplePose().load().build(17)
    parameters = sum(p.numel() for p in model.parameters())
    # The paper's own code (microsoft/human-pose-estimation.pytorch, pose_resnet 50) has 34.0 M.
    resnet = 25_557_032 - 2048 * 1000 - 1000  # torchvision's ResNet-50 without its classifier
    deconvolutions = 16 * (2048 * 256 + 256 * 256 * 2) + 3 * 2 * 256
    assert parameters == resnet + deconvolutions + 256 * 17 + 17
    assert round(parameters / 1e6, 1) == 34.0


def test_maps_are_a_quarter_of_the_crop() -> None:
    model = small().load().build(5)
    assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 5, 16, 24)
    with pytest.raises(ValueError, match="multiples of 32"):
        model(torch.zeros(1, 3, 60, 64))


def test_trained_weights_are_read_and_see_imagenets_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = ResNetConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], embedding_size=8, layer_type="basic"
    )
    reference = ResNetModel(config).eval()
    reference.save_pretrained(tmp_path)
    model = small(weights=str(tmp_path)).load().build(2).eval()
    model.head = torch.nn.Sequential()  # the features themselves
    rgb = torch.randint(0, 256, (1, 3, 64, 64))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (rgb / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(model(rgb / 127.5 - 1), reference(pixels).last_hidden_state)

    wider = SimplePose(depths=(1, 1, 1, 1), widths=(8, 8, 16, 32), weights=str(tmp_path))
    with pytest.raises(ValueError, match="ask for"):
        wider.load()
    with pytest.raises(FileNotFoundError, match="no ResNet there"):
        small(weights=str(tmp_path / "elsewhere")).load()


def test_a_seed_gives_the_same_start() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(small().load().build(2).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["head.0.weight"], states[2]["head.0.weight"])


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="four stages"):
        SimplePose(depths=(2, 2, 2))
    with pytest.raises(ValueError, match="layer="):
        SimplePose(layer="wide")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="build"):
        small().load()(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("method", ["centroid", "quarter"])
def test_it_learns_where_bright_dots_are_and_its_score_is_the_peak(method) -> None:
    torch.manual_seed(0)
    image = torch.full((4, 3, 64, 64), -0.5)
    points = torch.tensor([[20.0, 12.0], [44.0, 30.0], [28.0, 52.0], [8.0, 40.0]])
    for crop, (x, y) in zip(image, points.int().tolist(), strict=True):
        crop[:, y - 3 : y + 4, x - 3 : x + 4] = 1.0
    cells = ((points + 0.5) / 4 - 0.5)[:, None]
    model, loss = small().load().build(1), HeatmapMSE()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    target, visible = gaussian_target(cells, (16, 16), 1.0), torch.ones(4, 1, dtype=torch.bool)
    first = 0.0
    for _ in range(60):
        value = loss(model(image), target, visible)
        first = first or value.item()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert value.item() < 0.1 * first
    maps = model(image)
    found, scores = decode(maps, method, score=model.score)
    assert (found - cells).abs().max() < 0.6
    torch.testing.assert_close(scores, maps.amax((-2, -1)))
    assert (scores > 0.6).all()
