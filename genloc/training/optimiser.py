"""The paper's optimiser: Adam with one rate for conditions and one for LoRA; optional schedules."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["constant", "cosine", "steps"]
# At 170 and 200 of 210 epochs, to a tenth each: mmpose's recipes of SimplePose, HRNet and ViTPose.
STEPS = (170 / 210, 200 / 210)


def parameter_groups(
    model: nn.Module,
    condition: nn.Module | None,
    *,
    lr: float,
    lr_condition: float,
    lr_lora: float,
    lora_ratio: float = 1.0,
) -> list[dict]:
    """Trainable parameters with their rates: conditions, LoRA factors, and everything else.

    Args:
        lora_ratio: B, which starts at zero, learns at so many times the rate of A, `lr_lora` (LoRA+,
            https://arxiv.org/abs/2402.12354).

    Raises:
        ValueError: nothing is trainable, or a ratio that is not positive.
    """
    if not lora_ratio > 0:
        raise ValueError(f"lora_ratio is {lora_ratio}; expected a positive number, 1 for one rate")
    lora: list[tuple[str, nn.Parameter]] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".lora_" in name:
            lora.append((name, parameter))
        elif parameter.requires_grad:
            others.append(parameter)
    conditions: list[nn.Parameter] = []
    for name, parameter in () if condition is None else condition.named_parameters():
        if parameter.requires_grad and ".lora_" in name:  # a text encoder's learns at LoRA's rate
            lora.append((name, parameter))
        elif parameter.requires_grad:
            conditions.append(parameter)
    groups = [
        {"name": "condition", "params": conditions, "lr": lr_condition},
        *_lora_groups(lora, lr_lora, lora_ratio),
        {"name": "model", "params": others, "lr": lr},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError(
            "nothing is trainable: the model has neither LoRA nor other trainable parameters and there is no "
            "learned condition; set model.condition or model.model.init_args.lora"
        )
    return groups


def _lora_groups(lora: list[tuple[str, nn.Parameter]], lr: float, ratio: float) -> list[dict]:
    """One group, or A and B apart where their rates differ."""
    if ratio == 1:
        return [{"name": "lora", "params": [parameter for _, parameter in lora], "lr": lr}]
    b = [parameter for name, parameter in lora if ".lora_B." in name]
    a = [parameter for name, parameter in lora if ".lora_B." not in name]
    return [
        {"name": "lora A", "params": a, "lr": lr},
        {"name": "lora B", "params": b, "lr": lr * ratio},
    ]


def take_rates(
    optimizer: torch.optim.Optimizer, scheduler: LambdaLR | None, groups: list[dict]
) -> None:
    """Give a resumed optimiser the rates of `groups`: a checkpoint holds those of its own configuration."""
    for i, (held, own) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        held["lr"] = own["lr"]
        if scheduler is not None:
            scheduler.base_lrs[i] = held["initial_lr"] = own["lr"]
            held["lr"] *= scheduler.lr_lambdas[i](scheduler.last_epoch)


def described(groups: list[dict]) -> str:
    """What is trained at which rate, for people."""
    return ", ".join(
        f"{sum(p.numel() for p in group['params']):,} {group['name']} parameters at {group['lr']:g}"
        for group in groups
    )


def adam(groups: list[dict], weight_decay: float) -> torch.optim.Optimizer:
    """Adam, or AdamW when weights decay."""
    if weight_decay:
        return torch.optim.AdamW(groups, weight_decay=weight_decay)
    return torch.optim.Adam(groups)


def schedule(
    optimizer: torch.optim.Optimizer, kind: Schedule, *, warmup: int, steps: int | None
) -> LambdaLR | None:
    """Factor on every rate: linear warm-up over `warmup` steps, then as `kind` says.

    Args:
        optimizer: whose rates are scaled.
        kind: "constant"; "cosine", half a one down to 0; "steps", to a tenth at each of `STEPS` of the run.
        warmup: optimiser steps of warm-up; 0 for none.
        steps: optimiser steps of the whole run; None when it has no end.

    Raises:
        ValueError: cosine or steps without an end.
    """
    if kind == "constant" and not warmup:
        return None
    if kind != "constant" and steps is None:
        raise ValueError(
            f"model.schedule: {kind} needs an end, set trainer.max_epochs or trainer.max_steps"
        )

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if kind == "constant" or steps is None:
            return 1.0
        if kind == "steps":
            return 0.1 ** sum(step >= round(part * steps) for part in STEPS)
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return LambdaLR(optimizer, factor)
