"""Identify-then-detect on conditions alone, against the equation written out."""

from __future__ import annotations

import math

import pytest
import torch

from genloc.conditions.naming import Naming


def conditions(batch: int, count: int, seed: int) -> torch.Tensor:
    return torch.randn(batch, count, 8, generator=torch.Generator().manual_seed(seed))


def test_the_equation() -> None:
    visual, names = conditions(2, 3, 0), conditions(1, 4, 1)
    naming = Naming(gate=0.5, temperature=0.2)
    found, probability = naming(visual, names)
    for b in range(2):
        for m in range(3):
            v = visual[b, m].double()
            cosine = [float(v @ n.double() / v.norm() / n.double().norm()) for n in names[0]]
            weight = [math.exp(c / 0.2) for c in cosine]
            p = torch.tensor(weight) / sum(weight)
            torch.testing.assert_close(probability[b, m], p)
            added = sum(p[i] * names[0, i] for i in range(4))
            torch.testing.assert_close(found[b, m], visual[b, m] + 0.5 * added)
    same, _ = Naming(gate=0)(visual, names)
    assert torch.equal(same, visual)


def test_the_picture_s_own_answer_goes_before_similarity() -> None:
    visual, names = conditions(2, 3, 0), conditions(1, 4, 1)
    certain = torch.zeros(2, 3, 4)
    certain[..., 2] = 1
    found, probability = Naming()(visual, names, certain)
    assert torch.equal(probability, certain)
    torch.testing.assert_close(found, visual + names[:, 2:3])
    with pytest.raises(ValueError, match=r"expected \[B, 3, 4\]"):
        Naming()(visual, names, certain[..., :3])


def test_contrast_pulls_examples_to_their_names() -> None:
    visual = conditions(2, 3, 0).requires_grad_()
    names, index = conditions(1, 4, 1), torch.tensor([[0, 2, 3], [1, 1, 0]])
    visible = torch.tensor([[True, True, False], [True, False, True]])
    naming = Naming()
    optimiser = torch.optim.Adam([visual, *naming.parameters()], 0.05)
    first = naming.contrast(visual, names, index, visible)
    for _ in range(100):
        optimiser.zero_grad()
        loss = naming.contrast(visual, names, index, visible)
        loss.backward()
        assert visual.grad is not None and (visual.grad[~visible] == 0).all()
        optimiser.step()
    assert loss < 0.05 < first
    named = naming(visual, names)[1].argmax(-1)
    assert (named == index)[visible].all()
    assert naming.contrast(visual, names, index, torch.zeros_like(visible)) == 0


def test_what_is_no_condition() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, M, C\]"):
        Naming()(torch.zeros(2, 8), torch.zeros(1, 4, 8))
    with pytest.raises(ValueError, match="temperature=0"):
        Naming(temperature=0)
