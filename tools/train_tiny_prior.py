#!/usr/bin/env python
"""Train the tiny prior: a latent diffusion model of Stable Diffusion 1.5's make that draws the zoo.

    python tools/train_tiny_prior.py --work runs/tiny_prior --out genloc/assets/tiny_prior

Four stages, each resumed where it stopped: pictures with captions, the autoencoder, latents, the
text encoder and U-Net. Pictures come from seeds no zoo on disk can have (`SEED_PRIOR`). Close-ups are
framed by the renderer's knowledge of where a part is, so the prior has been told, in words and framing,
what parts are called; it has never seen a keypoint label.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from tiny_prior.autoencoder import encode, train_vae
from tiny_prior.diffusion import export, train_unet
from tiny_prior.pictures import draw
from tiny_prior.samples import sheet

from genloc.data.zoo import SPECIES

HELD_OUT_NOTE = "families left out"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/tiny_prior"),
        help="where the stages keep their files",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("genloc/assets/tiny_prior"),
        help="the diffusers folder to write",
    )
    parser.add_argument(
        "--stage",
        choices=["all", "draw", "vae", "latents", "unet", "export", "sheet"],
        default="all",
    )
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument(
        "--halves",
        type=int,
        choices=[1, 2],
        default=2,
        help="1: two views of each picture, 2: all four",
    )
    parser.add_argument("--vae-steps", type=int, default=1_500)
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--save-every", type=int, default=250)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--without", nargs="*", default=[], metavar="FAMILY", help=HELD_OUT_NOTE)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    a = parser.parse_args()
    species = tuple(i + 1 for i, (_, family) in enumerate(SPECIES) if family not in a.without)
    stages = (
        ["draw", "vae", "latents", "unet", "export", "sheet"] if a.stage == "all" else [a.stage]
    )
    for stage in stages:
        if stage == "draw":
            draw(a.work, a.pictures, a.workers, species)
        elif stage == "vae":
            train_vae(a.work, a.vae_steps, a.device)
        elif stage == "latents":
            encode(a.work, a.device, a.halves)
        elif stage == "unet":
            train_unet(a.work, a.steps, a.device, a.batch, a.rate, a.save_every, a.compile)
        elif stage == "export":
            export(a.work, a.out, f"{HELD_OUT_NOTE}: {', '.join(a.without) or 'none'}")
        else:
            sheet(a.out, a.work / "samples.png", a.device)


if __name__ == "__main__":
    main()
