"""A sheet of samples of the tiny prior, to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from tiny_prior.pictures import SIZE

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
    """Two samples for each of twelve captions, with the captions."""
    pipe = StableDiffusionPipeline.from_pretrained(
        out, safety_checker=None, requires_safety_checker=False, torch_dtype=torch.float32
    ).to(device)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(desc="samples")
    generator = torch.Generator().manual_seed(0)
    texts = [t for t in SHEET for _ in range(2)]
    images = pipe(
        texts,
        height=SIZE,
        width=SIZE,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=generator,
        output_type="np",
    ).images
    tiles = []
    for text, image in zip(texts, images, strict=True):
        tile = np.full((SIZE + 14, SIZE, 3), 255, np.uint8)
        tile[:SIZE] = (image * 255).round()
        cv2.putText(
            tile,
            text[:32],
            (1, SIZE + 10),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.25,
            (0, 0, 0),
            1,
            cv2.LINE_AA,
        )
        tiles.append(tile)
    rows = [np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])
