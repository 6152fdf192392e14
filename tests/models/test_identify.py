"""Identification against a dense float64 reference, written without anything of the package."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from genloc.models.identify import cell_weights, layer_log_density, log_density
from tests.make_prior import write_folder
from tests.models.small_model import inputs, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))


def sampled(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """maps [B,K,h,w] at points [B,P,2] in cells -> [B,P,K], by torch's own bilinear sampling."""
    h, w = maps.shape[-2:]
    size = torch.tensor([w, h], dtype=maps.dtype)
    grid = (2 * points.to(maps.dtype) + 1) / size - 1
    read = F.grid_sample(
        maps, grid[:, :, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return read[..., 0].transpose(1, 2)


def reference(model, image, condition, points) -> torch.Tensor:
    """p(keypoint | place) in float64, [B,P,K], from the layers' own queries and keys."""
    kept = {}

    def measure(name, key, query, heads, scale):
        kept[name] = key.double(), query.double(), heads, scale
        return key

    latent = model.encode(image)
    model._read(latent, condition, None, measure)
    sizes = model._sizes(latent)
    h, w = sizes[model.layer_names[-1]]
    merged = torch.zeros(len(image), condition.shape[1], h, w, dtype=torch.float64)
    for name, (key, query, heads, scale) in kept.items():
        own = sizes[name]
        for n in range(heads):
            channels = slice(n * key.shape[-1] // heads, (n + 1) * key.shape[-1] // heads)
            logits = key[..., channels] @ query[..., channels].transpose(1, 2) * scale
            layer = logits.softmax(-1).unflatten(-1, own)
            layer = F.interpolate(layer, (h, w), mode="bilinear", align_corners=False)
            merged += layer / (h // own[0]) ** 2 / heads / len(kept)
    density = sampled(merged, points)
    return density / density.sum(-1, keepdim=True)


@pytest.mark.parametrize("context", ["null", "conditions"])
@pytest.mark.parametrize("per_image", [False, True])
def test_it_is_the_dense_reference(folder: str, context: str, per_image: bool) -> None:
    model = make(folder, context=context)
    image, condition, _ = inputs(keypoints=5, per_image=per_image)
    generator = torch.Generator().manual_seed(2)
    points = 10 * torch.rand(2, 7, 2, generator=generator) - 1  # some outside the 8x8 map
    with torch.no_grad():
        found = model.identify(image, points, condition)
        truth = reference(model, image, condition, points)
    assert found.shape == (2, 7, 5) and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), truth, rtol=1e-4, atol=1e-6)
    assert found.std() > 0.01  # nothing to compare if all were 1/5


def test_at_the_cells_it_is_the_map_of_forward(folder: str) -> None:
    model = make(folder, context="null")
    image, condition, _ = inputs()
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    points = torch.stack([x, y], -1).flatten(0, 1).expand(2, -1, -1)
    with torch.no_grad():
        density = log_density(model, image, points, condition).exp()
        maps = model(image, condition)
    torch.testing.assert_close(density.transpose(1, 2).unflatten(-1, (8, 8)), maps)


def test_one_head_of_one_layer_is_the_formula_even_where_probabilities_underflow() -> None:
    generator = torch.Generator().manual_seed(0)
    key = 40 * torch.randn(1, 6, 8, generator=generator)
    query = torch.randn(2, 64, 8, generator=generator)
    points = torch.tensor([[[3.0, 5.0], [0.0, 7.0]]]).expand(2, -1, -1)
    weights = cell_weights(points, (8, 8), (8, 8))
    found = layer_log_density(key, query, weights, heads=1, scale=0.5).softmax(-1)
    logits = key.double() @ query.double().transpose(1, 2) * 0.5  # [2, 6, 64]
    assert logits.softmax(-1).float().min() == 0, "the test is about underflow"
    truth = (logits - logits.logsumexp(-1, keepdim=True)).softmax(1)[..., [43, 56]]
    torch.testing.assert_close(found.double(), truth.transpose(1, 2), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("finest", "own"), [(8, 8), (8, 4), (8, 2), (8, 1), (1, 1)])
def test_weights_are_upsampling_then_sampling(finest: int, own: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.rand(1, 1, own, own, generator=generator, dtype=torch.float64)
    points = finest * torch.rand(1, 50, 2, generator=generator) - 0.5
    index, weight = cell_weights(points, (finest, finest), (own, own))
    found = (layer.flatten()[index] * weight.exp().double()).sum(-1)
    up = F.interpolate(layer, finest, mode="bilinear", align_corners=False)
    truth = sampled(up, points)[..., 0] / (finest / own) ** 2
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-7)


def test_candidates_do_not_disturb_each_other_with_context_null(folder: str) -> None:
    model = make(folder, context="null")
    image, condition, points = inputs(keypoints=4)
    with torch.no_grad():
        every = model.identify(image, points, condition)
        two = model.identify(image, points, condition[:, [2, 0]])
    kept = every[..., [2, 0]]
    torch.testing.assert_close(two, kept / kept.sum(-1, keepdim=True), rtol=1e-4, atol=1e-6)
    same = model.identify(image, points, condition[:, :1].expand(-1, 3, -1)).detach()
    torch.testing.assert_close(same, torch.full_like(same, 1 / 3))


def test_it_is_not_ordinary_cross_attention() -> None:
    """A keypoint whose logits are large everywhere is not likelier: its normaliser is taken off."""
    query = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0))
    query[..., 0] = 1
    key = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(1))
    lifted = key.clone()
    lifted[0, 0, 0] += 20  # adds a constant to all its logits
    weights = cell_weights(torch.tensor([[[1.0, 2.0]]]), (4, 4), (4, 4))
    found = [layer_log_density(k, query, weights, heads=1, scale=1.0) for k in (key, lifted)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "points", [torch.zeros(2, 3), torch.zeros(3, 1, 2), torch.full((2, 1, 2), math.nan)]
)
def test_points_that_are_none(folder: str, points: torch.Tensor) -> None:
    image, condition, _ = inputs()
    with pytest.raises(ValueError, match=r"expected finite \[2, P, 2\]"):
        make(folder).identify(image, points, condition)


def test_other_read_outs_are_refused(folder: str) -> None:
    image, condition, points = inputs()
    with pytest.raises(ValueError, match="use 'ckhe'"):
        make(folder, read_out="cross").identify(image, points, condition)
