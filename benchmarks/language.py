"""A language model that answers in coordinates, from scratch on the zoo: does it look at the picture?

    genloc zoo data/zoo
    python -m benchmarks.language --zoo data/zoo

Trains a small decoder on the frozen features of the prior (`genloc.language`), and scores its answers on
the test pictures with the evaluator that scores everything else. Baselines in the same run: the mean
pose of the training set; the same decoder trained on pictures that are dealt out anew among the labels;
and the trained decoder shown another picture of the test set. Tested on all test pictures.

Each seed of a method takes about 36 minutes of one CPU core: 32 for 2,500 steps, and 0.18 s for each of
the answers about 712 animals, asked twice; features of all crops are made once, in some three minutes.
Methods and seeds share no cell, so two calls with `--threads 1` may run side by side, such as
`--methods language` and `--methods shuffled`; a last call with both writes the table to `--out`. Finished
cells are kept under `--runs` and skipped by the next call.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from benchmarks.cells import kept
from benchmarks.crops import ZOO_PADDING, Crops, order, short_hash, weights_hash, zoo_set
from benchmarks.prior_worth import quick_zoo
from benchmarks.report import COLUMNS, mean_pose_scores, prior_facts, write
from genloc.data.transforms import Augmentation
from genloc.inference import in_picture
from genloc.language.decoder import Decoder
from genloc.language.model import KeypointLM
from genloc.losses import AnswerLoss
from genloc.metrics.evaluate import sigmas_name
from genloc.metrics.table import Protocol
from genloc.models import Prior
from genloc.skeleton import load_skeleton
from genloc.training.asking import answer_loss
from genloc.training.optimiser import adam, parameter_groups, schedule
from genloc.training.scores import Scores

METHODS = {
    "language": "the decoder, shown each crop",
    "shuffled": "the same decoder, trained on pictures dealt out anew",
}
LEARNING = Augmentation(rotation=20, scale=0.2, half_body=0.0)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--zoo", type=Path, default=Path("data/zoo"), help="folder of `genloc zoo`")
    add("--prior", default="tiny", help="`tiny` or a diffusers folder")
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--shots", type=int, default=30, help="training pictures of each species; 0 for all")
    add("--test-shots", type=int, default=0, help="test pictures of each species; 0 for all")
    # The renderer's boxes are tight and never wrong; configs/language.yaml is for real ones, too.
    add("--padding", type=float, default=ZOO_PADDING, help="of the boxes")
    add("--views", type=int, default=4, help="augmented crops of each instance, drawn once")
    add("--steps", type=int, default=2500)
    add("--batch", type=int, default=8)
    add("--rate", type=float, default=2e-3)
    add("--warmup", type=int, default=40)
    add("--width", type=int, default=128)
    add("--layers", type=int, default=3)
    add("--heads", type=int, default=4)
    add("--rounds", type=int, default=17, help="keypoints asked for in each training crop")
    add("--timestep", type=int, default=201, help="at which the latent is read")
    add("--crop-size", type=int, default=128)
    add("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it alone")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--runs", type=Path, default=Path("runs/language-benchmark"))
    add("--out", type=Path, default=Path("benchmarks/results"))
    add("--quick", action="store_true", help="a few steps on a zoo of four species, to see it run")
    a = parser.parse_args(argv)
    if a.quick:
        a.zoo, a.out = quick_zoo(a.runs), a.runs / "quick"
        a.seeds, a.steps, a.shots, a.test_shots, a.views = a.seeds[:2], 2, 2, 1, 1
        a.batch, a.crop_size, a.width, a.layers, a.heads, a.rounds = 2, 64, 16, 2, 2, 3
    return a


def model_of(a: argparse.Namespace, seed: int) -> KeypointLM:
    """An untrained one, with the keypoints of the zoo."""
    prior = Prior(a.prior, dtype="fp32")
    decoder = Decoder(width=a.width, layers=a.layers, heads=a.heads, seed=seed)
    model = KeypointLM(
        prior,
        decoder,
        rounds=a.rounds,
        together=False,
        describe=False,
        timestep=a.timestep,
        seed=seed,
    )
    return model.ask_for(load_skeleton("ap10k"))


def fronts(crops: Crops, model: KeypointLM, batch: int = 32) -> np.ndarray:
    """Features of all crops, float16 [N, V, C, h, w], mapped from disk; constant, so made once."""
    prior = model.prior
    assert crops.latent is not None
    facts = [weights_hash(prior.unet), weights_hash(prior.vae), model.front_facts(), model.timestep]
    file = crops.folder / f"front-{short_hash(facts)}.npy"
    with crops.alone():
        if not file.is_file():
            device = prior.alphas_cumprod.device
            flat = crops.latent.flatten(0, 1)
            parts = [
                model.front(flat[i : i + batch].to(device))[0].half().cpu()
                for i in track(range(0, len(flat), batch), description="features")
            ]
            part = file.with_suffix(".part.npy")
            np.save(part, torch.cat(parts).unflatten(0, crops.latent.shape[:2]).numpy())
            part.replace(file)
    return np.load(file, mmap_mode="r")


def dealt(count: int, seed: int) -> np.ndarray:
    """Every crop gets another one's picture: a random order in which each hands on to the next."""
    ring = np.random.default_rng([seed, 11]).permutation(count)
    given = np.empty(count, np.int64)
    given[ring] = np.roll(ring, 1)
    return given


