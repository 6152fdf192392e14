"""Compiling without a GPU, the cache on disk, and what happens when compiling fails."""

from __future__ import annotations

import functools
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genloc.ops import arguments, extension, heatmap_log_expectation
from genloc.ops.correlation_map.cuda import OP as MAP
from genloc.ops.extension import MAX_SHARED_BYTES, KernelError, Variant
from genloc.ops.heatmap_log_expectation import cuda
from genloc.ops.heatmap_log_expectation.cuda import OP as EXPECTATION
from genloc.ops.launches import ELEMENTS, choose_variant, shared_bytes, task

ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
# What Stable Diffusion 1.5 asks for, and the corners.
SD15 = [choose_variant("", torch.bfloat16, depth, 17, True) for depth in (40, 80, 160)]
CORNERS = [
    choose_variant("", torch.float32, 40, 17, True),
    choose_variant("", torch.float32, 160, 17, True),
    choose_variant("", torch.float16, 40, 133, True),
    choose_variant("", torch.bfloat16, 40, 17, False),
    choose_variant("", torch.float32, 256, 256, True),
    choose_variant("", torch.bfloat16, 256, 256, True),
    choose_variant("", torch.float32, 8, 1, False),
]


@functools.cache
def nvrtc_missing() -> str | None:
    """Why nothing can be compiled here, or None."""
    try:
        extension._compiler_version()
        import cuda.core  # noqa: F401
    except Exception as error:
        return f"NVRTC is not here ({error}); pip install cuda-core[cu12] or [cu13]"
    return None


@pytest.fixture
def nvrtc() -> None:
    if reason := nvrtc_missing():
        pytest.skip(reason)


def resources(log: str) -> dict[str, tuple[int, int, int]]:
    """Registers, bytes of shared memory and bytes spilled of every kernel in an assembler's log."""
    found = {}
    for part in log.split("Compiling entry function ")[1:]:
        name = part.split("'")[1]
        spills = sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", part)))
        (registers,) = re.findall(r"Used (\d+) registers", part)
        shared = re.findall(r"(\d+) bytes smem", part)
        found[name] = int(registers), int(shared[0]) if shared else 0, spills
    return found


