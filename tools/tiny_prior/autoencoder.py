"""The autoencoder of the tiny prior, and the latents it makes of the views."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from genloc.models.weights import find_weights
from tiny_prior.pictures import CHUNK, SIZE, VIEWS, chunks, of_half, progress, to_tensor


def take(module: nn.Module, weights: dict[str, torch.Tensor], what: str, source: str) -> None:
    """Load an earlier prior's weights.

    Raises:
        ValueError: they are of another shape.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"--start-from {source}: its {what} has not this script's shape; give a prior that it made"
        ) from error


def train_vae(work: Path, steps: int, device: str, start_from: str | None = None) -> None:
    """L1 on pixels and on their differences, a small KL; then the scaling factor, 1 / std of the latents."""
    levels = 4
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )
    state, start, spent = work / "vae.pt", 0, 0.0
    if start_from is not None and not state.exists():
        take(vae, find_weights(start_from).vae().state_dict(), "autoencoder", start_from)
    vae = vae.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=1.5e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        vae.load_state_dict(saved["vae"])
        optimiser.load_state_dict(saved["optimiser"])
        start, spent = saved["step"], saved["seconds"]
    begun = time.monotonic() - spent
    files = chunks(work / "views")
    views: np.ndarray | None = None
    with progress() as bar:
        task = bar.add_task("autoencoder", total=steps, completed=start)
        for step in range(start, steps):
            rng = np.random.default_rng([5, step])
            if views is None or step % 25 == 0:  # a file at a time: reading far apart is slow
                turn = np.random.default_rng([6, step // 25])
                views = np.load(files[int(turn.integers(len(files)))])
            picks = views[np.sort(rng.choice(len(views), 16, replace=False))]
            y, x = rng.integers(
                0, SIZE // 2 + 1, 2
            )  # quarter crops: more pictures for the same work
            image = to_tensor(picks[:, y : y + SIZE // 2, x : x + SIZE // 2]).to(device)
            image = image.contiguous(memory_format=torch.channels_last)
            for group in optimiser.param_groups:
                group["lr"] = (
                    2e-3 * min(1, (step + 1) / 50) * min(1.0, 0.03 + (steps - step) / (0.5 * steps))
                )
            posterior = vae.encode(image).latent_dist
            noise = torch.from_numpy(rng.standard_normal(posterior.mean.shape, np.float32)).to(
                device
            )
            out = vae.decode(posterior.mean + posterior.std * noise).sample
            loss = F.l1_loss(out, image)
            for factor in (1, 2):
                a, b = F.avg_pool2d(out, factor), F.avg_pool2d(image, factor)
                loss = (
                    loss
                    + F.l1_loss(a.diff(dim=2), b.diff(dim=2))
                    + F.l1_loss(a.diff(dim=3), b.diff(dim=3))
                )
            # Pixels alone are fitted in grey long before they are in colour.
            a, b = (F.avg_pool2d(x - x.mean(1, keepdim=True), 4) for x in (out, image))
            loss = loss + 3 * F.l1_loss(a, b)
            loss = loss + 3e-6 * posterior.kl().mean() / 16
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimiser.step()
            bar.update(task, advance=1, description=f"autoencoder loss {loss.item():.4f}")
            if (step + 1) % 200 == 0 or step + 1 == steps:
                saved = {
                    "vae": vae.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "seconds": time.monotonic() - begun,
                }
                torch.save(saved, work / "vae.part")
                (work / "vae.part").replace(state)
                print(json.dumps({"step": step + 1, "loss": round(loss.item(), 4)}), flush=True)
    image = to_tensor(np.load(files[0], mmap_mode="r")[:256]).to(device)
    with torch.no_grad():
        latent = vae.eval().encode(image).latent_dist.mean
    vae.register_to_config(scaling_factor=float(1 / latent.std()))
    vae.save_pretrained(work / "vae")


def encode(work: Path, device: str, halves: int) -> None:
    """Latents of every chunk that has none yet, the first halves of all chunks first."""
    vae = AutoencoderKL.from_pretrained(work / "vae").to(device)
    vae = vae.to(memory_format=torch.channels_last).eval()
    folder = work / "latents"
    folder.mkdir(exist_ok=True)
    with progress() as bar, torch.inference_mode():
        jobs = [(p, half) for half in range(halves) for p in chunks(work / "views")]
        jobs = [(p, half) for p, half in jobs if not (folder / f"{half}-{p.name}").exists()]
        task = bar.add_task("latents", total=len(jobs))
        for path, half in jobs:
            views = np.load(path, mmap_mode="r")
            views = views[of_half(len(views), half)]
            parts = []
            for i in range(0, len(views), 8):
                image = to_tensor(views[i : i + 8]).to(device)
                image = image.contiguous(memory_format=torch.channels_last)
                parts.append(vae.encode(image).latent_dist.mean)
            latents = (torch.cat(parts) * vae.config.scaling_factor).half().cpu().contiguous()
            np.save(folder / f"part-{path.name}", latents.numpy())
            (folder / f"part-{path.name}").replace(folder / f"{half}-{path.name}")
            bar.advance(task)


def latent_files(work: Path) -> list[Path]:
    """Files named half-chunk.npy, each [CHUNK * VIEWS / 2, 4, SIZE / 8, SIZE / 8] float16."""
    return sorted((work / "latents").glob("?-????.npy"))


def count_pictures(work: Path) -> dict[str, int]:
    """How many pictures, and views of them, have latents."""
    files = latent_files(work)
    chunked = {path.name.split("-")[1] for path in files}
    return {"pictures": len(chunked) * CHUNK, "views": len(files) * CHUNK * VIEWS // 2}
