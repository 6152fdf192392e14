from __future__ import annotations

import copy
import json

import pytest
import torch
from diffusers import DDPMScheduler

from genloc.models.prior import Prior
from tests.make_prior import (
    tiny_modules,
    word_tokenizer,
    write_configs,
    write_folder,
    write_single_file,
)


@pytest.fixture(scope="module")
def modules():
    return tiny_modules()


@pytest.fixture(scope="module")
def folder(modules, tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("prior"), modules)


@pytest.fixture(scope="module")
def configs(modules, tmp_path_factory):
    return write_configs(tmp_path_factory.mktemp("configs"), modules)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_folder_gives_the_same_weights(modules, folder):
    prior = Prior(str(folder)).load()
    assert same(prior.unet, modules["unet"]) and same(prior.vae, modules["vae"])
    assert prior.condition_channels == 24 and prior.stride == 8
    assert prior.scaling_factor == modules["vae"].config.scaling_factor
    truth = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    assert torch.equal(prior.alphas_cumprod, truth.alphas_cumprod)
    assert not any(p.requires_grad for p in prior.parameters())
    assert prior.load() is prior and not prior.train().unet.training


@pytest.mark.parametrize("ema", [False, True])
def test_single_file_gives_the_same_weights(modules, configs, tmp_path, ema):
    file = write_single_file(tmp_path / "model.safetensors", modules, ema=ema)
    prior = Prior(str(file), config=str(configs)).load()
    # EMA tensors are recognised from a hundred on; the small U-Net has more than that.
    assert same(prior.unet, modules["unet"]) and same(prior.vae, modules["vae"])
    encoder = prior._text_parts()[1]
    assert same(encoder, modules["text_encoder"])


def test_half_precision_files_load_and_have_the_same_fingerprint(
    modules, folder, configs, tmp_path
):
    half_folder = write_folder(tmp_path / "half", modules, variant="fp16")
    half_file = write_single_file(tmp_path / "half.safetensors", modules, half=True)
    full_file = write_single_file(tmp_path / "full.safetensors", modules)
    half = Prior(str(half_folder)).load()
    assert half.unet.conv_in.weight.dtype == torch.float32
    assert torch.equal(half.unet.conv_in.weight, modules["unet"].conv_in.weight.half().float())
    half.encode_text(["dog"])
    sources = [half] + [Prior(str(f), config=str(configs)).load() for f in (half_file, full_file)]
    hashes = {p.fingerprint().rsplit("@")[-1] for p in [*sources, Prior(str(folder)).load()]}
    assert len(hashes) == 1
    other = tiny_modules(seed=0)
    other["unet"].conv_out.bias.data[0] += 0.5
    changed = Prior(str(write_folder(tmp_path / "other", other))).load()
    assert changed.fingerprint().rsplit("@")[-1] not in hashes


def test_image_latent_is_the_scaled_posterior_mean(modules, folder):
    image = torch.rand(2, 3, 32, 48) * 2 - 1
    prior = Prior(str(folder)).load()
    latent = prior.encode_image(image)
    truth = modules["vae"].encode(image).latent_dist.mode() * modules["vae"].config.scaling_factor
    torch.testing.assert_close(latent, truth.detach())
    assert latent.shape == (2, 4, 4, 6) and not latent.requires_grad
    with pytest.raises(ValueError, match="multiples of 8"):
        prior.encode_image(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match=r"expected \[B, 3, H, W\]"):
        prior.encode_image(torch.zeros(3, 32, 32))


def test_text_is_the_mean_over_own_tokens(modules, folder):
    prior = Prior(str(folder)).load()
    vectors = prior.encode_text(["left eye", "the nose of a dog"])
    tokenizer, encoder = word_tokenizer(), modules["text_encoder"]
    ids = tokenizer("left eye", padding="max_length", max_length=8, return_tensors="pt").input_ids
    assert ids[0].tolist()[3:] == [2, 0, 0, 0, 0]  # begin, two words, end, padding
    truth = encoder(ids).last_hidden_state[0, 1:3].mean(0)
    torch.testing.assert_close(vectors[0], truth.detach())
    assert vectors.shape == (2, 24) and not torch.allclose(vectors[0], vectors[1])
    with pytest.raises(ValueError, match="knows none of its words"):
        prior.encode_text(["zebra"])


