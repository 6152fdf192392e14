"""Memory of `genloc predict` along an hour of video: does it grow?

    python -m benchmarks.long_video [--minutes 60]

Draws a video of noise that drifts, predicts with a fresh adapter on the tiny prior (what it finds does not matter
here), keypoints and labelled video written, and reads the memory of the process while it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.ops.measure import hardware, memory_in_use
from benchmarks.report import write
from genloc.adapter import save_adapter
from genloc.conditions import LearnedCondition
from genloc.models import GenLoc, LoRA, Prior
from genloc.skeleton import AP10K

RESULTS = Path(__file__).parent / "results"
RATE = 25  # frames a second
MIB = 2**20


def draw(path: Path, frames: int) -> None:
    """A view of 320 x 240 that drifts over soft noise; H.264."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    ground = noise.repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for i in range(frames):
            x, y = i % 320, i // 2 % 240
            view = np.ascontiguousarray(ground[y : y + 240, x : x + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))


def fresh_adapter(folder: Path, crop_size: int) -> Path:
    model = GenLoc(Prior("tiny"), context="null", layers="finest-first", lora=LoRA("cross")).load()
    channels = model.prior.condition_channels
    condition = LearnedCondition().build(
        AP10K, channels, generator=torch.Generator().manual_seed(0)
    )
    recipe = {"crop_size": crop_size, "padding": 1.25, "decoding": "centroid", "flip_test": False}
    return save_adapter(
        folder, model=model, condition=condition, skeleton=AP10K, recipe=recipe, metrics={}
    )


def watch(command: list[str], journal: Path, frames: int) -> list[tuple[float, int]]:
    """(share of the frames done, bytes in memory) twice a second until the command ends."""
    found = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        done, position = -1, 0  # the journal's first line is its head
        while process.poll() is None:
            if journal.is_file():
                with journal.open("rb") as file:
                    file.seek(position)
                    new = file.read()
                position, done = position + len(new), done + new.count(b"\n")
                with contextlib.suppress(OSError, StopIteration):  # it has just ended
                    found.append((done / frames, memory_in_use(process=process.pid)))
            time.sleep(0.5)
        assert process.stderr is not None
        if process.returncode:
            raise SystemExit(process.stderr.read().decode())
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--crop-size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args(arguments)
    frames = round(a.minutes * 60 * RATE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "clip.mp4", frames)
        adapter, out = fresh_adapter(folder / "adapter", a.crop_size), folder / "out"
        command = [sys.executable, "-m", "genloc", "predict", str(folder / "clip.mp4")]
        command += ["--adapter", str(adapter), "--out", str(out), "--batch-size", "16"]
        began = time.monotonic()
        found = watch(command, out / "predictions.jsonl", frames)
        wall = time.monotonic() - began
        sizes = {f.name: os.path.getsize(f) for f in sorted(out.iterdir()) if f.is_file()}
    parts = [(i / 10, (i + 1) / 10) for i in range(10)]
    tenths = [[used for share, used in found if low <= share < high] for low, high in parts]
    last = [used for share, used in found if share >= 1]  # tables and the film are put together
    rows = [*(f"{low:.0%} to {high:.0%}" for low, high in parts), "writing the files"]
    lines = [
        f"# Memory along a video, {datetime.date.today().isoformat()}",
        "",
        f"{hardware('cpu')}; {frames} frames of 320x240 ({a.minutes:g} minutes at {RATE} a second), crops of "
        f"{a.crop_size}, keypoints and labelled video written; {wall:.0f} s. "
        f"Files: {', '.join(f'{n} {s / MIB:.1f} MiB' for n, s in sizes.items())}.",
        "",
        "| of the frames | memory MiB, median | most |",
        "| --- | ---: | ---: |",
        *(
            f"| {row} | {statistics.median(used) / MIB:.0f} | {max(used) / MIB:.0f} |"
            for row, used in zip(rows, [*tenths, last], strict=True)
            if used
        ),
    ]
    content = {"frames": frames, "seconds": wall, "files": sizes, "share and bytes": found}
    write(a.out, "long_video", "cpu", lines, content)


if __name__ == "__main__":
    main()
