"""Compile the kernels with g++ against emulator.h, and launch them on tensors of the CPU."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from genloc.ops import extension
from genloc.ops.extension import Argument, Variant

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
_KERNEL = re.compile(r'extern "C" __global__ void\s+__launch_bounds__\([^)]*\)\s+(\w+)\(')
_LAUNCHER = """
alignas(16) unsigned char shared_bytes[emulator::SHARED + emulator::GUARD];
extern "C" const char* launch(const char* name, long long blocks, int threads, int shared,
                              unsigned long long seed, const uint64_t* arguments, int count) {
    emulator::arguments = arguments;
    %s
    return "no such kernel";
}
"""
_CASE = """if (!std::strcmp(name, "{0}"))
        return count != emulator::Kernel<{0}>::COUNT
            ? "wrong number of arguments"
            : emulator::launch(emulator::Kernel<{0}>::body, blocks, threads, shared, seed);
    """

Mutation = Callable[[str], str]


class EmulatedKernels:
    """A variant's kernels, played on the CPU; every launch draws another order of the warps."""

    def __init__(self, library: ctypes.CDLL, seed: int = 0) -> None:
        self._launch = library.launch
        self._launch.restype = ctypes.c_char_p
        self.seed = seed
        self.launched: list[str] = []

    def launch(
        self, name: str, blocks: int, threads: int, shared: int, arguments: Sequence[Argument]
    ) -> None:
        words = (ctypes.c_uint64 * len(arguments))(*map(_word, arguments))
        self.seed += 1
        self.launched.append(name)
        message = self._launch(
            name.encode(),
            ctypes.c_longlong(blocks),
            threads,
            shared,
            ctypes.c_ulonglong(self.seed),
            words,
            len(arguments),
        )
        if message:
            raise RuntimeError(f"{name}: {message.decode()}")


def _word(argument: Argument) -> int:
    if argument is None:
        return 0
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    if isinstance(argument, float):
        return struct.unpack("<I", struct.pack("<f", argument))[0]
    return argument % 2**64


def emulated_source(op: str, mutation: Mutation | None = None) -> str:
    """The text that g++ is given: emulator.h in the place of intrinsics.cuh."""
    parts = [p.read_text("utf-8") for p in extension.source_files(op) if p.stem != "intrinsics"]
    kernels = "".join(parts)
    if mutation is not None:
        changed = mutation(kernels)
        assert changed != kernels, "the mutation finds nothing to change"
        kernels = changed
    cases = "".join(_CASE.format(name) for name in _KERNEL.findall(kernels))
    header = (HERE / "emulator.h").read_text("utf-8")
    return header + kernels + _LAUNCHER % cases


def _cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"genloc-emulated-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@functools.cache
def build(variant: Variant, mutation: Mutation | None = None) -> Path:
    """The shared library of a variant; compiled once per text and compiler."""
    assert COMPILER is not None
    source = emulated_source(variant.op, mutation)
    options = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fno-strict-aliasing"]
    options += ["-U_FORTIFY_SOURCE", "-ffp-contract=off"]  # longjmp changes stacks here
    options += [f"-D{name}={value}" for name, value in variant.defines().items()]
    key = hashlib.sha256(repr((source, options)).encode()).hexdigest()[:24]
    library = _cache() / f"{variant.op}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as folder:
            text, made = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
            text.write_text(source, "utf-8")
            result = subprocess.run(
                [COMPILER, *options, str(text), "-o", str(made)], capture_output=True, text=True
            )
            if result.returncode:
                raise RuntimeError(f"g++ refuses {variant}:\n{result.stderr[:4000]}")
            made.replace(library)
    return library


@functools.cache
def load(variant: Variant, device: torch.device) -> EmulatedKernels:
    """In the place of :func:`genloc.ops.extension.load`."""
    return EmulatedKernels(ctypes.CDLL(str(build(variant))))


def load_mutated(mutation: Mutation) -> Callable[[Variant, torch.device], EmulatedKernels]:
    """As :func:`load`, with an error put into the source."""

    def loader(variant: Variant, device: torch.device) -> EmulatedKernels:
        return EmulatedKernels(ctypes.CDLL(str(build(variant, mutation))))

    return loader
