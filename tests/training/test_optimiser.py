from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from torch import nn

from genloc.training.optimiser import described, parameter_groups, schedule

RATES = {"lr": 0.1, "lr_condition": 0.2, "lr_lora": 0.3}


class Condition(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(3))


def adapted() -> nn.Module:
    base = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    return get_peft_model(base, LoraConfig(r=2, target_modules=["0", "1"]))  # type: ignore[return-value]


def test_each_kind_has_its_rate() -> None:
    model, condition = adapted(), Condition()
    groups = parameter_groups(model, condition, **RATES)
    assert [(group["name"], group["lr"]) for group in groups] == [("condition", 0.2), ("lora", 0.3)]
    assert described(groups) == "3 condition parameters at 0.2, 28 lora parameters at 0.3"


def test_the_two_factors_have_the_rates_that_peft_gives_them() -> None:
    """LoRA+, as the library that brings LoRA has it."""
    model = adapted()
    ours = parameter_groups(model, None, **RATES, lora_ratio=16)
    theirs = create_loraplus_optimizer(model, torch.optim.Adam, lr=0.3, loraplus_lr_ratio=16)
    expected = {
        rate: {id(p) for g in theirs.param_groups if g["lr"] == rate for p in g["params"]}
        for rate in {g["lr"] for g in theirs.param_groups if g["params"]}
    }
    assert {group["lr"]: {id(p) for p in group["params"]} for group in ours} == expected


def test_what_cannot_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="lora_ratio is 0"):
        parameter_groups(adapted(), None, **RATES, lora_ratio=0)
    with pytest.raises(ValueError, match="nothing is trainable"):
        parameter_groups(nn.ReLU(), None, **RATES)


def test_steps_are_those_of_the_published_recipes() -> None:
    """Rates after each of 210 epochs, as torch's own scheduler with mmpose's milestones gives them."""
    ours, theirs = (torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=5e-4) for _ in range(2))
    mine = schedule(ours, "steps", warmup=0, steps=210)
    published = torch.optim.lr_scheduler.MultiStepLR(theirs, [170, 200], gamma=0.1)
    assert mine is not None
    for _ in range(210):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
        for optimizer, scheduler in ((ours, mine), (theirs, published)):
            optimizer.step()
            scheduler.step()
    with pytest.raises(ValueError, match=r"model\.schedule: steps needs an end"):
        schedule(ours, "steps", warmup=0, steps=None)
