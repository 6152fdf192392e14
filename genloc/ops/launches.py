"""How the work of both ops is cut into blocks, and what every kernel is given.

Everything here is arithmetic on shapes: it runs, and is tested, without a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genloc.ops import extension
from genloc.ops.extension import MAX_SHARED_BYTES, Argument, Kernels, Variant

MAX_KEYPOINTS = 256
MAX_DEPTH = 256
ELEMENTS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_STRIP = 16  # tokens per warp
_SPLIT_TOKENS = 256  # fewer per block, and loading the keypoints weighs as much as the tokens
_BLOCKS_PER_PROCESSOR = 16  # a few rounds of what fits at once, so that the last round is short
_MAX_SUMS = 96
_LOG2E = math.log2(math.e)


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def empty(*shape: int, like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A new tensor on ``like``'s device; the kernels write all of it."""
    return torch.empty(shape, dtype=dtype, device=like.device)


def shared_bytes(variant: Variant) -> int:
    """Shared memory of the hungriest kernel, as ``both_gradients`` in gradients.cuh lays it out."""
    size = 4 if variant.element == 0 else 2
    pitch = variant.depth + 16 // size
    keys, tokens = 8 * variant.tiles, _STRIP * variant.warps
    gradient_pitch = keys + (0 if variant.tiles % 2 else 8)
    gradients = tokens * (pitch * size + 4 * gradient_pitch)
    merged = variant.warps * keys * 4 * 4  # sum_over_tokens: up to 4 numbers per warp and keypoint
    return keys * pitch * size + max(gradients, merged) + 3 * 4 * keys


def choose_variant(
    op: str, dtype: torch.dtype, depth: int, keypoints: int, vector: bool
) -> Variant:
    """As few groups of keypoints as memory and registers allow, then as many warps."""
    best: tuple[int, int, Variant] | None = None
    needed = ceil_div(keypoints, 8)
    for warps in (4, 2, 1):
        for most in (4, 3, 2, 1):
            groups = ceil_div(needed, most)
            variant = Variant(op, ELEMENTS[dtype], depth, ceil_div(needed, groups), warps, vector)
            # Sums of the condition's gradient that a thread of both_gradients keeps in registers.
            sums = 4 * variant.tiles * ceil_div(ceil_div(depth, 16), warps)
            if shared_bytes(variant) > MAX_SHARED_BYTES or sums > _MAX_SUMS:
                continue
            if best is None or (groups, -warps) < best[:2]:
                best = groups, -warps, variant
    assert best is not None, "one tile and one warp fit for every depth up to 256"
    return best[2]


def processors(device: torch.device) -> int:
    """Multiprocessors of the device; of a small one where there is none."""
    if device.type != "cuda":
        return 4
    return torch.cuda.get_device_properties(device).multi_processor_count


def _aligned(x: Tensor) -> bool:
    """Whether every row of ``x`` [., ., N*D] starts at a multiple of 16 bytes."""
    strides = [s for s, n in zip(x.stride()[:2], x.shape[:2], strict=True) if n > 1]
    return all(
        number % 16 == 0 for number in [x.data_ptr(), *(s * x.element_size() for s in strides)]
    )


