"""Probes of left and right: what they can and cannot read, and a run from adapter to table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import left_right
from benchmarks.left_right import Seen, shares
from genloc.data.zoo import write_zoo
from genloc.skeleton import AP10K
from tests.make_adapter import write_text_adapter

NAMES = AP10K.keypoints
NOSE, TAIL = NAMES.index("nose"), NAMES.index("root_of_tail")
PAWS = [NAMES.index("left_front_paw"), NAMES.index("right_front_paw")]


def seen(n: int, seed: int, hold: str) -> Seen:
    """Animals whose features hold the facing and the nearer side as numbers, or the left side outright."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.rand(n, generator=generator) < 0.5
    points = torch.full((n, len(NAMES), 2), 0.5)
    points[:, NOSE, 0] = torch.where(left, 0.1, 0.9)
    points[:, TAIL, 0] = torch.where(left, 0.9, 0.1)
    x = 0.1 * torch.randn(n, len(NAMES), 2, generator=generator)
    facing = torch.where(left, 1.0, -1.0)[:, None]
    nearer = facing * torch.tensor([1.0, -1.0])  # of the left paw, of the right paw
    x[:, PAWS, 0] += facing
    x[:, PAWS, 1] += nearer if hold == "nearer" else torch.tensor([1.0, -1.0])
    return Seen([x], points, torch.ones(n, len(NAMES), dtype=torch.bool))


def test_left_is_not_linear_in_facing_and_nearer() -> None:
    found = shares(seen(400, 0, "nearer"), seen(400, 1, "nearer"), NAMES, "front_paw", 0)
    assert found["facing"] == found["nearer"] == 1.0
    assert 0.4 < found["left"] < 0.6
    found = shares(seen(400, 0, "left"), seen(400, 1, "left"), NAMES, "front_paw", 0)
    assert found["left"] == found["facing"] == 1.0
    assert 0.4 < found["nearer"] < 0.6


def test_animals_without_one_of_the_partners_are_left_out() -> None:
    test = seen(10, 1, "left")
    test.labelled[:3, PAWS[1]] = False
    assert shares(seen(50, 0, "left"), test, NAMES, "front_paw", 0)["animals"] == 7


def test_an_adapter_is_probed_on_a_zoo(tmp_path: Path) -> None:
    write_zoo(zoo := tmp_path / "zoo", per_species=20, size=64, species=(1, 8), workers=1)
    adapter = str(write_text_adapter(tmp_path))
    left_right.main([adapter, str(zoo), "--out", str(tmp_path), "--animals", "30"])
    (text,), (content,) = tmp_path.glob("left_right_*.md"), tmp_path.glob("left_right_*.json")
    probes = json.loads(content.read_text())["probes"]
    assert {p["features"] for p in probes} == {"trained", "the prior as it is"}
    assert all(0 <= p[q] <= 1 for p in probes for q in ("facing", "nearer", "left"))
    assert len(probes) == 2 * len(left_right.PARTS) * len({p["grid"] for p in probes})
    assert text.read_text().count("| trained |") == len(probes) // 2
    with pytest.raises(ValueError, match="seen from the side"):
        left_right.main([adapter, str(zoo), "--out", str(tmp_path), "--animals", "0"])
