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
import copy
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from genloc.data.zoo import SEED_PRIOR, SPECIES, STYLES, draw_picture, picture_rng
from genloc.data.zoo.captions import closeup, whole_caption, whole_square

SIZE, VIEWS, CHUNK, LENGTH = 128, 4, 500, 24
HELD_OUT_NOTE = "families left out"


def progress() -> Progress:
    bar = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*bar, refresh_per_second=1)


def crop(image: np.ndarray, square: tuple[float, float, float], turn: float) -> np.ndarray:
    """A square of a picture, turned by degrees, as [SIZE,SIZE,3] uint8; black outside."""
    x, y, side = square
    matrix = cv2.getRotationMatrix2D((x, y), turn, SIZE / side)
    matrix[:, 2] += (SIZE - 1) / 2 - np.array([x, y])
    smooth = cv2.GaussianBlur(image, (0, 0), 0.4 * side / SIZE) if side > 1.3 * SIZE else image
    return cv2.warpAffine(smooth, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def draw_chunk(job: tuple[str, int, tuple[int, ...]]) -> None:
    """Draw CHUNK pictures and write their views and captions."""
    folder, number, species = job
    cv2.setNumThreads(1)
    views = np.zeros((CHUNK * VIEWS, SIZE, SIZE, 3), np.uint8)
    captions: list[str] = []
    names: list[int] = []
    for i in range(CHUNK):
        index = number * CHUNK + i
        category_id = species[index % len(species)]
        rng = picture_rng(SEED_PRIOR, 0, category_id, index)
        style = "photo" if rng.random() < 0.8 else str(rng.choice(list(STYLES[1:])))
        picture = draw_picture(category_id, rng, style=style)
        while not picture.animals:
            picture = draw_picture(category_id, rng, style=style)
        for v in range(VIEWS):
            animal = picture.animals[-1 if rng.random() < 0.85 else 0]
            close = closeup(animal, rng) if v >= 2 else None
            text, square = close or (whole_caption(picture, animal, rng), whole_square(animal, rng))
            turn = rng.normal(0, 18) if rng.random() < 0.35 else 0.0
            views[len(captions)] = crop(picture.image, square, float(turn))
            captions.append(text)
            names.append(animal.category_id)
    part = Path(folder) / f"{number:04d}.part.npy"
    np.save(part, views)
    (Path(folder) / f"{number:04d}.json").write_text(
        json.dumps({"captions": captions, "species": names})
    )
    part.replace(Path(folder) / f"{number:04d}.npy")


def draw(work: Path, pictures: int, workers: int, species: tuple[int, ...]) -> None:
    folder = work / "views"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [n for n in range(math.ceil(pictures / CHUNK)) if not (folder / f"{n:04d}.npy").exists()]
    with progress() as bar, ProcessPoolExecutor(workers) as pool:
        task = bar.add_task("pictures", total=len(jobs) * CHUNK)
        for _ in pool.map(draw_chunk, [(str(folder), n, species) for n in jobs]):
            bar.advance(task, CHUNK)


def chunks(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("????.npy"))


def to_tensor(views: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(work: Path, steps: int, device: str) -> None:
    """L1 on pixels and on their differences, a small KL; then the scaling factor, 1 / std of the latents."""
    from diffusers import AutoencoderKL

    levels = 4
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 64, 64), layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=SIZE,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
    ).to(device, memory_format=torch.channels_last)  # fmt: skip
    optimiser = torch.optim.AdamW(vae.parameters(), lr=1.5e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    state, start = work / "vae.pt", 0
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        vae.load_state_dict(saved["vae"])
        optimiser.load_state_dict(saved["optimiser"])
        start = saved["step"]
    files = chunks(work / "views")
    with progress() as bar:
        task = bar.add_task("autoencoder", total=steps, completed=start)
        for step in range(start, steps):
            rng = np.random.default_rng([5, step])
            views = np.load(files[int(rng.integers(len(files)))], mmap_mode="r")
            picks = views[np.sort(rng.choice(len(views), 16, replace=False))]
            y, x = rng.integers(0, SIZE // 2 + 1, 2)  # quarter crops: more pictures for the same work
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
                }
                torch.save(saved, work / "vae.part")
                (work / "vae.part").replace(state)
                print(json.dumps({"step": step + 1, "loss": round(loss.item(), 4)}), flush=True)
    views = to_tensor(np.load(files[0], mmap_mode="r")[:256]).to(device)
    with torch.no_grad():
        latent = vae.eval().encode(views).latent_dist.mean
    vae.register_to_config(scaling_factor=float(1 / latent.std()))
    vae.save_pretrained(work / "vae")


def encode(work: Path, device: str) -> None:
    """Latents of every chunk that has none yet; the pictures of an encoded chunk stay."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(work / "vae").to(device).eval()
    folder = work / "latents"
    folder.mkdir(exist_ok=True)
    missing = [p for p in chunks(work / "views") if not (folder / p.name).exists()]
    with progress() as bar, torch.inference_mode():
        task = bar.add_task("latents", total=len(missing))
        for path in missing:
            views = np.load(path, mmap_mode="r")
            parts = [
                vae.encode(to_tensor(views[i : i + 50]).to(device)).latent_dist.mean
                for i in range(0, len(views), 50)
            ]
            latents = (torch.cat(parts) * vae.config.scaling_factor).half().cpu().numpy()
            np.save(folder / f"{path.stem}.part.npy", latents)
            (folder / f"{path.stem}.part.npy").replace(folder / path.name)
            bar.advance(task)


def make_tokenizer(work: Path):  # noqa: ANN201
    """A CLIP tokenizer whose every word of the captions is one token; other words fall to letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

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
            vocab_size=4000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=list(letters),
            special_tokens=["<|startoftext|>", "<|endoftext|>"], show_progress=False,
        )  # fmt: skip
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


