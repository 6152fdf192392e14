"""ViTPose against transformers' own network and the published size; it finds what it was shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from genloc.codecs.heatmap import decode, gaussian_target
from genloc.losses import HeatmapMSE
from genloc.models.baselines import ViTPose
from genloc.models.baselines.vit_pose import resize_positions


def small(crop_size: int = 64, **arguments) -> ViTPose:
    sizes = {"hidden": 16, "depth": 2, "heads": 2, "patch": 8, "upsample": 2}
    return ViTPose(crop_size, **(sizes | arguments))


def write_weights(folder: Path, *, experts: int = 1, size: tuple[int, int] = (64, 48)) -> Path:
    """A random ViTPose of 5 keypoints, saved by transformers."""
    torch.manual_seed(3)
    body = VitPoseBackboneConfig(
        image_size=size,
        patch_size=(16, 16),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        out_indices=[2],
        num_experts=experts,
        part_features=4,
    )
    net = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=body, num_labels=5))
    net.save_pretrained(folder)
    return folder


def test_the_default_is_the_published_vitpose_b() -> None:
    with torch.device("meta"):
        model = ViTPose(256).load().build(17)
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    patches, positions, norm = 3 * 16 * 16 * 768 + 768, (16 * 16 + 1) * 768, 2 * 768
    head = 768 * 17 * 9 + 17
    found = sum(p.numel() for p in model.parameters())
    assert found == 12 * layer + patches + positions + norm + head
    assert round(found / 1e6) == 86  # as its paper says


@pytest.mark.parametrize(("head", "cells"), [("simple", 16), ("classic", 32)])
def test_maps_have_their_size_and_start_near_0(head, cells) -> None:
    model = small(head=head).load().build(5)
    maps = model(torch.rand(2, 3, 64, 64))
    assert maps.shape == (2, 5, cells, cells)
    assert maps.abs().max() < 0.1
    with pytest.raises(ValueError, match=r"expected \[B, 3, 64, 64\]"):
        model(torch.zeros(1, 3, 64, 32))


def test_trained_weights_give_the_maps_of_transformers(tmp_path: Path) -> None:
    write_weights(tmp_path, size=(64, 64))
    reference = VitPoseForPoseEstimation.from_pretrained(tmp_path).eval()
    model = ViTPose(64, weights=str(tmp_path), keep_head=True).load().build(5).eval()
    rgb = torch.randint(0, 256, (2, 3, 64, 64))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (rgb / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(model(rgb / 127.5 - 1), reference(pixels).heatmaps)


def test_weights_of_another_size_keep_their_body_and_get_a_new_head(tmp_path: Path) -> None:
    write_weights(tmp_path, size=(64, 48))
    reference = VitPoseForPoseEstimation.from_pretrained(tmp_path)
    model = ViTPose(96, weights=str(tmp_path)).load().build(3)
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 3, 24, 24)
    found, expected = model.net.backbone.state_dict(), reference.backbone.state_dict()
    name = "embeddings.position_embeddings"
    assert found[name].shape[1] == 1 + 6 * 6
    assert expected[name].shape[1] == 1 + 4 * 3
    assert all(torch.equal(found[n], value) for n, value in expected.items() if n != name)


def test_positions_are_resized_as_pictures_are() -> None:
    h, w = 8, 7
    y, x = torch.meshgrid(torch.arange(float(h)), torch.arange(float(w)), indexing="ij")
    positions = torch.cat(
        [torch.full((1, 1, 2), 7.0), torch.stack((y, x), -1).view(1, h * w, 2)], 1
    )
    assert resize_positions(positions, (h, w), (h, w)) is positions
    found = resize_positions(positions, (h, w), (16, 14))
    assert torch.equal(found[:, 0], positions[:, 0])
    grid = found[0, 1:].view(16, 14, 2)
    # A ramp stays nearly one away from the border: cell j of the finer grid lies at (j + 0.5) / 2 - 0.5.
    torch.testing.assert_close(grid[9, 6], torch.tensor([4.25, 2.75]), atol=0.1, rtol=0)
    with pytest.raises(ValueError, match="not those of a grid"):
        resize_positions(positions, (3, 3), (8, 6))


def test_experts_of_vitpose_plus_read_differently(tmp_path: Path) -> None:
    write_weights(tmp_path, experts=3, size=(64, 64))
    image = torch.rand(2, 3, 64, 64)
    maps = [
        ViTPose(64, weights=str(tmp_path), keep_head=True, expert=i).load().build(5).eval()(image)
        for i in (0, 0, 1)
    ]
    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])


def test_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="crop_size=60"):
        small(60)
    with pytest.raises(ValueError, match="head="):
        small(head="heavy")
    with pytest.raises(ValueError, match="hidden=16, depth=2, heads=3"):
        small(heads=3)
    with pytest.raises(ValueError, match="keep_head"):
        small(keep_head=True)
    with pytest.raises(FileNotFoundError, match="no ViTPose there"):
        small(weights=str(tmp_path / "elsewhere")).load()
    with pytest.raises(RuntimeError, match=r"call load\(\) first"):
        small().build(3)
    with pytest.raises(RuntimeError, match="build"):
        small().load()(torch.zeros(1, 3, 64, 64))
    write_weights(tmp_path)
    with pytest.raises(ValueError, match="multiple of the patches"):
        ViTPose(72, weights=str(tmp_path)).load()
    with pytest.raises(ValueError, match="find 5 keypoints, the data has 17"):
        ViTPose(64, weights=str(tmp_path), keep_head=True).load().build(17)


def test_a_seed_gives_the_same_start() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(small().load().build(2).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["net.head.conv.weight"], states[2]["net.head.conv.weight"])


def test_it_learns_where_bright_dots_are_and_its_score_is_the_peak() -> None:
    torch.manual_seed(0)
    image = torch.full((4, 3, 64, 64), -0.5)
    points = torch.tensor([[20.0, 12.0], [44.0, 30.0], [28.0, 52.0], [8.0, 40.0]])
    for crop, (x, y) in zip(image, points.int().tolist(), strict=True):
        crop[:, y - 3 : y + 4, x - 3 : x + 4] = 1.0
    cells = ((points + 0.5) / 4 - 0.5)[:, None]
    model, loss = small(hidden=32).load().build(1), HeatmapMSE()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    target, visible = gaussian_target(cells, (16, 16), 1.0), torch.ones(4, 1, dtype=torch.bool)
    first = 0.0
    for _ in range(150):
        value = loss(model(image), target, visible)
        first = first or value.item()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert value.item() < 0.1 * first
    maps = model(image)
    found, scores = decode(maps, score=model.score)
    assert (found - cells).abs().max() < 0.6
    torch.testing.assert_close(scores, maps.amax((-2, -1)))
