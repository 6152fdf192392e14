"""The guards that the other tests rely on."""

from __future__ import annotations

import random
import socket
import threading

import numpy as np
import pytest


def test_looking_up_another_machine_fails() -> None:
    with pytest.raises(RuntimeError, match=r"looked up 'example\.org'"):
        socket.create_connection(("example.org", 443), timeout=1)


def test_connecting_to_another_machine_fails() -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"connected to 192\.0\.2\.1"):
        client.connect(("192.0.2.1", 443))  # an address reserved for documentation


def test_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].close())
        answer.start()
        with socket.create_connection(server.getsockname(), timeout=5) as client:
            assert client.recv(1) == b""
        answer.join(timeout=5)


_draws: list[tuple[float, ...]] = []


@pytest.mark.parametrize("time", [1, 2])
def test_every_test_draws_the_same_numbers(time: int) -> None:
    import torch

    if time == 1:  # torch may have come after this test's seeds were set
        torch.manual_seed(0)
    _draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002
    assert len(set(_draws)) == 1
    assert torch.get_num_threads() == 1
