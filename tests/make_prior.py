"""Random small priors in both forms in which Stable Diffusion 1.5 is found: folder and single file.

The folder is written by diffusers and transformers themselves. The single file has the original
(CompVis) key names, mapped here by hand, so that reading it back tests the reader.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WORDS = [
    "[PAD]",
    "[BOS]",
    "[EOS]",
    "[UNK]",
    *["a", "the", "left", "right", "front", "eye", "paw", "nose", "tail", "of", "dog", "cat"],
    *["neck", "root", "base", "shoulder", "elbow", "back", "hip", "knee"],  # the rest of AP-10K's
    *["ear", "wrist", "ankle", "throat", "withers", "tailbase"],  # and of others
]


def tiny_modules(seed: int = 0, *, depth: int = 2, channels: int = 24) -> dict[str, Any]:
    """U-Net, VAE and text encoder of SD 1.5's make: 8x VAE, `depth` levels with cross-attention."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        widths = (16, 32, 32, 32)[: depth + 1]
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=widths,
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",) * depth + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * depth,
            cross_attention_dim=channels,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=128,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(WORDS),
                hidden_size=channels,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=8,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
        )
        for module in (unet, vae, text):  # diffusers starts biases and some scales at 0 or 1
            for parameter in module.parameters():
                parameter.data += 0.05 * torch.randn_like(parameter)
    return {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": text.eval()}


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="[BOS]",
        eos_token="[EOS]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=8,
    )


def write_folder(
    folder: Path,
    modules: dict[str, Any] | None = None,
    *,
    variant: str | None = None,
    tokenizer: bool = True,
) -> Path:
    """A diffusers pipeline folder, with `variant="fp16"` in half precision under the variant's names."""
    from diffusers import DDPMScheduler

    modules = modules or tiny_modules()
    for name, module in modules.items():
        module = copy.deepcopy(module).half() if variant == "fp16" else module
        module.save_pretrained(folder / name, variant=variant)
    DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    ).save_pretrained(folder / "scheduler")
    if tokenizer:
        word_tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def write_configs(folder: Path, modules: dict[str, Any]) -> Path:
    """Only the config json files, for reading a single file of another shape than SD 1.5."""
    for name, module in modules.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        config = module.config
        text = json.dumps(dict(config)) if name != "text_encoder" else config.to_json_string()
        (folder / name / "config.json").write_text(text)
    from diffusers import DDPMScheduler

    DDPMScheduler().save_pretrained(folder / "scheduler")
    return folder


def write_single_file(
    file: Path, modules: dict[str, Any], *, half: bool = False, ema: bool = False
) -> Path:
    """One `.safetensors` file with CompVis names; with `ema` the plain U-Net weights are decoys."""
    from safetensors.torch import save_file

    state: dict[str, Tensor] = {}
    for name, tensor in compvis_unet(modules["unet"]).items():
        state[f"model.diffusion_model.{name}"] = torch.zeros_like(tensor) if ema else tensor
        if ema:
            state["model_ema.diffusion_model" + name.replace(".", "")] = tensor
    for name, tensor in compvis_vae(modules["vae"]).items():
        state[f"first_stage_model.{name}"] = tensor
    for name, tensor in modules.get("text_encoder", torch.nn.Module()).state_dict().items():
        name = "text_model." + name.removeprefix("text_model.")
        state[f"cond_stage_model.transformer.{name}"] = tensor
    if "text_encoder" in modules:  # old files carry this buffer
        length = modules["text_encoder"].config.max_position_embeddings
        state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(
            length
        )[None]
    state = {
        name: tensor.half() if half and tensor.is_floating_point() else tensor.clone()
        for name, tensor in state.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    return file


RESNET_UNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}


def _resnet(rest: str) -> str:
    for new, old in RESNET_UNET.items():
        if rest.startswith(new):
            return old + rest.removeprefix(new)
    raise KeyError(rest)


def compvis_unet(unet: Any) -> dict[str, Tensor]:
    """The U-Net's tensors under the names of the original code (openaimodel.py)."""
    per_block = unet.config.layers_per_block + 1
    plain = {
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "conv_in.": "input_blocks.0.0.",
        "conv_norm_out.": "out.0.",
        "conv_out.": "out.2.",
    }
    found = {}
    for name, tensor in unet.state_dict().items():
        parts = name.split(".")
        rest = ".".join(parts[4:])
        for new, old in plain.items():
            if name.startswith(new):
                found[old + name.removeprefix(new)] = tensor
        if parts[0] == "down_blocks":
            block, kind, i = int(parts[1]), parts[2], int(parts[3])
            if kind == "downsamplers":
                found[f"input_blocks.{(block + 1) * per_block}.0.op.{parts[-1]}"] = tensor
            else:
                place = f"input_blocks.{1 + block * per_block + i}"
                found[
                    f"{place}.0.{_resnet(rest)}" if kind == "resnets" else f"{place}.1.{rest}"
                ] = tensor
        elif parts[0] == "mid_block":
            kind, i, rest = parts[1], int(parts[2]), ".".join(parts[3:])
            old = (
                f"middle_block.{2 * i}.{_resnet(rest)}"
                if kind == "resnets"
                else f"middle_block.1.{rest}"
            )
            found[old] = tensor
        elif parts[0] == "up_blocks":
            block, kind, i = int(parts[1]), parts[2], int(parts[3])
            if kind == "upsamplers":
                after = 2 if hasattr(unet.up_blocks[block], "attentions") else 1
                found[f"output_blocks.{(block + 1) * per_block - 1}.{after}.conv.{parts[-1]}"] = (
                    tensor
                )
            else:
                place = f"output_blocks.{block * per_block + i}"
                found[
                    f"{place}.0.{_resnet(rest)}" if kind == "resnets" else f"{place}.1.{rest}"
                ] = tensor
    assert len(found) == len(unet.state_dict())
    return found


def compvis_vae(vae: Any) -> dict[str, Tensor]:
    """The VAE's tensors under the names of the original code (model.py)."""
    levels = len(vae.config.block_out_channels)
    names = {
        "group_norm.": "norm.",
        "to_q.": "q.",
        "to_k.": "k.",
        "to_v.": "v.",
        "to_out.0.": "proj_out.",
    }
    found = {}
    for name, tensor in vae.state_dict().items():
        parts = name.split(".")
        old = name.replace("conv_norm_out.", "norm_out.").replace("conv_shortcut.", "nin_shortcut.")
        if "mid_block.resnets" in name:
            old = f"{parts[0]}.mid.block_{int(parts[3]) + 1}." + ".".join(parts[4:])
        elif "mid_block.attentions" in name:
            rest = ".".join(parts[4:])
            new = next(new for new in names if rest.startswith(new))
            old = f"{parts[0]}.mid.attn_1.{names[new]}{parts[-1]}"
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        elif "down_blocks" in name:
            kind = "block" if parts[3] == "resnets" else "downsample"
            rest = ".".join(parts[5:])
            old = f"encoder.down.{parts[2]}.{kind}." + (
                f"{parts[4]}.{rest}" if kind == "block" else rest
            )
        elif "up_blocks" in name:
            level = levels - 1 - int(parts[2])
            kind = "block" if parts[3] == "resnets" else "upsample"
            rest = ".".join(parts[5:])
            old = f"decoder.up.{level}.{kind}." + (
                f"{parts[4]}.{rest}" if kind == "block" else rest
            )
        found[old.replace("conv_shortcut.", "nin_shortcut.")] = tensor
    assert len(found) == len(vae.state_dict())
    return found
