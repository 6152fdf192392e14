"""Time and peak memory of GenLoc at Stable Diffusion 1.5's full size, with random weights.

    python benchmarks/full_size_step.py [--device cuda] [--batch 1] [--repeats 1]

Runs each case in a process of its own and writes
`benchmarks/results/full_size_step_<hardware>_<date>.md`. Random weights cost as much time and
memory as trained ones; the numbers say nothing about accuracy.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CASES: dict[str, dict] = {
    "forward at 512, `conditions`": {"size": 512, "train": False},
    "training step at 256, `conditions`": {"size": 256},
    "training step at 256, `null`": {"size": 256, "context": "null"},
    "training step at 256, `conditions`, checkpointing": {"size": 256, "checkpointing": True},
    "training step at 256, `null`, LoRA `full`": {"size": 256, "context": "null", "preset": "full"},
}


class PeakMemory:
    """Most memory in use while the block runs, in GiB: of the GPU, or of this process (Linux)."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.peak = 0.0

    def __enter__(self) -> PeakMemory:
        if self.device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, resident())

    def __exit__(self, *_: object) -> None:
        if self.device == "cuda":
            import torch

            self.peak = torch.cuda.max_memory_allocated() / 2**30
        else:
            self._stop.set()
            self._thread.join()


def resident() -> float:
    """Resident memory of this process in GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def write_random(folder: Path) -> None:
    """A diffusers folder of SD 1.5's architecture with random weights, in half precision."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from genloc.models.weights import ASSETS

    torch.manual_seed(0)
    for model, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae")):
        config = model.load_config(str(ASSETS / "sd15"), subfolder=part)
        model.from_config(config).half().save_pretrained(folder / part, variant="fp16")
    text = CLIPTextConfig.from_pretrained(ASSETS / "sd15" / "text_encoder")
    CLIPTextModel(text).half().save_pretrained(folder / "text_encoder", variant="fp16")
    (folder / "scheduler").mkdir()
    schedule = (ASSETS / "sd15" / "scheduler" / "scheduler_config.json").read_text()
    (folder / "scheduler" / "scheduler_config.json").write_text(schedule)


def run_case(
    folder: str,
    device: str,
    batch: int,
    repeats: int,
    size: int,
    *,
    train: bool = True,
    context: str = "conditions",
    preset: str = "cross",
    checkpointing: bool = False,
) -> dict[str, float]:
    import torch

    from genloc.models import GenLoc, LoRA, Prior

    torch.manual_seed(0)
    model = GenLoc(
        Prior(folder),
        context=context,  # type: ignore[arg-type]
        lora=LoRA(preset),  # type: ignore[arg-type]
        gradient_checkpointing=checkpointing,
    )
    model.load().to(device)
    learning = [p for p in model.parameters() if p.requires_grad]
    condition = torch.randn(1, 17, 768, device=device, requires_grad=True)
    image = torch.rand(batch, 3, size, size, device=device) * 2 - 1
    h, _ = model.map_size(image)
    points = torch.rand(batch, 17, 2, device=device) * h
    optimiser = torch.optim.Adam(
        [{"params": [condition], "lr": 1e-2}, {"params": learning, "lr": 1e-3}]
    )

    def step() -> None:
        if not train:
            with torch.inference_mode():
                model(image, condition)
            return
        optimiser.zero_grad()
        loss = -model.log_expectation(image, condition, points, 2 * h / 64).mean()
        loss.backward()
        optimiser.step()
        if not torch.isfinite(loss):
            raise RuntimeError("the loss is not finite")

    def synchronise() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    before = torch.cuda.memory_allocated() / 2**30 if device == "cuda" else resident()
    times = []
    with PeakMemory(device) as memory:
        step()  # not timed: the first call allocates
        for _ in range(repeats):
            synchronise()
            start = time.perf_counter()
            step()
            synchronise()
            times.append(time.perf_counter() - start)
    return {
        "seconds": min(times),
        "peak": memory.peak,
        "loaded": before,
        "learning": float(sum(p.numel() for p in learning)),
    }


