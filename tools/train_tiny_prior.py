#!/usr/bin/env python
"""Train the tiny prior: a latent diffusion model of Stable Diffusion 1.5's make that draws the zoo.

    python tools/train_tiny_prior.py --work runs/tiny_prior --out genloc/assets/tiny_prior

Stages, each resumed where it stopped: pictures with captions, the autoencoder, latents, the text
encoder and U-Net; then the export, a sheet of samples and a classifier's judgement of them. Pictures
come from seeds no zoo on disk can have (`SEED_PRIOR`). Close-ups are framed by the renderer's
knowledge of where a part is, and parts are painted and named, so the prior has been told, in words
and framing, what parts are called; it has never seen a keypoint label.

The defaults are the shipped prior's. It did not start from random weights but from an earlier prior,
which is in the history of this repository:

    git archive d8cadc9 genloc/assets/tiny_prior | tar -x -C runs
    python tools/train_tiny_prior.py --start-from runs/genloc/assets/tiny_prior --out runs/prior

That one was made by the script as it was then, from random weights in 1,800 steps. What was asked for,
and the time that training took over all calls, is written into the prior's `training.json`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from tiny_prior.autoencoder import encode, train_vae
from tiny_prior.diffusion import export, train_unet
from tiny_prior.judge import judge
from tiny_prior.pictures import draw
from tiny_prior.samples import sheet

from genloc.data.zoo import SPECIES

STAGES = ("draw", "vae", "latents", "unet", "export", "sheet", "judge")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--work", type=Path, default=Path("runs/tiny_prior"), help="where the stages keep files")
    add(
        "--out",
        type=Path,
        default=Path("genloc/assets/tiny_prior"),
        help="diffusers folder to write",
    )
    add("--stage", choices=["all", *STAGES], default="all")
    add("--pictures", type=int, default=50_000)
    add("--halves", type=int, choices=[1, 2], default=1, help="views of a picture: 1: two, 2: four")
    add("--vae-steps", type=int, default=2_600)
    add("--steps", type=int, default=4_900, help="of the U-Net; the last quarter is the decay")
    add("--batch", type=int, default=32)
    add("--rate", type=float, default=8e-4)
    add(
        "--start-from",
        metavar="PRIOR",
        help="begin with its weights: a folder of this script, or `tiny`",
    )
    add("--save-every", type=int, default=250)
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that draw")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--without", nargs="*", default=[], metavar="FAMILY", help="families left out")
    add("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(argv)


def main() -> None:
    a = parse()
    species = tuple(i + 1 for i, (_, family) in enumerate(SPECIES) if family not in a.without)
    recorded = ("pictures", "halves", "vae_steps", "steps", "batch", "rate", "without")
    arguments = {name: getattr(a, name) for name in recorded}
    run = {
        "draw": lambda: draw(a.work, a.pictures, a.workers, species),
        "vae": lambda: train_vae(a.work, a.vae_steps, a.device, a.start_from),
        "latents": lambda: encode(a.work, a.device, a.halves),
        "unet": lambda: train_unet(
            a.work, a.device, arguments, a.save_every, a.compile, a.start_from
        ),
        "export": lambda: export(a.work, a.out),
        "sheet": lambda: sheet(a.out, a.work / "samples.png", a.device),
        "judge": lambda: judge(a.work, a.out, a.device),
    }
    for stage in STAGES if a.stage == "all" else (a.stage,):
        run[stage]()


if __name__ == "__main__":
    main()
