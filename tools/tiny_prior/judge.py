"""Do samples follow their captions? A classifier trained on rendered pictures names their family."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import nn

from genloc.data.zoo import FAMILIES, SPECIES
from tiny_prior.autoencoder import latent_files
from tiny_prior.pictures import CHUNK, SIZE, of_half, progress

NAMES = list(FAMILIES)
FAMILY_OF = [NAMES.index(family) for _, family in SPECIES]  # by category id - 1


def rendered(work: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents [n, 4, SIZE / 8, SIZE / 8] of whole views, their families [n] and their pictures' numbers [n].

    Views alternate between whole and close-up; either half of the views has one whole view of each picture.
    """
    latents, labels, pictures = [], [], []
    for path in latent_files(work):
        half, stem = path.stem.split("-")
        facts = json.loads((work / "views" / f"{stem}.json").read_text())
        species = facts["species"][of_half(len(facts["species"]), int(half))][::2]
        latents.append(torch.from_numpy(np.load(path)[::2].copy()))
        labels.append(torch.tensor([FAMILY_OF[s - 1] for s in species]))
        pictures.append(int(stem) * CHUNK + torch.arange(len(species)))
    return torch.cat(latents), torch.cat(labels), torch.cat(pictures)


def held_out(pictures: torch.Tensor) -> torch.Tensor:
    """Which views to keep from the classifier: all those of the last twentieth of the pictures, 200 at least.

    Args:
        pictures: the number of each view's picture, [n].

    Returns:
        [n] bool.

    Raises:
        ValueError: too few pictures to keep any.
    """
    numbers = pictures.unique()
    held = max(200, len(numbers) // 20)
    if len(numbers) <= held:
        raise ValueError(
            f"{len(numbers)} pictures have latents, and {held} are kept from the classifier: draw more (--pictures)"
        )
    return pictures >= numbers[-held]


def _classifier() -> nn.Module:
    def block(a: int, b: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU()]

    layers = [*block(4, 64, 1), *block(64, 96, 2), *block(96, 128, 1), *block(128, 192, 2)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(768, len(NAMES))
    )


@torch.inference_mode()
def _samples(out: Path, each: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures drawn by the prior for every family, encoded again: latents and families."""
    pipe = StableDiffusionPipeline.from_pretrained(
        out, safety_checker=None, requires_safety_checker=False, torch_dtype=torch.float32
    ).to(device)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    rng = np.random.default_rng(1)
    latents, labels = [], []
    with progress() as bar:
        task = bar.add_task("samples", total=len(NAMES))
        for family in NAMES:
            species = [name for name, f in SPECIES if f == family]
            facing = ("left", "right", "the camera")
            texts = [
                f"a photo of a {rng.choice(species)} standing facing {rng.choice(facing)}, on grass"
                for _ in range(each)
            ]
            images = pipe(
                texts,
                height=SIZE,
                width=SIZE,
                num_inference_steps=30,
                guidance_scale=3.0,
                generator=generator,
                output_type="pt",
            ).images
            again = pipe.vae.encode(images.to(pipe.vae.dtype) * 2 - 1).latent_dist.mean
            latents.append((again * pipe.vae.config.scaling_factor).float().cpu())
            labels.append(torch.full((each,), NAMES.index(family)))
            bar.advance(task)
    return torch.cat(latents), torch.cat(labels)


def judge(work: Path, out: Path, device: str, steps: int = 1500, each: int = 8) -> dict[str, float]:
    """Train the classifier on rendered pictures and let it name rendered and sampled ones.

    Writes `judge.json` into `out`; chance is that of naming every family equally often.
    """
    latents, labels, pictures = rendered(work)
    held = held_out(pictures)  # by picture: another view of one that was trained on is not new
    learned = (~held).nonzero().squeeze(1)
    torch.manual_seed(0)
    model = _classifier().to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    with progress() as bar:
        task = bar.add_task("classifier", total=steps)
        for step in range(steps):
            g = torch.Generator().manual_seed(step)
            pick = learned[torch.randint(len(learned), (64,), generator=g)]
            loss = F.cross_entropy(
                model(latents[pick].float().to(device)),
                labels[pick].to(device),
                label_smoothing=0.05,
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.advance(task)
    model.eval()

    def right(x: torch.Tensor, y: torch.Tensor) -> float:
        with torch.inference_mode():
            return float((model(x.float().to(device)).argmax(1).cpu() == y).float().mean())

    sampled, asked = _samples(out, each, device)
    result = {
        "rendered": round(right(latents[held], labels[held]), 4),
        "sampled": round(right(sampled, asked), 4),
        "chance": round(1 / len(NAMES), 4),
        "samples": len(asked),
    }
    (out / "judge.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return result