def count_tflop(
    batch: int,
    size: int,
    *,
    train: bool = True,
    context: str = "conditions",
    preset: str = "cross",
    checkpointing: bool = False,
) -> float:
    """Operations of the U-Net in one step, counted on tensors without memory."""
    import torch
    from diffusers import UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    from genloc.models.attention import Reading, cross_attention_layers, install
    from genloc.models.lora import LoRA, add_lora
    from genloc.models.read_out import read_map
    from genloc.models.walk import unreached, walk
    from genloc.models.weights import ASSETS

    with torch.device("meta"):
        config = UNet2DConditionModel.load_config(str(ASSETS / "sd15"), subfolder="unet")
        unet = UNet2DConditionModel.from_config(config).requires_grad_(False)
        names = list(cross_attention_layers(unet))
        install(unet, names)
        add_lora(unet, LoRA(preset), unreached=unreached(unet, names[-1]))  # type: ignore[arg-type]
        if checkpointing:
            unet.enable_gradient_checkpointing()
        condition = torch.zeros(1, 17, 768, requires_grad=train)
        latent = torch.zeros(batch, 4, size // 8, size // 8)
        null = torch.zeros(1, 77, 768)

        def measure(name, key, query, heads, scale):
            return read_map("ckhe", key, query, heads=heads, scale=scale)

        reading = Reading(measure, frozenset(names), last=names[-1])
        if context == "null":
            reading.condition = condition
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(train):
            walk(unet, latent, 1, condition if context == "conditions" else null, reading)
            reading.closed = True
            if train:
                sum(value.sum() for value in reading.record.values()).backward()  # type: ignore[union-attr]
    return counter.get_total_flops() / 1e12


def hardware(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name().lower().replace(" ", "-")
    return f"cpu-{os.cpu_count()}core"


def report(rows: dict[str, dict[str, float]], device: str, batch: int, date: str) -> str:
    import diffusers
    import torch

    threads = torch.get_num_threads()
    precision = "bf16 frozen net, fp32 LoRA" if device == "cuda" else "fp32"
    table = [
        f"| {name} | {row['learning']:,.0f} | {row['loaded']:.2f} | {row['peak']:.2f} "
        f"| {row['peak'] - row['loaded']:.2f} | {row['seconds']:.2f} | {row['tflop']:.3f} |"
        for name, row in rows.items()
    ]
    return "\n".join(
        [
            f"# One step at full size, {date}",
            "",
            f"Stable Diffusion 1.5's architecture, random weights; {batch} crop(s), 17 keypoints, "
            f"{precision}. Hardware: {hardware(device)} ({platform.machine()}), {threads} thread(s); "
            f"torch {torch.__version__}, diffusers {diffusers.__version__}. "
            "LoRA `cross` unless said. Loss: HEL; optimiser: Adam.",
            "",
            "| case | learning parameters (LoRA) | loaded GiB | peak GiB | of it the step's | seconds | U-Net TFLOP |",
            "|---|---|---|---|---|---|---|",
            *table,
            "",
            "Memory is of the GPU's allocator on CUDA, else resident memory of the whole process. Time is",
            "the best of the timed steps after one that is not timed, encoding the image included; it",
            "varies with what else runs on the machine. TFLOP are counted, not timed: forward and",
            "backward pass of the U-Net, per step, as it runs here (stopped after the last map, down and",
            "mid blocks without gradient where they need none).",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device, batch, repeats = arguments.device, arguments.batch, arguments.repeats
    if arguments.write:
        write_random(Path(arguments.write))
        return
    if arguments.case:
        result = run_case(arguments.folder, device, batch, repeats, **CASES[arguments.case])
        print("RESULT " + json.dumps(result))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, so that its memory is given back.
        subprocess.run([sys.executable, __file__, "--write", folder], check=True)
        for case in CASES:
            command = [sys.executable, __file__, *sys.argv[1:], "--case", case, "--folder", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            line = next(x for x in done.stdout.splitlines() if x.startswith("RESULT "))
            rows[case] = json.loads(line.removeprefix("RESULT "))
            rows[case]["tflop"] = count_tflop(batch, **CASES[case])
            print(
                f"{case}: {rows[case]['seconds']:.2f} s, peak {rows[case]['peak']:.2f} GiB",
                flush=True,
            )
    date = datetime.date.today().isoformat()
    file = Path(__file__).parent / "results" / f"full_size_step_{hardware(device)}_{date}.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(report(rows, device, batch, date))
    print(f"wrote {file}")


if __name__ == "__main__":
    main()
