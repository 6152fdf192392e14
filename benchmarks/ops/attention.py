"""Time and peak memory of the attention ops beside every other way torch has to do the same.

    python benchmarks/ops/attention.py [--device cuda] [--batch 1 16 64] [--keypoints 17 133]
                                       [--sizes 512 256] [--rivals ...] [--repeats 20]

Shapes are those of Stable Diffusion 1.5's up-blocks. Each form is first compared with float64 on
the same shape and reported only if it is right. Writes
`benchmarks/results/attention_ops_<device>_<date>.md` and two plots beside it. Needs torch, and
cuda-core for the kernels; without a GPU the columns of a GPU say "not measured".
"""

from __future__ import annotations

import argparse
import datetime
import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.ops.measure import copy_bandwidth, hardware, peak_memory, seconds, slug  # noqa: E402
from benchmarks.ops.plot import line_plot  # noqa: E402
from genloc.ops import correlation_map, heatmap_log_expectation  # noqa: E402
from genloc.ops.correlation_map.reference import correlation_map_reference  # noqa: E402
from genloc.ops.heatmap_log_expectation.reference import (  # noqa: E402
    heatmap_log_expectation_reference,
)

HEADS = 8
# Side of the grid and channels per head of the three blocks with cross-attention, for a crop of 512.
GRIDS = [(64, 40), (32, 80), (16, 160)]
MIB = 2**20
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """One row of the table."""

    batch: int
    side: int
    depth: int
    keypoints: int

    def inputs(self, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Condition (shared), latent and log-target; the first two ask for a gradient."""
        generator = torch.Generator().manual_seed(0)
        width, tokens = HEADS * self.depth, self.side**2
        condition = torch.randn(1, self.keypoints, width, generator=generator)
        latent = torch.randn(self.batch, tokens, width, generator=generator)
        target = -20 * torch.rand(self.batch, self.keypoints, tokens, generator=generator)
        condition, latent = (x.to(device, dtype).requires_grad_() for x in (condition, latent))
        return condition, latent, target.to(device)

    def floor(self, op: str, element: int, backward: bool) -> int:
        """Bytes that must move: every input read once, every result written once."""
        tokens, width = self.side**2, HEADS * self.depth
        latent = self.batch * tokens * width * element
        condition = self.keypoints * width * element
        plane = self.batch * self.keypoints * tokens * 4  # the target, or the map
        total = latent + condition + plane
        # Backward: latent and plane (the target, or the map's gradient) again, and the gradients.
        return total + (2 * (latent + condition) + plane if backward else 0)


def sdpa(condition: Tensor, latent: Tensor, target: Tensor, attention: Callable) -> Tensor:
    """The expectation as an attention that carries exp(target) as value; linear, not logarithmic."""
    batch = latent.shape[0]
    q = condition.expand(batch, -1, -1).unflatten(-1, (HEADS, -1)).transpose(1, 2)
    k = latent.unflatten(-1, (HEADS, -1)).transpose(1, 2)
    value = target.exp().to(k.dtype).transpose(1, 2)[:, None].expand(-1, HEADS, -1, -1)
    out = attention(q, k, value)  # [B, N, K, K]: what a keypoint sees of every target
    return out.diagonal(dim1=-2, dim2=-1).float().mean(1).log()


def forms(op: str, names: list[str]) -> dict[str, Form]:
    """The contestants of an op by name; ours last."""
    found: dict[str, Form] = {}

    def reference(c: Tensor, z: Tensor, t: Tensor) -> Tensor:
        scale = (z.shape[2] // HEADS) ** -0.5
        if op == "correlation_map":
            return correlation_map_reference(c, z, heads=HEADS, scale=scale)
        return heatmap_log_expectation_reference(c, z, t, heads=HEADS, scale=scale)

    if "eager" in names:
        found["eager"] = reference
    if "compile" in names:
        found["compile"] = torch.compile(reference, fullgraph=True, dynamic=False)
    if op == "heatmap_log_expectation":
        if "sdpa" in names:
            found["sdpa"] = lambda c, z, t: sdpa(c, z, t, F.scaled_dot_product_attention)
        if "flex" in names:
            from torch.nn.attention.flex_attention import flex_attention

            flex = torch.compile(flex_attention, dynamic=False)
            found["flex"] = lambda c, z, t: sdpa(c, z, t, flex)
        found["ours"] = lambda c, z, t: heatmap_log_expectation(c, z, t, heads=HEADS)
    else:
        found["ours"] = lambda c, z, t: correlation_map(c, z, heads=HEADS)
    return found


def gradients(form: Form, c: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    value = form(c, z, t)
    # Not all ones: the sum over a map's row is constant, and its gradient nothing but rounding.
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(value.shape, generator=generator).to(value)
    return (value, *torch.autograd.grad(value, (c, z), upstream))


def is_wrong(
    form: Form, shape: Shape, op: str, device: str, dtype: torch.dtype, backward: bool = True
) -> str | None:
    """What is wrong with a form on one crop of a shape, or None; without `backward`, with its value alone."""
    small = Shape(1, shape.side, shape.depth, shape.keypoints)
    c, z, t = small.inputs(device, dtype)
    exact = (c.detach().double().requires_grad_(), z.detach().double().requires_grad_(), t.double())
    truth = gradients(forms(op, ["eager"])["eager"], *exact)
    allowed = 1e-4 if dtype == torch.float32 else 2e-2  # SDPA rounds its value and its result
    found = gradients(form, c, z, t) if backward else (form(c.detach(), z.detach(), t),)
    names = ("value", "condition", "latent")[: len(found)]
    for name, mine, true in zip(names, found, truth[: len(found)], strict=True):
        error = ((mine.double() - true).norm() / true.norm()).item()
        if not error <= allowed:
            return f"wrong: {name} is off by {error:.1e}"
    return None


@dataclass
class Cell:
    """What was measured of one form on one shape."""

    forward: float = float("nan")  # seconds
    both: float = float("nan")
    memory: float = float("nan")  # bytes, forward and backward
    note: str = ""  # why there is nothing, or no backward


def checked(
    form: Form, shape: Shape, op: str, device: str, dtype: torch.dtype, backward: bool = True
) -> str | None:
    """`is_wrong`, with a refusal in words."""
    try:
        return is_wrong(form, shape, op, device, dtype, backward)
    except Exception as error:
        words = str(error).strip().split(". ")[0].splitlines()
        return f"refused: {words[0] if words else type(error).__name__}"


def measure(
    op: str, shape: Shape, names: list[str], device: str, dtype: torch.dtype, repeats: int
) -> dict[str, Cell]:
    """All forms side by side: one repetition of each in a changing order, so that drift and what
    another form leaves in the cache hit them alike."""
    cells: dict[str, Cell] = {}
    running: dict[str, Form] = {}
    forward_only: dict[str, Form] = {}
    for name, form in forms(op, names).items():
        note = checked(form, shape, op, device, dtype)
        if note is None:
            running[name] = form
            continue
        cells[name] = Cell(note=note)
        if (
            note.startswith("refused")
            and checked(form, shape, op, device, dtype, backward=False) is None
        ):
            forward_only[name] = form
    c, z, t = shape.inputs(device, dtype)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in running}
    for name, form in running.items():
        gradients(form, c, z, t)  # compiles, and fills the allocator's cache
        used = peak_memory(partial(gradients, form, c, z, t), device)
        cells[name] = Cell(memory=used)
    turns = list(running.items())
    once = sum(seconds(partial(gradients, form, c, z, t), device) for form in running.values())
    for _ in range(
        max(repeats, min(200, int(1 / max(once, 1e-3))))
    ):  # small shapes: a second's worth
        random.shuffle(turns)
        for name, form in turns:
            with torch.no_grad():
                times[name][0].append(seconds(partial(form, c, z, t), device))
            times[name][1].append(seconds(partial(gradients, form, c, z, t), device))
    for name, form in forward_only.items():
        alone = partial(form, c.detach(), z.detach(), t)
        alone()
        cells[name].forward = statistics.median(seconds(alone, device) for _ in range(repeats))
    for name, (forward, both) in times.items():
        cells[name].forward = statistics.median(forward)
        cells[name].both = statistics.median(both)
    return cells


def rows_of(
    op: str, shape: Shape, cells: dict[str, Cell], bandwidth: float, element: int
) -> list[str]:
    """The table's lines for a shape."""
    lines = []
    for name, cell in cells.items():
        where = f"| {shape.side}x{shape.side}, D {shape.depth} | {shape.batch} | {shape.keypoints}"
        shares = [
            shape.floor(op, element, backward) / bandwidth / taken
            for backward, taken in ((False, cell.forward), (True, cell.both))
        ]
        if cell.note:
            known = math.isfinite(cell.forward)
            forward, share = (
                (f"{cell.forward * 1e3:.3f}", f"{shares[0]:.0%}") if known else ("", "")
            )
            lines.append(f"{where} | {name} | {forward} | {cell.note} | | {share} | |")
            continue
        lines.append(
            f"{where} | {name} | {cell.forward * 1e3:.3f} | {cell.both * 1e3:.3f} "
            f"| {cell.memory / MIB:.1f} | {shares[0]:.0%} | {shares[1]:.0%} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default=None, help="float32, bfloat16, float16")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--keypoints", type=int, nargs="+", default=[17, 133])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 256])
    parser.add_argument("--rivals", nargs="*", default=["eager", "compile", "sdpa", "flex"])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    options = parser.parse_args()
    device = options.device
    dtype = getattr(torch, options.dtype or ("bfloat16" if device == "cuda" else "float32"))
    if device == "cpu":
        torch.set_num_threads(1)
    torch._dynamo.config.cache_size_limit = 1000
    bandwidth = copy_bandwidth(device)
    named, today = hardware(device), datetime.date.today().isoformat()
    clock = "CUDA events" if device == "cuda" else "processor time of one thread"
    lines = [
        f"# Attention ops on {named}, {today}",
        "",
        f"torch {torch.__version__}, {dtype}, shared conditions, {HEADS} heads, medians of "
        f"{options.repeats} or more by {clock}. Copy bandwidth in this run: {bandwidth / 1e9:.1f} GB/s; "
        "the share of the floor is the time that a copy of the bytes that must move would take, "
        "over the time taken. Memory is what forward and backward use beyond their inputs. "
        "`sdpa` and `flex` carry exp(target) as value, so they underflow where `ours` does not. "
        f"Rivals asked for: {', '.join(options.rivals)}; what is not in the table was not measured.",
    ]
    if device == "cpu":
        lines += ["", "GPU: not measured. `ours` is the torch form here; a CPU has no kernel."]
    series: dict[str, list[tuple[float, float, float]]] = {}
    for op in ("heatmap_log_expectation", "correlation_map"):
        lines += [
            "",
            f"## {op}",
            "",
            "| grid | B | K | form | forward ms | forward + backward ms | memory MiB "
            "| of the floor, forward | of the floor, both |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for size in options.sizes:
            for side, depth in GRIDS:
                for batch in options.batch:
                    for keypoints in options.keypoints:
                        shape = Shape(batch, side * size // 512, depth, keypoints)
                        cells = measure(op, shape, options.rivals, device, dtype, options.repeats)
                        more = rows_of(op, shape, cells, bandwidth, dtype.itemsize)
                        print("\n".join(more), flush=True)
                        lines += more
                        plotted = (options.batch[0], options.keypoints[0], options.sizes[0])
                        if op == "heatmap_log_expectation" and plotted == (batch, keypoints, size):
                            for name, cell in cells.items():
                                point = (shape.side**2, cell.both * 1e3, cell.memory / MIB)
                                if not cell.note:
                                    series.setdefault(name, []).append(point)
    stem = f"attention_ops_{slug(device)}_{today}"
    options.out.mkdir(parents=True, exist_ok=True)
    for what, column, unit in (("time", 1, "ms, forward and backward"), ("memory", 2, "MiB")):
        curves = {name: [(p[0], p[column]) for p in points] for name, points in series.items()}
        picture = options.out / f"{stem}_{what}.svg"
        title = f"heatmap_log_expectation, B = {options.batch[0]}, K = {options.keypoints[0]}"
        picture.write_text(line_plot(curves, title, "image tokens T", unit), "utf-8")
        lines += ["", f"![{what} against T]({picture.name})"]
    file = options.out / f"{stem}.md"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {file}")


if __name__ == "__main__":
    main()
