"""Which devices the trainings of a table run on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.tables.devices import slots, use, used

FREE, BUSY = "3, 81559", "60000, 81559"


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says what nvidia-smi does; the file it says is returned."""
    said = tmp_path / "said"
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return said


def gpus(said: Path, *memory: str) -> None:
    said.write_text("".join(f"{i}, GPU-{i}abc-def, {m}\n" for i, m in enumerate(memory)))


def test_free_gpus_are_taken(smi: Path) -> None:
    gpus(smi, FREE, BUSY, FREE)
    assert slots(None, None, 4) == ["0", "2"]
    asked = (smi.parent / "asked").read_text()
    assert "--query-gpu=index,uuid,memory.used,memory.total --format=csv,noheader,nounits" in asked
    assert slots(None, 3, 4) == ["cpu"] * 3
    assert slots(["cpu"], None, 4) == ["cpu"] * 4
    assert slots(["1"], None, 4) == ["1"]  # asked for, whoever has it


def test_where_every_gpu_is_in_use_it_is_said(smi: Path) -> None:
    gpus(smi, BUSY, BUSY)
    with pytest.raises(
        ValueError, match=r"every GPU is in use: 0 \(74% of its memory\), 1 .* --devices 0 1"
    ):
        slots(None, None, 4)
    assert slots(None, 2, 4) == ["cpu", "cpu"]


@pytest.mark.parametrize(
    ("visible", "taken"),
    [
        ("2,3", ["2", "3"]),
        ("3", ["3"]),
        ("1,2", ["2"]),  # 1 is busy
        ("GPU-2abc", ["GPU-2abc"]),
        ("GPU-1abc-def,3", ["3"]),
        ("MIG-7f,0", ["MIG-7f", "0"]),
        ("0,-1,2", ["0"]),
        ("", ["cpu"] * 4),
        ("9", ["cpu"] * 4),  # a GPU that is not there
    ],
)
def test_what_a_scheduler_gives_is_kept_to(
    visible: str, taken: list[str], smi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(smi, FREE, BUSY, FREE, FREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert slots(None, None, 4) == taken


def test_devices_that_a_scheduler_did_not_give_are_refused(
    smi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(smi, FREE, FREE, FREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert slots(["2"], None, 4) == ["2"]
    with pytest.raises(ValueError, match="--devices: 0 is not among CUDA_VISIBLE_DEVICES=1,2"):
        slots(["0", "1"], None, 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    gpus(smi, FREE, BUSY, FREE)
    with pytest.raises(ValueError, match=r"every GPU is in use: 1 \(74%"):
        slots(None, None, 4)


def test_memory_that_is_not_said_counts_as_free(smi: Path) -> None:
    gpus(smi, "[N/A], [N/A]")
    assert used() == {"0": 0.0}


def test_without_a_driver_it_is_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slots(None, None, 2) == ["cpu", "cpu"]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert slots(None, None, 2) == ["cpu", "cpu"]


def test_a_process_sees_its_device_by_nvidia_smis_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    use("3")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    use("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
