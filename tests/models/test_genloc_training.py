"""GenLoc under training: gradients, frozen parts, checkpointing, torch.compile, precision."""

from __future__ import annotations

import pytest
import torch

from genloc.models import GenLoc, LoRA, Prior
from tests.make_prior import tiny_modules, write_folder
from tests.models.small_model import inputs, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp("prior")))


@pytest.mark.parametrize("path", ["maps", "log_expectation"])
def test_gradient_by_finite_differences(folder, path):
    model = make(folder)
    image, condition, points = inputs(batch=1)
    latent = model.encode(image)
    weight = torch.randn(3, 8, 8)

    def value():
        if path == "maps":
            return (model(None, condition, latent=latent)[0] * weight).sum()
        return model.log_expectation(None, condition, points, 1.5, latent=latent).sum()

    condition.requires_grad_(True)
    learned = [condition] + [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(value(), learned)
    for parameter, gradient in list(zip(learned, gradients, strict=True))[:4]:
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter += 1e-2 * direction
            up = value()
            parameter -= 2e-2 * direction
            down = value()
            parameter += 1e-2 * direction
        expected = ((up - down) / 2e-2).item()
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=0.02, abs=2e-4)


@pytest.mark.parametrize("preset", ["cross", "up", "full", "up-all", "all", None])
@pytest.mark.parametrize("context", ["conditions", "null"])
@pytest.mark.parametrize(
    "layers",
    ["mean", "finest", "finest-first", "up_blocks.1.attentions.1.transformer_blocks.0.attn2"],
)
def test_every_learning_parameter_gets_a_gradient(folder, preset, context, layers):
    """Plain DDP hangs or raises otherwise."""
    model = make(folder, context=context, layers=layers, lora=LoRA(preset, rank=2))
    image, condition, points = inputs()
    condition.requires_grad_(True)
    model.log_expectation(image, condition, points, 1.5).sum().backward()
    assert condition.grad is not None and condition.grad.any()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert any(p.requires_grad for p in model.parameters()) == (preset is not None)


