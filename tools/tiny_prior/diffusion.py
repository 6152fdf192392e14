"""The text encoder and U-Net of the tiny prior: captions, noise prediction, export."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from genloc.card import prior_training
from genloc.data.zoo import SPECIES
from genloc.models.weights import find_weights
from tiny_prior.autoencoder import count_pictures, latent_files, take
from tiny_prior.pictures import SEEN, SIZE, of_half, progress

LENGTH = 36  # tokens of a caption


def make_tokenizer(work: Path) -> Any:
    """A CLIP tokenizer whose every word of the captions is one token; other words fall to letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    folder = work / "tokenizer"
    if not (folder / "vocab.json").exists():
        texts = [
            c
            for p in sorted((work / "views").glob("????.json"))
            for c in json.loads(p.read_text())["captions"]
        ]
        texts += [name for name, _ in SPECIES] + [family.lower() for _, family in SPECIES]
        bpe = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
        bpe.pre_tokenizer = pre_tokenizers.Whitespace()
        letters = "abcdefghijklmnopqrstuvwxyz0123456789,.'-"
        trainer = trainers.BpeTrainer(
            vocab_size=4000,
            min_frequency=1,
            end_of_word_suffix="</w>",
            initial_alphabet=list(letters),
            special_tokens=["<|startoftext|>", "<|endoftext|>"],
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        folder.mkdir(exist_ok=True)
        bpe.model.save(str(folder))
        vocabulary = json.loads((folder / "vocab.json").read_text())
        for letter in letters:  # letters inside and at the end of a word, for words never seen
            for token in (letter, letter + "</w>"):
                vocabulary.setdefault(token, len(vocabulary))
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        made = CLIPTokenizer.from_pretrained(
            folder, model_max_length=LENGTH, pad_token="<|endoftext|>"
        )
        made.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def build(tokenizer: Any) -> nn.ModuleDict:
    width, cross = 96, "CrossAttnDownBlock2D"
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(64, 96, 128, 128),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=width,
        attention_head_dim=4,
        down_block_types=(cross, cross, cross, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return nn.ModuleDict({"unet": unet, "text": text})


def start_with(model: nn.ModuleDict, tokenizer: Any, source: str) -> None:
    """Give U-Net and text encoder an earlier prior's weights.

    Tokens are matched by what they spell, since other pictures have other words; new ones keep their own start.

    Raises:
        FileNotFoundError, ValueError: the prior cannot be read, or is of another shape.
    """
    earlier = find_weights(source)
    take(model["unet"], earlier.unet().state_dict(), "U-Net", source)
    weights = earlier.text_encoder().state_dict()
    name = next(key for key in weights if key.endswith("token_embedding.weight"))
    table = model["text"].state_dict()[name].clone()
    known, wanted = earlier.tokenizer(), tokenizer.get_vocab()
    if known is None:
        raise FileNotFoundError(f"--start-from {source}: it has no tokenizer")
    for token, index in known.get_vocab().items():
        if token in wanted and table.shape[1] == weights[name].shape[1]:
            table[wanted[token]] = weights[name][index]
    take(model["text"], weights | {name: table}, "text encoder", source)


def load_latents(work: Path, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents [n, 4, SIZE / 8, SIZE / 8] float16, their captions' tokens [n, LENGTH], how often to draw each [n]."""
    files = latent_files(work)
    latents = torch.cat([torch.from_numpy(np.load(p)) for p in files])
    texts: list[str] = []
    for path in files:
        half, stem = path.stem.split("-")
        captions = json.loads((work / "views" / f"{stem}.json").read_text())["captions"]
        texts += captions[of_half(len(captions), int(half))]
    ids = tokenizer(
        texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    ).input_ids
    return latents, ids, torch.tensor([share(text) for text in texts])


def share(caption: str) -> float:
    """How often a view is drawn, by its caption: most often a whole animal with named parts painted."""
    if caption.startswith("the "):
        return 0.7  # a close-up, half of all views
    return 2.0 if ", with a " in caption else 1.0


def noise_schedule() -> DDPMScheduler:
    """Stable Diffusion's."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )


def train_unet(
    work: Path,
    device: str,
    arguments: dict[str, Any],
    save_every: int,
    compile_: bool,
    start_from: str | None = None,
) -> None:
    """Noise prediction with min-SNR weights (https://arxiv.org/abs/2303.09556), warm-up and a final decay.

    The weights stop falling at a quarter: the package reads the U-Net at t = 1, where they would be 0.01.

    Args:
        arguments: `steps`, `batch` and `rate`, and whatever else the export is to say of the training.
        start_from: an earlier prior, to begin with its weights; a training that goes on has its own.
    """
    steps, batch, rate = (arguments[name] for name in ("steps", "batch", "rate"))
    tokenizer = make_tokenizer(work)
    schedule = noise_schedule()
    abar = schedule.alphas_cumprod.to(device)
    snr = abar / (1 - abar)
    weight = (snr.clamp(max=5.0) / snr).clamp(min=0.25)
    model = build(tokenizer)
    state, start, spent = work / "unet.pt", 0, 0.0
    started_from: dict[str, Any] = {}
    if start_from is not None and not state.exists():
        start_with(model, tokenizer, start_from)
        started_from = prior_training(start_from)
    model = model.to(device)
    ema = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        for name, part in (("model", model), ("ema", ema), ("optimiser", optimiser)):
            part.load_state_dict(saved[name])
        start, spent, started_from = saved["step"], saved["seconds"], saved["started_from"]
    begun = time.monotonic() - spent
    latents, ids, shares = load_latents(work, tokenizer)
    empty = tokenizer([""], padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    run = torch.compile(model["unet"]) if compile_ else model["unet"]
    with progress() as bar:
        task = bar.add_task("U-Net", total=steps, completed=start)
        mean, reloaded = 0.0, time.monotonic()
        for step in range(start, steps):
            if time.monotonic() - reloaded > 300 and count_pictures(work)["views"] > len(latents):
                latents, ids, shares = load_latents(work, tokenizer)  # pictures drawn meanwhile
                reloaded = time.monotonic()
            g = torch.Generator().manual_seed(step)
            pick = torch.multinomial(shares, batch, generator=g)
            x = latents[pick].float().to(device)
            noise = torch.randn(x.shape, generator=g).to(device)
            t = torch.randint(0, 1000, (batch,), generator=g)
            words = torch.where(torch.rand(batch, 1, generator=g) < 0.1, empty, ids[pick]).to(
                device
            )
            t = t.to(device)
            noisy = (
                abar[t].sqrt()[:, None, None, None] * x
                + (1 - abar[t]).sqrt()[:, None, None, None] * noise
            )
            context = model["text"](words).last_hidden_state
            error = F.mse_loss(run(noisy, t, context).sample, noise, reduction="none").mean(
                (1, 2, 3)
            )
            loss = (weight[t] * error).mean()
            for group in optimiser.param_groups:
                group["lr"] = (
                    rate
                    * min(1, (step + 1) / 300)
                    * min(1.0, 0.02 + (steps - step) / (0.25 * steps))
                )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            keep = min(0.999, (step + 1) / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - keep)
            mean = loss.item() if step == start else 0.99 * mean + 0.01 * loss.item()
            bar.update(task, advance=1, description=f"U-Net loss {mean:.4f}")
            if (step + 1) % save_every == 0 or step + 1 == steps:
                saved = {
                    "model": model.state_dict(),
                    "ema": ema.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "seconds": time.monotonic() - begun,
                    "arguments": arguments,
                    "started_from": started_from,
                }
                torch.save(saved, work / "unet.part")
                (work / "unet.part").replace(state)
                print(
                    json.dumps({"step": step + 1, "loss": round(mean, 5), "latents": len(latents)}),
                    flush=True,
                )


def export(work: Path, out: Path) -> None:
    """Write the averaged weights as a diffusers folder in fp16, with `training.json`: how they were made."""
    tokenizer = make_tokenizer(work)
    model = build(tokenizer)
    saved = torch.load(work / "unet.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(saved["ema"])
    schedule = noise_schedule()
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae"),
        text_encoder=model["text"],
        tokenizer=tokenizer,
        unet=model["unet"],
        scheduler=schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(out, safe_serialization=True)
    _name_as_published(out / "text_encoder" / "model.safetensors")
    config = out / "vae" / "config.json"
    facts = json.loads(config.read_text())
    facts.pop("_name_or_path", None)  # of this machine
    config.write_text(json.dumps(facts, indent=2) + "\n")
    facts = training_facts(work, saved)
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


def training_facts(work: Path, saved: dict[str, Any]) -> dict[str, Any]:
    """What the prior has seen and how it was trained; seconds are those of all calls together."""
    vae = torch.load(work / "vae.pt", map_location="cpu", weights_only=True)
    arguments, earlier = saved["arguments"], saved["started_from"]
    left_out = ", ".join(arguments["without"])
    note = f"families left out: {left_out or 'none'}"
    if earlier:
        amount = f"{earlier['steps']:,} steps on {earlier['pictures']:,} pictures"
        note += f"; it started from a prior of {amount} ({earlier['note']})"
    seconds = {"autoencoder": round(vae["seconds"]), "U-Net": round(saved["seconds"])}
    return {
        "seen": f"{SEEN}; no {left_out}" if left_out else SEEN,
        **count_pictures(work),
        "steps": saved["step"],
        "note": note,
        "arguments": arguments,
        "seconds": seconds,
        "started_from": earlier or None,
    }


def _name_as_published(path: Path) -> None:
    """Give CLIP's weights the prefix of the published files, which every transformers 5 reads."""
    tensors = load_file(path)
    prefix = "text_model."
    named = {k if k.startswith(prefix) else prefix + k: v for k, v in tensors.items()}
    save_file(named, path, metadata={"format": "pt"})
