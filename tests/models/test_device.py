from __future__ import annotations

import pytest
import torch

from genloc.models.device import usable_device


def test_auto_is_what_there_is() -> None:
    assert usable_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("device", ["foo", "", "cuda:x", "CPU", "cuda:99", "meta", "vulkan"])
def test_a_device_that_cannot_be_used_is_named_in_a_line(device: str) -> None:
    with pytest.raises(ValueError, match=f"^device='{device}'[^\n]*$"):
        usable_device(device)
