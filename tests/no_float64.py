"""A device that has no float64, as Apple's GPUs have none, played on the CPU.

It goes by the name of torch's "meta" device. A tensor on it holds a CPU tensor, with which everything is
computed; whatever would put a float64 onto the device, or make one there, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

DEVICE = torch.device("meta")


class OnDevice(Tensor):
    """A tensor that says it is on the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        new = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        new.held = held
        return new

    def tolist(self) -> Any:
        return self.held.tolist()

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_index(index), value)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _index(index: Any) -> Any:
    """An index without lists: torch would copy those to the device where no mode sees it."""
    if isinstance(index, list):
        return torch.tensor(index).to(DEVICE)
    return tuple(map(_index, index)) if isinstance(index, tuple) else index


class _Device(TorchDispatchMode):
    """Catches what is made on the device, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    seen: list[OnDevice] = []
    tree_map_only(OnDevice, seen.append, (args, kwargs))
    real_args, real = tree_map_only(OnDevice, lambda t: t.held, (args, kwargs))
    asked = real.get("device")
    there = bool(seen) if asked is None else torch.device(asked) == DEVICE
    if asked is not None and there:
        real["device"] = torch.device("cpu")
    made = func(*real_args, **real)
    if not there:
        return made
    for tensor in _tensors(made):
        assert tensor.device != DEVICE, f"{func} was given a tensor that holds nothing"
        if tensor.dtype == torch.float64:
            raise TypeError(f"{func} makes a float64 {tuple(tensor.shape)} on a device without it")
    written = [a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]
    if written:  # in place, its first argument: what came in goes out
        return args[0]
    return tree_map_only(Tensor, OnDevice, made)


def _tensors(made: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, made)
    return found


def move(module: nn.Module) -> nn.Module:
    """Put a module's parameters and buffers onto the device, in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = nn.Parameter(OnDevice(parameter.data), parameter.requires_grad)
                part._parameters[name] = moved
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = OnDevice(buffer)
    return module


@contextmanager
def no_float64() -> Iterator[torch.device]:
    """The device, for as long as it is there."""
    plain = torch.tensor

    def tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        """`torch.tensor` would copy to the device where no mode sees it."""
        made = plain(data, **more)
        return made if device is None else made.to(device)

    with _Device(), patch.object(torch, "tensor", tensor):
        yield DEVICE