def build(tokenizer) -> nn.ModuleDict:  # noqa: ANN001
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    width, cross = 96, "CrossAttnDownBlock2D"
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIZE // 8, block_out_channels=(64, 96, 128, 128), layers_per_block=1, norm_num_groups=16,
        cross_attention_dim=width, attention_head_dim=4, down_block_types=(cross, cross, cross, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=LENGTH, projection_dim=width, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    return nn.ModuleDict({"unet": unet, "text": text})


def load_latents(work: Path, tokenizer) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN001
    files = chunks(work / "latents")
    latents = torch.cat([torch.from_numpy(np.load(p)) for p in files])
    texts = [
        c
        for p in files
        for c in json.loads((work / "views" / f"{p.stem}.json").read_text())["captions"]
    ]
    ids = tokenizer(
        texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    ).input_ids
    return latents, ids


def train_unet(
    work: Path, steps: int, device: str, batch: int, rate: float, save_every: int, compile_: bool
) -> None:
    """Noise prediction with min-SNR weights (https://arxiv.org/abs/2303.09556), warm-up and a final decay."""
    from diffusers import DDPMScheduler

    tokenizer = make_tokenizer(work)
    schedule = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )
    abar = schedule.alphas_cumprod.to(device)
    snr = abar / (1 - abar)
    weight = snr.clamp(max=5.0) / snr
    model = build(tokenizer).to(device)
    ema = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    state, start = work / "unet.pt", 0
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        for name, part in (("model", model), ("ema", ema), ("optimiser", optimiser)):
            part.load_state_dict(saved[name])
        start = saved["step"]
    latents, ids = load_latents(work, tokenizer)
    empty = tokenizer([""], padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    run = torch.compile(model["unet"]) if compile_ else model["unet"]
    with progress() as bar:
        task = bar.add_task("U-Net", total=steps, completed=start)
        mean, reloaded = 0.0, time.monotonic()
        for step in range(start, steps):
            if time.monotonic() - reloaded > 300 and len(
                chunks(work / "latents")
            ) * CHUNK * VIEWS > len(latents):
                latents, ids = load_latents(work, tokenizer)  # pictures drawn meanwhile
                reloaded = time.monotonic()
            g = torch.Generator().manual_seed(step)
            pick = torch.randint(len(latents), (batch,), generator=g)
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
                }
                torch.save(saved, work / "unet.part")
                (work / "unet.part").replace(state)
                print(
                    json.dumps({"step": step + 1, "loss": round(mean, 5), "latents": len(latents)}),
                    flush=True,
                )


def export(work: Path, out: Path, note: str) -> None:
    """Write the averaged weights as a diffusers folder in fp16."""
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline

    tokenizer = make_tokenizer(work)
    model = build(tokenizer)
    saved = torch.load(work / "unet.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(saved["ema"])
    schedule = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae"), text_encoder=model["text"], tokenizer=tokenizer, unet=model["unet"],
        scheduler=schedule, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.to(torch.float16).save_pretrained(out, safe_serialization=True)
    pictures = len(chunks(work / "latents")) * CHUNK
    facts = {"pictures": pictures, "views": pictures * VIEWS, "steps": saved["step"], "note": note}
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


SHEET = (
    "a spotted fox facing left, head down, on sand", "a black horse running facing right, on grass",
    "a white rabbit sitting facing left, on snow", "a brown deer standing facing the camera, on leaves",
    "a gray elephant walking facing left", "an orange tiger lying facing right, on grass",
    "a sketch of a giraffe standing facing left", "a cartoon of a pig walking facing right",
    "the left front paw of a horse", "the head of a cat", "the nose of a dog", "the right back knee of a cow",
)  # fmt: skip


def sheet(out: Path, path: Path, device: str, steps: int = 40, guidance: float = 3.0) -> None:
    """Two samples for each of twelve captions, with the captions."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        out, safety_checker=None, requires_safety_checker=False
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
            encode(a.work, a.device)
        elif stage == "unet":
            train_unet(a.work, a.steps, a.device, a.batch, a.rate, a.save_every, a.compile)
        elif stage == "export":
            export(a.work, a.out, f"{HELD_OUT_NOTE}: {', '.join(a.without) or 'none'}")
        else:
            sheet(a.out, a.work / "samples.png", a.device)


if __name__ == "__main__":
    main()
