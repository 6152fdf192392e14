"""Learned conditions: light until built, reproducible, and asked for in words if so wished."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genloc.conditions import LearnedCondition
from genloc.skeleton import AP10K, COCO


def test_the_constructor_makes_nothing() -> None:
    condition = LearnedCondition()
    assert list(condition.parameters()) == []
    with pytest.raises(RuntimeError, match=r"call build\(\) first"):
        condition()


def test_normal_vectors_from_the_given_generator() -> None:
    condition, again = LearnedCondition(), LearnedCondition()
    assert condition.build(AP10K, 768, generator=torch.Generator().manual_seed(1)) is condition
    again.build(AP10K, 768, generator=torch.Generator().manual_seed(1))
    values = condition()
    assert values.shape == (1, 17, 768)
    assert values.dtype == torch.float32
    assert torch.equal(values, again())
    assert not torch.equal(values, LearnedCondition().build(AP10K, 768)())
    # 13,056 draws of N(0, 1)
    assert sum(p.numel() for p in condition.parameters()) == 13_056
    assert abs(values.mean().item()) < 0.05
    assert abs(values.std().item() - 1) < 0.05


def test_text_asks_for_the_keypoints_in_words() -> None:
    asked: list[list[str]] = []
    embedding = torch.randn(17, 12, dtype=torch.float64, requires_grad=True)

    def text_embedding(phrases: list[str]) -> Tensor:
        asked.append(phrases)
        return embedding * 1

    condition = LearnedCondition("text").build(AP10K, 12, text_embedding)
    assert len(asked[0]) == 17
    assert asked[0][AP10K.index("left_front_paw")] == "left front paw"
    assert condition.weight is not None
    assert condition.weight.is_leaf
    torch.testing.assert_close(condition.weight.detach(), embedding.detach().float())


def test_it_is_trained_and_kept() -> None:
    condition = LearnedCondition().build(COCO, 8)
    condition().square().sum().backward()
    assert condition.weight is not None
    torch.testing.assert_close(condition.weight.grad, 2 * condition.weight.detach())
    other = LearnedCondition().build(COCO, 8)
    other.load_state_dict(condition.state_dict())
    assert torch.equal(other(), condition())


def test_building_again_keeps_the_weight_or_refuses() -> None:
    condition = LearnedCondition().build(COCO, 8)
    weight = condition.weight
    assert condition.build(COCO, 8).weight is weight
    with pytest.raises(ValueError, match=r"are \(17, 8\) already, asked for \(17, 9\)"):
        condition.build(COCO, 9)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match='init: expected "normal" or "text", got \'zeros\''):
        LearnedCondition("zeros")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"text_embedding: .*needs the prior's text encoder"):
        LearnedCondition("text").build(COCO, 8)
    with pytest.raises(ValueError, match=r"text_embedding: expected \(17, 8\).*got \(3, 8\)"):
        LearnedCondition("text").build(COCO, 8, lambda phrases: torch.zeros(3, 8))