@dataclass(frozen=True)
class Task:
    """A call of an op: its tensors, checked and on one device, and the cut into blocks."""

    condition: Tensor  # [B or 1, K, N*D]
    latent: Tensor  # [B, T, N*D]
    plane: Tensor | None  # [B, K, T] float32, any strides
    heads: int
    scale: float
    variant: Variant

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """B, N, K and T."""
        return self.latent.shape[0], self.heads, self.condition.shape[1], self.latent.shape[1]

    @property
    def depth(self) -> int:
        """D."""
        return self.variant.depth

    @property
    def groups(self) -> int:
        """Blocks that share the keypoints among them."""
        return ceil_div(self.condition.shape[1], 8 * self.variant.tiles)

    @property
    def tile_tokens(self) -> int:
        """Tokens that a block takes at a time."""
        return _STRIP * self.variant.warps

    def cut(self) -> tuple[int, int]:
        """Splits of the tokens, and tokens in each but the last."""
        batch, heads, _, tokens = self.sizes
        rows = max(1, batch * heads * self.groups)
        wanted = ceil_div(_BLOCKS_PER_PROCESSOR * processors(self.latent.device), rows)
        splits = max(1, min(wanted, ceil_div(tokens, _SPLIT_TOKENS)))
        step = ceil_div(ceil_div(tokens, splits), self.tile_tokens) * self.tile_tokens
        return ceil_div(tokens, step), step

    def inputs(self, plane: Tensor | None) -> list[Argument]:
        """INPUTS of sums.cuh."""
        c, z, p = self.condition, self.latent, plane
        _, heads, keypoints, tokens = self.sizes
        return [
            c,
            0 if c.shape[0] == 1 else c.stride(0),
            c.stride(1),
            z,
            z.stride(0),
            z.stride(1),
            p,
            *((0, 0, 0) if p is None else p.stride()),
            heads,
            keypoints,
            tokens,
            self.scale * _LOG2E,
        ]

    @property
    def kernels(self) -> Kernels:
        """The compiled kernels. Raises KernelError where they cannot be had."""
        return extension.load(self.variant, self.latent.device)

    def run(
        self,
        name: str,
        blocks: int,
        plane: Tensor | None,
        cut: tuple[int, int, int],
        *rest: Argument,
    ) -> None:
        """Launch one of the passes over the tokens; ``cut`` is groups, splits and tokens each."""
        arguments = [*self.inputs(plane), *cut, *rest]
        threads = 32 * self.variant.warps
        self.kernels.launch(name, blocks, threads, shared_bytes(self.variant), arguments)

    def run_small(self, name: str, blocks: int, threads: int, shared: int, *rest: Argument) -> None:
        """Launch one of the kernels that put partial results together."""
        self.kernels.launch(name, blocks, threads, shared, rest)

    def gradients(
        self, op: str, plane: Tensor, terms: list[Argument], *, condition: bool, latent: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients in condition and latent that are wanted, by ``<op>_gradients``."""
        batch, heads, keypoints, tokens = self.sizes
        splits, step = self.cut()
        tiles = ceil_div(tokens, self.tile_tokens)
        dz = (
            empty(*self.latent.shape, like=self.latent, dtype=self.latent.dtype) if latent else None
        )
        together = self.groups == 1
        if latent and not together:
            cut = (self.groups, tiles, self.tile_tokens)
            name, blocks = f"{op}_latent_gradient", batch * tiles * heads
            self.run(name, blocks, plane, cut, *terms, dz)
        if not condition and not (latent and together):
            return None, dz
        partial, dc = None, None
        if condition:
            partial = empty(batch, splits, heads, keypoints, self.depth, like=self.latent)
        blocks = batch * splits * self.groups * heads
        cut = (self.groups, splits, step)
        self.run(f"{op}_gradients", blocks, plane, cut, *terms, dz if together else None, partial)
        if condition:
            crops = self.condition.shape[0]
            dc = empty(
                crops, keypoints, heads * self.depth, like=self.latent, dtype=self.latent.dtype
            )
            parts, count = splits * (batch // crops), dc.numel()
            self.run_small(
                "sum_condition_gradient",
                ceil_div(count, 32),
                256,
                4 * 256,
                partial,
                parts,
                heads,
                keypoints,
                count,
                dc,
            )
        return dc, dz


def task(
    op: str, condition: Tensor, latent: Tensor, plane: Tensor | None, heads: int, scale: float
) -> Task:
    """Put a call together; the plane becomes float32 if it is something else."""
    vector = _aligned(condition) and _aligned(latent)
    depth = latent.shape[2] // heads
    variant = choose_variant(op, latent.dtype, depth, condition.shape[1], vector)
    plane = None if plane is None else plane.float()
    return Task(condition, latent, plane, heads, scale, variant)