def test_null_context_is_the_empty_prompt(modules, folder):
    prior = Prior(str(folder)).load()
    truth = modules["text_encoder"](torch.tensor([[1, 2, 0, 0, 0, 0, 0, 0]])).last_hidden_state
    torch.testing.assert_close(prior.null_context(), truth.detach())
    assert prior._text is None  # the encoder is not kept for this


def test_source_without_tokenizer(modules, tmp_path):
    bare = str(write_folder(tmp_path / "bare", modules, tokenizer=False))
    with pytest.raises(FileNotFoundError, match="needs a tokenizer"):
        Prior(bare).load().encode_text(["dog"])
    with pytest.raises(FileNotFoundError, match="not CLIP's"):
        Prior(bare).load().null_context()
    word_tokenizer().save_pretrained(tmp_path / "words")
    assert Prior(bare, tokenizer=str(tmp_path / "words")).load().encode_text(["dog"]).shape == (
        1,
        24,
    )


def test_empty_prompt_of_clip_needs_no_tokenizer(modules, tmp_path):
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        hidden_size=24, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    parts = dict(modules, text_encoder=CLIPTextModel(config).eval())
    prior = Prior(str(write_folder(tmp_path, parts, tokenizer=False))).load()
    ids = torch.tensor([[49406] + [49407] * 76])
    truth = parts["text_encoder"](ids).last_hidden_state
    torch.testing.assert_close(prior.null_context(), truth.detach())


def test_random_net_of_a_seed(folder):
    a, b, c = (Prior(str(folder), unet_seed=s).load() for s in (1, 1, 2))
    trained = Prior(str(folder)).load()
    assert same(a.unet, b.unet) and not same(a.unet, c.unet) and not same(a.unet, trained.unet)
    assert same(a.vae, trained.vae)
    assert a.fingerprint() == b.fingerprint() != c.fingerprint()


def test_dtype(folder):
    prior = Prior(str(folder), dtype="bf16").load()
    assert {p.dtype for p in prior.parameters()} == {torch.bfloat16}
    assert prior.alphas_cumprod.dtype == torch.float32
    assert prior.encode_image(torch.zeros(1, 3, 16, 16)).dtype == torch.float32
    assert {p.dtype for p in Prior(str(folder)).load().parameters()} == {torch.float32}
    with pytest.raises(ValueError, match="dtype='half'"):
        Prior(dtype="half")  # type: ignore[arg-type]


def test_absent_weights_give_one_clear_error(tmp_path, monkeypatch):
    for source in (str(tmp_path / "none"), str(tmp_path / "none.safetensors"), "./none"):
        with pytest.raises(FileNotFoundError, match=r"(?s)Looked in: .*none.*What to do"):
            Prior(source).load()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        FileNotFoundError, match=r"(?s)someone/model.*local cache.*the hub.*What to do"
    ):
        Prior("someone/model").load()


def test_unusable_weights_give_one_clear_error(modules, folder, configs, tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"pickle")
    with pytest.raises(ValueError, match="pickled"):
        Prior(str(tmp_path / "model.ckpt")).load()
    file = write_single_file(tmp_path / "model.safetensors", modules)
    with pytest.raises(ValueError, match="config=<folder"):
        Prior(str(file)).load()  # SD 1.5's configuration does not fit the small net
    (tmp_path / "short.safetensors").write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"not a whole .safetensors file"):
        Prior(str(tmp_path / "short.safetensors"), config=str(configs)).load()
    lora = tmp_path / "lora.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({"unet.lora_A": torch.zeros(1)}, lora)
    with pytest.raises(ValueError, match=r"no tensor named model.diffusion_model"):
        Prior(str(lora), config=str(configs)).load()
    state = load_file(file)
    del state["model.diffusion_model.out.2.weight"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match=r"tensors are missing|lacks"):
        Prior(str(tmp_path / "less.safetensors"), config=str(configs)).load()