def train(
    a: argparse.Namespace, model: KeypointLM, crops: Crops, seen: np.ndarray, seed: int, shuffled: bool
) -> dict[str, Any]:  # fmt: skip
    """The package's own step without Lightning."""
    shown = dealt(len(crops), seed) if shuffled else np.arange(len(crops))
    optimiser = adam(parameter_groups(model, None, lr=a.rate, lr_condition=0, lr_lora=a.rate), 0.01)
    rates = schedule(optimiser, "cosine", warmup=min(a.warmup, a.steps // 4), steps=a.steps)
    learning = [p for p in model.parameters() if p.requires_grad]
    loss_of, draws = AnswerLoss(), order(len(crops), crops.views, a.batch, seed)
    running, curve, start, cpu = 0.0, [], time.perf_counter(), time.process_time()
    model.decoder.train()
    for step in range(1, a.steps + 1):
        items, views = next(draws)
        batch = crops.batch(items, views, a.device, latent=True)
        batch["image"] = torch.empty(a.batch, 3, a.crop_size, a.crop_size, device="meta")
        front = torch.from_numpy(np.array(seen[shown[items], views])).to(a.device)
        loss = answer_loss(model, loss_of, batch, seed, step, {"front": [front]})
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        if rates is not None:
            rates.step()
        running = loss.item() if step == 1 else 0.95 * running + 0.05 * loss.item()
        if step % max(1, a.steps // 10) == 0:
            spent = time.perf_counter() - start
            print(
                f"  step {step}/{a.steps} loss {running:.3f} | {spent / step:.2f} s a step",
                flush=True,
            )
            curve.append({"step": step, "loss": running})
    return {
        "curve": curve,
        "learning": sum(p.numel() for p in learning),
        "CPU seconds": time.process_time() - cpu,
    }


@torch.no_grad()
def test(model: KeypointLM, crops: Crops, seen: np.ndarray, device: str, shown: np.ndarray) -> dict:
    """Scores 0 to 1 of the answers about each crop, when it is shown the picture of the crop `shown`."""
    scores = Scores(crops.source)
    for start in range(0, len(crops), 16):
        items = np.arange(start, min(start + 16, len(crops)))
        batch = crops.batch(items, np.zeros_like(items), device, latent=True)
        front = torch.from_numpy(np.array(seen[shown[items], 0])).to(device)
        xy, sure = model.locate(None, crops.size, front=[front])
        labels: tuple[Tensor, Tensor] = (batch["to_image"], batch["box"])
        scores.add(in_picture(xy, sure, *labels, skeleton=crops.source.skeleton), batch)
    records = scores.records()
    unread = sum(s == 0 for r in records for s in r["keypoints"][2::3])
    asked = len(records) * crops.source.skeleton.num_keypoints
    return {**scores.compute(), "unread": unread / max(1, asked)}


def rows_of(
    results: Mapping[str, Sequence[Mapping[str, Any]]], mean: Mapping[str, float]
) -> list[str]:
    """Markdown: mean (least to most) over seeds."""
    columns = (*COLUMNS, "unread")
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]

    def line(name: str, scores: Sequence[Mapping[str, float]]) -> None:
        shown = []
        for column in columns:
            values = [100 * s[column] for s in scores if column in s]
            more = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
            shown.append(f"{statistics.mean(values):.1f}{more}" if values else "")
        lines.append(f"| {name} | " + " | ".join(shown) + " |")

    for name, cells in results.items():
        line(METHODS[name], [cell["test"] for cell in cells])
        if name == "language":
            line("that one, shown another picture", [cell["another"] for cell in cells])
    line("mean pose", [mean])
    return lines


def main(argv: list[str] | None = None) -> None:
    a = parse(argv)
    if a.threads:
        torch.set_num_threads(a.threads)
    folder = a.runs / "crops"
    source = zoo_set(a.zoo, "train", a.shots or None)
    crops = Crops(
        source, folder, size=a.crop_size, padding=a.padding, views=a.views, augmentation=LEARNING
    )
    shown = zoo_set(a.zoo, "test", a.test_shots or None)
    held = Crops(shown, folder, size=a.crop_size, padding=a.padding)
    first = model_of(a, 0).to(a.device)
    for each in (crops, held):
        each.encode(first.prior)
    seen, new = (fronts(each, first) for each in (crops, held))
    fingerprint = first.prior.digest()
    print(f"{source.summary()}\ntest {len(held)} instances", flush=True)
    results: dict[str, list[dict[str, Any]]] = {}
    for method in a.methods:
        for seed in a.seeds:
            recipe = {
                name: getattr(a, name)
                for name in ("steps", "batch", "rate", "warmup", "width", "layers", "heads", "rounds", "timestep")
            }  # fmt: skip
            facts = {
                **recipe,
                "prior": fingerprint,
                "crops": [crops.key, held.key],
                "method": method,
            }

            def cell(method: str = method, seed: int = seed) -> dict[str, Any]:
                print(f"{method}, seed {seed}", flush=True)
                model = model_of(a, seed).to(a.device)
                made = train(a, model, crops, seen, seed, method == "shuffled")
                plain, other = np.arange(len(held)), dealt(len(held), seed)
                return {
                    "seed": seed,
                    **made,
                    "test": test(model, held, new, a.device, plain),
                    "another": test(model, held, new, a.device, other),
                }

            name = f"{method}-seed{seed}-{short_hash(facts)}.json"
            results.setdefault(method, []).append(kept(a.runs / "cells" / name, cell))
    skeleton = held.source.skeleton
    how = Protocol(
        annotations=str(held.source.annotations),
        checksum=held.source.checksum,
        boxes="ground truth",
        padding=str(held.padding),
        flip_test="off",
        decoding="greedy answers, three decimals of the crop's side",
        sigmas=sigmas_name(skeleton, None),
        nms="none, one result for each box",
        more={
            "trained on": f"{len(crops)} instances, {a.views} augmented crops of {a.crop_size} pixels each",
            "tested on": f"{len(held)} instances, {a.test_shots or 'all'} pictures of each species",
            "steps": f"{a.steps} of {a.batch} crops, at most {a.rounds} questions each, AdamW {a.rate:g}, cosine",
            "decoder": f"LLaMA from scratch, {a.layers} layers of {a.width}, {first.decoder.facts()['heads']} heads; "
            f"with the projector {sum(p.numel() for p in first.parameters() if p.requires_grad):,} parameters",
            "seeds": f"{', '.join(map(str, a.seeds))}; mean (least to most)",
            "unread": "answers that hold no coordinates, in %; they count as the crop's centre",
            **prior_facts(a.prior, fingerprint),
        },
    )
    lines = ["# A language model that answers in coordinates", ""]
    lines += [*rows_of(results, mean_pose_scores(crops, held)), ""]
    spent = [cell["CPU seconds"] for cells in results.values() for cell in cells]
    lines += [f"- one training: {statistics.mean(spent):.0f} s of CPU time"]
    lines += [f"- {line}" for line in how.lines()]
    write(a.out, "language", a.device, lines, {"results": results, "protocol": how.lines()})


if __name__ == "__main__":
    main()
