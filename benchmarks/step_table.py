"""The command line, the table and the plot that training_step.py and inference.py share."""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

from benchmarks.ops.measure import hardware, seconds, slug
from benchmarks.ops.plot import bar_plot
from benchmarks.steps import KEYPOINTS, Case, Setting, check, in_turn, run_apart

MIB = 2**20
REPOSITORY = Path(__file__).resolve().parent.parent


def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """TFLOP per second of a large product, measured now."""
    side = 8192 if device == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    a @ b
    return 2 * side**3 / statistics.median(seconds(lambda: a @ b, device) for _ in range(5)) / 1e12


def rows(
    cases: Sequence[Case], setting: Setting, compiling: bool
) -> list[tuple[Case, dict[str, Any]]]:
    """What each case takes, or why it was not measured."""
    found = []
    for case in cases:
        if case.gpu and setting.device == "cpu":
            result: dict[str, Any] = {"refused": "not measured on a GPU"}
        elif case.compiled and not compiling:
            result = {"refused": "not measured (--compile)"}
        else:
            result = run_apart(case, setting)
        said = (
            result.get("refused") or f"{result['seconds']:.2f} s, {result['memory'] / MIB:.0f} MiB"
        )
        print(f"{case.name}: {said}", flush=True)
        found.append((case, result))
    return found


def table(found: list[tuple[Case, dict[str, Any]]], setting: Setting, peak: float) -> list[str]:
    """Markdown rows; the gain is over the naive case of the same precision."""
    lines = [
        "| case | images/s | gain | s a step | memory MiB beside the weights | of the naive | TFLOP "
        "| of the matmul peak | MiB on disk a crop |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    naive = {case.dtype: result for case, result in found if case.naive and "seconds" in result}
    tflop = 0.0
    for case, result in found:
        if "refused" in result:
            lines.append(f"| {case.name} | {result['refused']} | | | | | | | |")
            continue
        rival = naive.get(case.dtype, result)
        tflop = result["tflop"] or tflop  # a compiled step does what the one before it does
        disk = f"{result['disk'] / MIB:.2f}" if result["disk"] else ""
        lines.append(
            f"| {case.name} | {setting.batch / result['seconds']:.3g} "
            f"| {rival['seconds'] / result['seconds']:.2f}x | {result['seconds']:.3g} "
            f"| {result['memory'] / MIB:.0f} | {result['memory'] / rival['memory']:.2f} "
            f"| {tflop:.3g} | {tflop / result['seconds'] / peak:.0%} | {disk} |"
        )
    return lines


def main(stem: str, title: str, cases: Sequence[Case], *, train: bool) -> None:
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--prior", default="sd15", help="sd15 (random weights), tiny, or a folder")
    parser.add_argument("--size", type=int, default=None, help="512; 256 on a CPU, 128 with tiny")
    parser.add_argument("--batch", type=int, default=None, help="8; 1 on a CPU, 16 with tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--compile", action="store_true", help="measure torch.compile, too (minutes)"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    options = parser.parse_args()
    device, tiny = options.device, options.prior == "tiny"
    if device == "cpu":
        torch.set_num_threads(1)
    size = options.size or (128 if tiny else 256 if device == "cpu" else 512)
    batch = options.batch or (16 if tiny else 1 if device == "cpu" else 8)
    runnable = [c for c in cases if not (c.gpu and device == "cpu") and not c.compiled]
    check(runnable, train, device)
    print("every case gives what the naive one gives", flush=True)
    peak = matmul_peak(device, torch.float32 if device == "cpu" else torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        if options.prior == "sd15":  # in a process of its own, so that its memory is given back
            program = f"from benchmarks.steps import *; write_random(Path({folder!r}))"
            subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
        prior = folder if options.prior == "sd15" else options.prior
        setting = Setting(prior, size, batch, device, train, options.repeats)
        found = rows(in_turn(cases, device), setting, options.compile)
    today = datetime.date.today().isoformat()
    name = f"{stem}_{options.prior if tiny else 'sd15'}_{slug(device)}_{today}"
    what = "the tiny prior" if tiny else "Stable Diffusion 1.5's architecture, random weights"
    clock = "CUDA events" if device == "cuda" else "processor time of one thread"
    lines = [
        f"# {title} on {hardware(device)}, {today}",
        "",
        f"{what[0].upper()}{what[1:]}; {batch} crop(s) of {size}, {KEYPOINTS} keypoints, "
        f"{'fp32' if device == 'cpu' else 'bf16 frozen net, fp32 LoRA (the first row: fp32)'}; "
        f"torch {torch.__version__}, diffusers {diffusers.__version__}, {platform.machine()}. "
        f"Medians of {options.repeats} by {clock}; every case in a process of its own. LoRA `cross`, "
        f"encoding the image included unless kept. Matmul peak measured in this run: {peak:.3f} TFLOP/s. "
        "TFLOP are those of matrix products and convolutions, counted.",
        "",
        *table(found, setting, peak),
        "",
        'Rows that begin with + add up; a row "as well" stands on the + rows above it and is not carried '
        "on. Reading what is kept from disk is not in the times.",
    ]
    if device == "cpu":
        lines += ["", "GPU: not measured on a GPU. bf16 weights, xformers and the largest batch in 24 GB "
                  "are questions for one."]  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    bars = {
        case.name: (batch / result["seconds"], result["memory"] / MIB)
        for case, result in found
        if "seconds" in result
    }
    picture = options.out / f"{name}.svg"
    picture.write_text(bar_plot(bars, f"{title}: {what}", ("images/s", "MiB")), "utf-8")
    lines += ["", f"![images per second and memory]({picture.name})"]
    (options.out / f"{name}.md").write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {options.out / name}.md")