def test_folder_with_parts_missing(modules, tmp_path):
    broken = write_folder(tmp_path / "broken", modules)
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-500])
    with pytest.raises(ValueError, match="cannot be loaded"):
        Prior(str(broken)).load()
    weights.unlink()
    (broken / "unet" / "diffusion_pytorch_model.bin").write_bytes(whole)
    with pytest.raises(FileNotFoundError, match="only pickled weights"):
        Prior(str(broken)).load()
    (broken / "unet" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"unet/config.json"):
        Prior(str(broken)).load()


def test_tensors_missing_in_a_folder_are_no_warning(modules, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = write_folder(tmp_path, modules)
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_in.bias"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"conv_in.bias"):
        Prior(str(broken)).load()


def test_other_kinds_of_unet_are_refused(modules, tmp_path):
    parts = dict(modules, unet=copy.deepcopy(modules["unet"]))
    folder = write_folder(tmp_path, parts)
    config = json.loads((folder / "unet" / "config.json").read_text())
    config["num_class_embeds"] = 3
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="class_embed"):
        Prior(str(folder)).load()


def test_hub_asks_the_cache_first_and_for_one_variant(modules, tmp_path, monkeypatch):
    hub = write_folder(tmp_path / "hub", modules)
    half = write_folder(tmp_path / "half", modules, variant="fp16")
    asked = []

    def snapshot_download(repo_id, *, allow_patterns, local_files_only):
        asked.append((tuple(allow_patterns), local_files_only))
        if local_files_only:
            raise OSError("not in the cache")
        return str(hub if repo_id == "me/full" else half)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    prior = Prior("me/full").load()
    assert same(prior.unet, modules["unet"])
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert asked[0] == (("unet/config.json", weights), True)
    assert asked[1] == (("unet/config.json", weights), False)
    assert not any("fp16" in p or "text" in p or "non_ema" in p for ps, _ in asked for p in ps)
    assert Prior("me/half").load().fingerprint().split("@")[1] == prior.fingerprint().split("@")[1]


def test_clip_tokenizer_as_stable_diffusion_has_it(modules, tmp_path):
    """vocab.json and merges.txt without tokenizer.json, padded with the end token."""
    letters = [chr(i) for i in range(97, 123)]
    words = [*letters, *(x + "</w>" for x in letters), "do", "dog</w>"]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nd o\ndo g</w>\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    special |= {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": 8}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 24, "intermediate_size": 16, "num_hidden_layers": 1}
    text = CLIPTextConfig(
        **sizes, num_attention_heads=2, vocab_size=len(words), max_position_embeddings=8
    )
    parts = dict(modules, text_encoder=CLIPTextModel(text).eval())
    write_folder(tmp_path, parts, tokenizer=False)
    prior = Prior(str(tmp_path)).load()
    begin, dog, end = words.index("<|startoftext|>"), words.index("dog</w>"), len(words) - 1
    encode = parts["text_encoder"]
    truth = encode(torch.tensor([[begin] + [end] * 7])).last_hidden_state
    torch.testing.assert_close(prior.null_context(), truth.detach())
    truth = encode(torch.tensor([[begin, dog, end]])).last_hidden_state[:, 1]
    torch.testing.assert_close(prior.encode_text(["dog"]), truth.detach())


def test_empty_prompt_first_asked_in_inference_mode_serves_training(folder):
    """As a sanity check before training does."""
    prior = Prior(str(folder)).load()
    with torch.inference_mode():
        prior.null_context()
    weight = torch.randn(24, 3, requires_grad=True)
    (prior.null_context() @ weight).sum().backward()
    assert weight.grad is not None and weight.grad.any()


def test_another_default_device_does_not_matter(folder):
    """Lightning makes the GPU the default device while a model is configured."""
    truth = Prior(str(folder)).load()
    with torch.device("meta"):
        prior = Prior(str(folder)).load()
        null, text = prior.null_context(), prior.encode_text(["left eye"])
    assert not any(t.is_meta for t in prior.state_dict().values())
    assert prior.fingerprint() == truth.fingerprint()
    torch.testing.assert_close(null, truth.null_context())
    torch.testing.assert_close(text, truth.encode_text(["left eye"]))


def test_using_it_before_loading():
    with pytest.raises(RuntimeError, match=r"load\(\)"):
        Prior().encode_image(torch.zeros(1, 3, 8, 8))
