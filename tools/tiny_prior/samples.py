"""A sheet of samples of the tiny prior, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from genloc.visualize import sheet as paper
from genloc.visualize import write_png
from tiny_prior.pictures import SIZE

EACH, TILE = 2, 160  # samples of a caption; pixels of one on the sheet, so wide that captions fit

SHEET = (
    "a spotted fox facing left, head down, on sand",
    "a black horse running facing right, on grass",
    "a white rabbit sitting facing left, on snow",
    "a brown deer standing facing the camera, on leaves",
    "a gray elephant walking facing left",
    "an orange tiger lying facing right, on grass",
    "a sketch of a giraffe standing facing left",
    "a cartoon of a pig walking facing right",
    "the left front paw of a horse",
    "the head of a cat",
    "the nose of a dog",
    "the right back knee of a cow",
)


def sheet(out: Path, path: Path, device: str, steps: int = 40, guidance: float = 3.0) -> None:
    """Two samples for each of twelve captions, with the captions; a PNG."""
    pipe = StableDiffusionPipeline.from_pretrained(
        out, safety_checker=None, requires_safety_checker=False, torch_dtype=torch.float32
    ).to(device)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(desc="samples")
    generator = torch.Generator().manual_seed(0)
    texts = [t for t in SHEET for _ in range(EACH)]
    images = pipe(
        texts,
        height=SIZE,
        width=SIZE,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=generator,
        output_type="np",
    ).images
    write_png(path, lay_out((images * 255).round().astype(np.uint8)))


def lay_out(images: np.ndarray) -> np.ndarray:
    """Samples [12 * EACH, H, W, 3] uint8 in the captions' order, each caption below its own; RGB uint8."""
    across = 3  # captions in a row
    rows = np.split(images, len(SHEET) // across)
    captions = [SHEET[i : i + across] for i in range(0, len(SHEET), across)]
    return paper([list(row) for row in rows], captions=captions, tile=TILE, group=EACH)
