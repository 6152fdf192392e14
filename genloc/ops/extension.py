"""Compiles the kernels when they are first needed, keeps them on disk, and launches them.

NVRTC, CUDA's compiler as a library, comes with ``cuda-core`` from the package index and with torch
itself: no ``nvcc``, no build step, no C++ ABI. Importing this module looks for none of it.

A compiled kernel lies in ``$GENLOC_KERNEL_CACHE``, by default ``~/.cache/genloc/kernels``, under a
name made of its source, its options and the compiler's version.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

_OPS = Path(__file__).parent
_SHARED_SOURCES = ("intrinsics.cuh", "rows.cuh", "products.cuh", "sums.cuh", "gradients.cuh")
MAX_SHARED_BYTES = 48 * 1024  # what every device gives a block without being asked

Argument = Tensor | int | float | None
Result = TypeVar("Result")


class KernelError(RuntimeError):
    """A kernel could not be compiled or loaded; the message holds the compiler's log."""


@dataclass(frozen=True)
class Variant:
    """One compilation of an op's kernels.

    Attributes:
        op: the op's folder, such as ``"correlation_map"``.
        element: 0 for float32, 1 for bfloat16, 2 for float16.
        depth: channels per head.
        tiles: how many times 8 keypoints a block takes.
        warps: warps per block, 16 tokens each.
        vector: whether every row starts at a multiple of 16 bytes.
    """

    op: str
    element: int
    depth: int
    tiles: int
    warps: int
    vector: bool

    def defines(self) -> dict[str, int]:
        """What the source is compiled with, by name."""
        return {
            "ELEMENT": self.element,
            "DEPTH": self.depth,
            "TILES": self.tiles,
            "WARPS": self.warps,
            "VECTOR": int(self.vector),
        }


class Kernels(Protocol):
    """The compiled kernels of a variant."""

    def launch(
        self, name: str, blocks: int, threads: int, shared: int, arguments: Sequence[Argument]
    ) -> None:
        """Start kernel ``name``; a None among the arguments is a null pointer."""


def source_files(op: str) -> list[Path]:
    """The files whose texts, one after the other, are the source of an op's kernels."""
    return [_OPS / name for name in _SHARED_SOURCES] + [_OPS / op / "kernel.cu"]


def read_source(op: str) -> str:
    """The source of an op's kernels."""
    return "".join(f'#line 1 "{p.name}"\n{p.read_text("utf-8")}' for p in source_files(op))


def compile_kernels(variant: Variant, architecture: str, log: Any = None) -> bytes:
    """Compile a variant for an architecture such as ``"sm_90"``; needs no GPU.

    Args:
        variant: what to compile.
        architecture: real architecture, ``"sm_"`` and the compute capability.
        log: a text stream for what the assembler says of registers and spills, or None.

    Returns:
        The machine code, a cubin.

    Raises:
        KernelError: NVRTC is absent or does not compile the source; with its log.
    """
    try:
        from cuda.core import Program, ProgramOptions

        options = ProgramOptions(
            arch=architecture,
            std="c++17",
            define_macro=[(name, str(value)) for name, value in variant.defines().items()],
            ptxas_options=None if log is None else ["-v"],
        )
        program = Program(read_source(variant.op), "c++", options)
        return bytes(program.compile("cubin", logs=log).code)
    except Exception as error:
        raise KernelError(f"{variant} for {architecture} does not compile: {error}") from error


def _compiler_version() -> str:
    from cuda.bindings import nvrtc

    _, major, minor = nvrtc.nvrtcVersion()
    return f"{major}.{minor}"


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    if given := os.environ.get("GENLOC_KERNEL_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genloc" / "kernels"


def cached_kernels(variant: Variant, architecture: str) -> bytes:
    """As :func:`compile_kernels`, from the disk where it has been done before.

    A cache that cannot be read or written costs time and nothing else.
    """
    try:
        version = _compiler_version()
    except Exception as error:
        raise KernelError(f"NVRTC, the compiler of CUDA kernels, does not load: {error}") from error
    key = (read_source(variant.op), sorted(variant.defines().items()), architecture, version)
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    path = cache_folder() / f"{variant.op}-{architecture}-{name}.cubin"
    try:
        return path.read_bytes()
    except OSError:
        pass
    code = compile_kernels(variant, architecture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        os.replace(file.name, path)  # whole or not at all, whoever else is writing
    except OSError:
        pass
    return code


_LEGACY_STREAM = 1  # CUDA's name for the stream that torch calls 0
_current = threading.local()


def _make_current(device: torch.device) -> None:
    """Driver calls need the context that torch's runtime calls share, in every thread."""
    if getattr(_current, "device", None) != device:
        from cuda.core import Device

        Device(device.index).set_current()
        _current.device = device


class _DeviceKernels:
    def __init__(self, variant: Variant, device: torch.device) -> None:
        from cuda.core import ObjectCode

        major, minor = torch.cuda.get_device_capability(device)
        code = cached_kernels(variant, f"sm_{major}{minor}")
        self._device = device
        self._code = ObjectCode.from_cubin(code)
        self._kernels: dict[str, Any] = {}
        with torch.cuda.device(device):
            _make_current(device)
            self._kernel("sum_condition_gradient")  # loading fails here or not at all

    def _kernel(self, name: str) -> Any:
        if name not in self._kernels:
            self._kernels[name] = self._code.get_kernel(name)
        return self._kernels[name]

    def launch(
        self, name: str, blocks: int, threads: int, shared: int, arguments: Sequence[Argument]
    ) -> None:
        from cuda.core import LaunchConfig, Stream, launch

        with torch.cuda.device(self._device):
            _make_current(self._device)
            handle = torch.cuda.current_stream().cuda_stream or _LEGACY_STREAM
            config = LaunchConfig(grid=blocks, block=threads, shmem_size=shared)
            stream = Stream.from_handle(handle)
            launch(stream, config, self._kernel(name), *map(_native, arguments))


def _native(argument: Argument) -> int | ctypes.c_float:
    """As cuda.core takes it: a Python int is 8 bytes to it, which addresses and sizes are."""
    if argument is None:
        return 0
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return argument


@functools.cache
def load(variant: Variant, device: torch.device) -> Kernels:
    """The kernels of a variant, ready to be launched on ``device``.

    Raises:
        KernelError: they do not compile or load; with the log. A second call tries again.
    """
    try:
        return _DeviceKernels(variant, device)
    except KernelError:
        raise
    except Exception as error:
        raise KernelError(f"{variant} does not load on {device}: {error}") from error


_failures: dict[str, str] = {}


def failure(op: str) -> str | None:
    """Why the kernels of an op are given up in this process, or None."""
    return _failures.get(op)


def give_up(op: str, error: KernelError) -> None:
    """Say once, with the log, that torch takes over for an op, and remember it."""
    if op not in _failures:
        _failures[op] = str(error)
        warnings.warn(f"{op}: torch takes over from the CUDA kernel. {error}", stacklevel=2)


def kernel_or_torch(
    op: str, kernel: Callable[..., Result], fallback: Callable[..., Result], *arguments: Any
) -> Result:
    """``kernel(*arguments)``, or the same by torch where the kernels of ``op`` are given up."""
    if failure(op) is None:
        try:
            return kernel(*arguments)
        except KernelError as error:
            give_up(op, error)
    return fallback(*arguments)


def is_installed() -> bool:
    """Whether ``cuda.core`` can be imported, without importing it."""
    try:
        return importlib.util.find_spec("cuda.core") is not None
    except ModuleNotFoundError:
        return False
