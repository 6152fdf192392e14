"""Which devices the trainings run on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

IN_USE = 0.05  # part of a GPU's memory from which on it counts as somebody's


def slots(devices: Sequence[str] | None, processes: int | None, cores: int) -> list[str]:
    """One name for each process at once: "cpu", or a CUDA device as `CUDA_VISIBLE_DEVICES` names it.

    Args:
        devices: asked for; `cpu` for none; None for all that are free.
        processes: at once on the CPU; None for one for each core.
        cores: of this machine.

    Raises:
        ValueError: every GPU is in use, or a device is not among `CUDA_VISIBLE_DEVICES`.
    """
    if devices == ["cpu"] or (not devices and processes):
        return ["cpu"] * max(1, processes or cores)
    if devices:
        allowed = _allowed()
        others = [n for n in devices if allowed is not None and n not in ("cpu", *allowed)]
        if others:
            raise ValueError(
                f"--devices: {', '.join(others)} is not among CUDA_VISIBLE_DEVICES={','.join(allowed or ())}; "
                "name those"
            )
        return list(devices)
    found = used()
    free = [name for name, part in found.items() if part < IN_USE]
    if found and not free:
        said = ", ".join(f"{name} ({part:.0%} of its memory)" for name, part in found.items())
        raise ValueError(
            f"every GPU is in use: {said}. Wait, take some all the same with --devices {' '.join(found)}, or take "
            "the CPU with --devices cpu"
        )
    return free or ["cpu"] * max(1, cores)


def used() -> dict[str, float]:
    """CUDA device -> the part of its memory that is in use; none where there is no driver.

    Those of `CUDA_VISIBLE_DEVICES` alone where it is set, as it names them: by nvidia-smi's index, by UUID or its
    beginning. Others in it, such as a part of a GPU (MIG), nvidia-smi does not list by itself: they count as free.
    """
    query = "--query-gpu=index,uuid,memory.used,memory.total"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return {}
    if said.returncode:
        return {}
    rows = [line.split(", ") for line in said.stdout.splitlines() if line.count(",") == 3]
    there = {i.strip(): (uuid.strip(), _part(used, total)) for i, uuid, used, total in rows}
    if (allowed := _allowed()) is None:
        return {index: part for index, (_, part) in there.items()}
    found = {}
    for name in allowed:
        parts = [p for i, (u, p) in there.items() if name == i or u.startswith(name)]
        if parts or not name.isdecimal():
            found[name] = parts[0] if parts else 0.0
    return found


def use(device: str) -> None:
    """Let this process, before it has started CUDA, see one device alone.

    Args:
        device: of `slots`; its index is nvidia-smi's, which orders by the bus and not by speed.
    """
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else device


def _allowed() -> list[str] | None:
    """What a scheduler or a person has said; None where nobody has."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return None
    names = [name.strip() for name in said.split(",")]
    if "-1" in names:  # CUDA looks no further
        names = names[: names.index("-1")]
    return [name for name in names if name]


def _part(used: str, total: str) -> float:
    """Numbers may be missing, as `[N/A]` where memory is the machine's own: then it counts as free."""
    try:
        return float(used) / float(total)
    except (ValueError, ZeroDivisionError):
        return 0.0
