"""Time, memory and bandwidth, on a GPU or on a CPU. Needs torch alone."""

from __future__ import annotations

import ctypes
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def memory_in_use(field: str = "VmRSS", process: int | str = "self") -> int:
    """Bytes of a process in memory, now (VmRSS) or at most (VmHWM); Linux.

    Raises:
        OSError, StopIteration: the system does not say, or the process has ended.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(x.split()[1]) * 1024 for x in lines if x.startswith(field))


def peak_memory(work: Callable[[], object], device: str) -> float:
    """Most bytes used beyond what was in use before; NaN where nothing tells."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    try:
        # Blocks of 64 KiB and more come from the system and go back to it while this is measured,
        # so that what an earlier form has left behind does not hide what this one takes.
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 2**16)  # M_MMAP_THRESHOLD
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # starts VmHWM anew
        before = memory_in_use()
        work()
        return memory_in_use("VmHWM") - before
    except (OSError, AttributeError, StopIteration):
        return float("nan")
    finally:
        if sys.platform == "linux":
            libc.mallopt(-3, 2**25)


def seconds(work: Callable[[], object], device: str) -> float:
    """On a GPU the time between two events, on a CPU the time that this process ran."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.process_time()
    work()
    return time.process_time() - begin


def copy_bandwidth(device: str) -> float:
    """Bytes per second of a large copy, counting what is read and what is written."""
    size = 2**30 if device == "cuda" else 2**27
    a = torch.randn(size // 4, device=device)
    b = torch.empty_like(a)
    b.copy_(a)
    return 2 * size / statistics.median(seconds(lambda: b.copy_(a), device) for _ in range(7))


def hardware(device: str) -> str:
    """The device in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        text = Path("/proc/cpuinfo").read_text()
        return next(x.split(":")[1].strip() for x in text.splitlines() if "model name" in x)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def slug(device: str) -> str:
    """The device for file names."""
    words = "".join(x if x.isalnum() else " " for x in hardware(device).lower())
    return "-".join(words.split())