@pytest.mark.parametrize("context", ["conditions", "null"])
def test_frozen_parts_stay_bit_identical(folder, context):
    model = make(folder, context=context, lora=LoRA("full"))
    before = {name: p.clone() for name, p in model.state_dict().items()}
    image, condition, points = inputs()
    condition.requires_grad_(True)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam([condition, *learned], lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        (-model.log_expectation(image, condition, points, 1.5)).mean().backward()
        optimiser.step()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    after = model.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (name not in trained), name


def test_it_learns_to_point(folder):
    model = make(folder)
    image, condition, points = inputs(batch=1)
    condition.requires_grad_(True)
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [condition], "lr": 3e-2}, {"params": learned, "lr": 3e-3}]
    optimiser = torch.optim.Adam(groups)
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        loss = -model.log_expectation(image, condition, points, 1.0).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.9 and losses[-1] < 0.6
    peaks = model(image, condition).flatten(2).argmax(-1)
    found = torch.stack([peaks % 8, peaks // 8], -1)
    assert (found - points).abs().max() < 1


def test_null_context_saves_the_front_its_gradient(folder, monkeypatch):
    """Same gradients as with the whole net under autograd, and less kept for the backward pass."""
    image, condition, points = inputs()
    results = {}
    for name in ("frozen front", "whole"):
        model = make(folder, context="null")
        if name == "whole":
            monkeypatch.setattr("genloc.models.walk.front_learns", lambda unet: True)
            model.prior.unet.conv_in.weight.requires_grad_(True)
        kept = [0]

        def pack(tensor, kept=kept):
            kept[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = model.log_expectation(image, condition, points, 1.5).sum()
        value.backward()
        gradients = {
            n: p.grad for n, p in model.named_parameters() if "lora_" in n and p.requires_grad
        }
        results[name] = (kept[0], gradients)
    (less, a), (more, b) = results.values()
    assert less < 0.85 * more
    assert a.keys() == b.keys() and len(a) > 0
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name)


@pytest.mark.parametrize("context", ["conditions", "null"])
def test_gradient_checkpointing_changes_nothing_but_memory(folder, context):
    image, condition, points = inputs(per_image=True)
    results = []
    for checkpointing in (False, True):
        model = make(
            folder, context=context, lora=LoRA("full"), gradient_checkpointing=checkpointing
        )
        asked = condition.clone().requires_grad_(True)
        kept = [0]

        def pack(tensor, kept=kept):
            kept[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = model.log_expectation(image, asked, points, 1.5)
        value.sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        results.append((value, {"condition": asked.grad} | gradients, kept[0]))
    (value, plain, more), (again, recomputed, less) = results
    torch.testing.assert_close(again, value)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)
    assert less < 0.7 * more


@pytest.mark.parametrize(
    ("context", "checkpointing", "backend"),
    [
        ("conditions", False, "eager"),
        pytest.param("null", False, "aot_eager", marks=pytest.mark.slow),
        pytest.param("conditions", True, "aot_eager", marks=pytest.mark.slow),
        pytest.param("null", True, "aot_eager", marks=pytest.mark.slow),
    ],
)
def test_compiles(tmp_path, context, checkpointing, backend):
    """Traced and differentiated by torch.compile; whole where nothing is checkpointed."""
    folder = str(write_folder(tmp_path, tiny_modules(depth=1)))
    image, condition, points = inputs(per_image=True)
    model = make(folder, context=context, gradient_checkpointing=checkpointing)
    latent = model.encode(image)
    results = []
    torch.compiler.reset()
    for compiled in (False, True):
        call = model.log_expectation
        if compiled:
            call = torch.compile(call, backend=backend, fullgraph=not checkpointing)
        model.zero_grad(set_to_none=True)
        value = call(None, condition, points, 1.5, latent=latent)
        value.sum().backward()
        learned = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        results.append((value, learned))
    (value, plain), (again, compiled_gradients) = results
    torch.testing.assert_close(again, value)
    for name, gradient in plain.items():
        torch.testing.assert_close(
            compiled_gradients[name], gradient, msg=name, atol=1e-5, rtol=1e-4
        )


@pytest.mark.slow
def test_compiled_maps_by_inductor(tmp_path):
    model = make(str(write_folder(tmp_path, tiny_modules(depth=1))))
    image, condition, _ = inputs()
    latent = model.encode(image)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(model)(None, condition, latent=latent)
        torch.testing.assert_close(compiled, model(None, condition, latent=latent))


def test_all_weights_can_learn_instead(folder):
    model = make(folder, lora=None, train_unet=True)
    image, condition, points = inputs()
    condition.requires_grad_(True)
    model.log_expectation(image, condition, points, 1.5).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    learning = {name for name, p in model.prior.unet.named_parameters() if p.requires_grad}
    assert "conv_in.weight" in learning and "conv_out.weight" not in learning
    assert not any(p.requires_grad for p in model.prior.vae.parameters())
    with pytest.raises(ValueError, match="lora=None"):
        GenLoc(Prior(folder), train_unet=True)


def test_half_precision_net(folder):
    full, half = make(folder), GenLoc(Prior(folder, dtype="bf16")).load()
    half.prior.unet.load_state_dict(
        {n: p for n, p in full.prior.unet.state_dict().items() if "lora_" in n}, strict=False
    )
    image, condition, points = inputs()
    condition.requires_grad_(True)
    maps = half(image, condition)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))
    torch.testing.assert_close(maps, full(image, condition), rtol=0.3, atol=0.01)
    half.log_expectation(image, condition, points, 1.5).sum().backward()
    for tensor in (condition, *(p for p in half.parameters() if p.requires_grad)):
        assert tensor.grad is not None and tensor.grad.dtype == torch.float32
        assert tensor.grad.isfinite().all()
    assert half.prior.unet.conv_in.weight.dtype == torch.bfloat16


def test_trains_after_a_first_pass_in_inference_mode(folder):
    """And is loaded while another device is the default, as a trainer does it."""
    for context in ("conditions", "null"):
        with torch.device("meta"):
            model = GenLoc(Prior(folder), context=context).load()
        assert not any(t.is_meta for t in model.state_dict().values())
        image, condition, points = inputs()
        condition.requires_grad_(True)
        with torch.inference_mode():
            model(image, condition)
        model.log_expectation(image, condition, points, 1.5).sum().backward()
        assert condition.grad is not None and condition.grad.isfinite().all()


def test_gradients_through_a_net_in_fp16_are_those_of_fp32(folder):
    """GPUs without bf16 can have it; no gradient is lost to fp16's range."""
    gradients = []
    for dtype in ("fp32", "fp16"):
        torch.manual_seed(0)
        model = GenLoc(Prior(folder, dtype=dtype)).load()
        generator = torch.Generator().manual_seed(2)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in learned:
            assert parameter.dtype == torch.float32
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
        image, condition, points = inputs()
        wanted = [*learned, condition.requires_grad_(True)]
        loss = -model.log_expectation(image, condition, points, 1.5).mean()
        found = torch.autograd.grad(loss, wanted)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    full, half = gradients
    assert torch.cosine_similarity(full, half, dim=0) > 0.999
    assert half.norm() / full.norm() == pytest.approx(1, abs=0.01)