def compiles(op: str, variant: Variant, architecture: str, record: object) -> None:
    from cuda.bindings import nvrtc

    _, known = nvrtc.nvrtcGetSupportedArchs()
    if int(architecture[3:]) not in known:
        pytest.skip(f"NVRTC {extension._compiler_version()} does not know {architecture}")
    log = io.StringIO()
    variant = replace(variant, op=op)
    code = extension.compile_kernels(variant, architecture, log)
    assert code[:4] == b"\x7fELF"
    found = resources(log.getvalue())
    assert len(found) >= 5, log.getvalue()
    dynamic = shared_bytes(variant)
    for name, (registers, shared, spills) in found.items():
        record(  # type: ignore[operator]
            f"{name} {architecture} {variant.defines()}",
            f"{registers} registers, {shared + dynamic} bytes of shared memory, {spills} spilled",
        )
        print(f"{architecture} {name}: {registers} registers, {dynamic} shared, {spills} spilled")
        assert spills == 0, f"{name} spills {spills} bytes for {architecture}, {variant}"
        assert shared + dynamic <= MAX_SHARED_BYTES


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("op", [EXPECTATION, MAP])
def test_every_kernel_compiles_for_every_architecture_without_spilling(
    op: str, architecture: str, record_property: object
) -> None:
    compiles(op, SD15[0], architecture, record_property)


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("variant", SD15[1:] + CORNERS, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("op", [EXPECTATION, MAP])
def test_all_other_variants_compile_without_spilling(
    op: str, architecture: str, variant: Variant, record_property: object
) -> None:
    compiles(op, variant, architecture, record_property)


def test_shared_memory_is_what_every_device_gives_unasked() -> None:
    for dtype in ELEMENTS:
        for depth in range(8, 257, 8):
            for keypoints in (1, 8, 9, 17, 24, 25, 32, 33, 133, 256):
                variant = choose_variant(MAP, dtype, depth, keypoints, True)
                assert shared_bytes(variant) <= MAX_SHARED_BYTES
                assert 1 <= variant.tiles <= 4


@pytest.mark.parametrize("tokens", [1, 15, 16, 63, 64, 65, 256, 4095, 4096])
@pytest.mark.parametrize("batch", [1, 2, 64])
def test_the_splits_cover_every_token_once(tokens: int, batch: int) -> None:
    c, z = torch.zeros(1, 17, 320), torch.zeros(1, 1, 320).expand(batch, tokens, 320)
    made = task(MAP, c, z, None, 8, 1.0)
    splits, step = made.cut()
    assert step % made.tile_tokens == 0
    assert (splits - 1) * step < tokens <= splits * step


def test_importing_compiles_and_probes_nothing() -> None:
    program = (
        "import sys, torch; before = set(sys.modules); import genloc.ops; "  # torch has its own
        "bad = [m for m in set(sys.modules) - before if m.startswith('cuda')]; "
        "assert not bad, bad; assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("nvrtc")
def test_cuda_core_takes_every_kind_of_argument() -> None:
    import ctypes

    from cuda.core._kernel_arg_handler import ParamHolder

    x = torch.zeros(3)
    native = [extension._native(a) for a in (None, x, 2**40, -1, 1.5)]
    holder = ParamHolder(tuple(native))
    places = ctypes.cast(holder.ptr, ctypes.POINTER(ctypes.c_void_p))
    words = [ctypes.cast(places[i], ctypes.POINTER(ctypes.c_int64))[0] for i in range(4)]
    assert words == [0, x.data_ptr(), 2**40, -1]
    assert ctypes.cast(places[4], ctypes.POINTER(ctypes.c_float))[0] == 1.5


VARIANT = Variant(EXPECTATION, 1, 8, 1, 1, True)


@pytest.mark.usefixtures("nvrtc")
def test_the_cache_is_used_and_keyed_by_source_options_and_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLOC_KERNEL_CACHE", str(tmp_path / "kernels"))
    code = extension.cached_kernels(VARIANT, "sm_90")
    (file,) = (tmp_path / "kernels").iterdir()
    assert file.read_bytes() == code
    compiled: list[Variant] = []

    def compile_again(variant: Variant, architecture: str, log: object = None) -> bytes:
        compiled.append(variant)
        return b"new"

    monkeypatch.setattr(extension, "compile_kernels", compile_again)
    assert extension.cached_kernels(VARIANT, "sm_90") == code
    assert not compiled
    extension.cached_kernels(VARIANT, "sm_80")
    extension.cached_kernels(replace(VARIANT, warps=2), "sm_90")
    source = extension.read_source(EXPECTATION)
    monkeypatch.setattr(extension, "read_source", lambda op: source + "// changed")
    extension.cached_kernels(VARIANT, "sm_90")
    monkeypatch.setattr(extension, "_compiler_version", lambda: "another")
    extension.cached_kernels(VARIANT, "sm_90")
    assert len(compiled) == 4
    assert len(list((tmp_path / "kernels").iterdir())) == 5


@pytest.mark.usefixtures("nvrtc")
def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENLOC_KERNEL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(extension, "compile_kernels", lambda *arguments: b"code")
    assert extension.cached_kernels(VARIANT, "sm_90") == b"code"


@pytest.mark.usefixtures("nvrtc")
def test_a_broken_source_gives_the_compilers_log(monkeypatch: pytest.MonkeyPatch) -> None:
    source = extension.read_source(EXPECTATION)
    monkeypatch.setattr(extension, "read_source", lambda op: source + "\nnot a declaration;")
    with pytest.raises(KernelError, match=r"(?s)does not compile.*not a declaration"):
        extension.compile_kernels(VARIANT, "sm_90")


def test_after_a_failed_compilation_torch_takes_over_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def broken(variant: Variant, device: torch.device) -> None:
        raise KernelError("the log of the compiler")

    monkeypatch.setattr(extension, "load", broken)
    monkeypatch.setattr(extension, "_failures", {})
    c, z, t = torch.randn(1, 3, 16), torch.randn(2, 9, 16), -torch.rand(2, 3, 9)
    expected = cuda.torch_forward(c, z, t, 2, 0.3)
    for _ in range(2):
        got = cuda._forward_on_cuda(c, z, t, 2, 0.3)
        torch.testing.assert_close(got, expected)
        gradients = cuda._backward_on_cuda(
            torch.ones(2, 3), c, z, t, got[1], 2, 0.3, [True, True, True]
        )
        assert [g.shape for g in gradients] == [c.shape, z.shape, t.shape]
    warned = [str(w.message) for w in recwarn if "torch takes over" in str(w.message)]
    assert len(warned) == 1
    assert "the log of the compiler" in warned[0]

    # From now on the choice knows it.
    monkeypatch.setattr(arguments, "KERNEL_DEVICE", "cpu")
    monkeypatch.setattr(extension, "is_installed", lambda: True)
    assert not arguments.takes_kernel("auto", EXPECTATION, c, z, 2)
    with pytest.raises(RuntimeError, match=r"given up: .*the log of the compiler"):
        heatmap_log_expectation(c, z, t, heads=2, implementation="cuda")


def test_every_reason_for_a_refusal_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "is_installed", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    c = torch.zeros(1, 300, 20, dtype=torch.float64)
    z = torch.zeros(20, 6, 2, dtype=torch.float64).transpose(0, 2)
    with pytest.raises(RuntimeError) as caught:
        heatmap_log_expectation(c, z, torch.zeros(2, 300, 6), heads=2, implementation="cuda")
    for reason in (
        "latent is on cpu",
        "torch.float64",
        "10 channels",
        "300 keypoints",
        "last axis of latent is not contiguous",
        "cuda-core is not installed",
        "torch finds no CUDA device",
    ):
        assert reason in str(caught.value), reason
