"""Whole steps of one model, each saving switched on after the other: what a case is and what it takes.

Used by training_step.py and inference.py. A case runs in a process of its own, so that its memory is
given back.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.naive import Naive
from benchmarks.ops.measure import peak_memory, seconds
from genloc.codecs.heatmap import gaussian_target
from genloc.models import GenLoc, LoRA, Prior
from genloc.models.attention import Reading
from genloc.models.lora import lora_parameters
from genloc.models.weights import ASSETS

KEYPOINTS = 17


@dataclass(frozen=True)
class Case:
    """One row of a table. `gpu` rows make no sense, or cannot run, on a CPU."""

    name: str
    naive: bool = False
    dtype: Literal["fp32", "bf16"] = "fp32"
    context: Literal["conditions", "null"] = "conditions"
    attention: Literal["sdpa", "xformers"] = "sdpa"
    early_stop: bool = True
    fused: bool = True
    channels_last: bool = False
    compiled: bool = False
    kept: Literal["", "latents", "outputs"] = ""
    checkpointing: bool = False
    gpu: bool = False


@dataclass(frozen=True)
class Setting:
    """What all cases of a table share."""

    prior: str  # a folder, or "tiny"
    size: int
    batch: int
    device: str = "cpu"
    train: bool = True
    repeats: int = 3


def in_turn(cases: Sequence[Case], device: str) -> list[Case]:
    """On a GPU in bf16, after a first case in fp32, which says what that is worth."""
    if device == "cpu":
        return list(cases)
    first = replace(cases[0], name=f"{cases[0].name}, fp32")
    return [first, *(replace(case, dtype="bf16") for case in cases)]


def write_random(folder: Path) -> None:
    """A diffusers folder of SD 1.5's architecture with random weights, in half precision."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    for model, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae")):
        config = model.load_config(str(ASSETS / "sd15"), subfolder=part)
        model.from_config(config).half().save_pretrained(folder / part, variant="fp16")
    text = CLIPTextConfig.from_pretrained(ASSETS / "sd15" / "text_encoder")
    CLIPTextModel(text).half().save_pretrained(folder / "text_encoder", variant="fp16")
    (folder / "scheduler").mkdir()
    schedule = (ASSETS / "sd15" / "scheduler" / "scheduler_config.json").read_text()
    (folder / "scheduler" / "scheduler_config.json").write_text(schedule)


class Runner:
    """A case, loaded. `step()` is one training step, or one batch located."""

    def __init__(self, case: Case, setting: Setting) -> None:
        torch.manual_seed(0)
        self.case, self.setting = case, setting
        device, size = setting.device, setting.size
        prior = Prior(setting.prior, dtype=case.dtype, attention=case.attention)
        self.model = GenLoc(
            prior, context=case.context, lora=LoRA(), gradient_checkpointing=case.checkpointing
        ).load()
        for name, parameter in lora_parameters(prior.unet):
            if ".lora_B." in name:  # at 0 half of the gradients would be 0
                nn.init.normal_(parameter, std=0.02)
        self.model.to(device)
        if case.channels_last:
            prior.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.naive = Naive(self.model) if case.naive else None
        self.condition = torch.randn(1, KEYPOINTS, prior.condition_channels).to(device)
        self.condition.requires_grad_(setting.train)
        self.image = (torch.rand(setting.batch, 3, size, size) * 2 - 1).to(device)
        self.h, self.w = self.model.map_size(self.image)
        self.sigma = 2 * self.h / 64
        self.points = torch.rand(setting.batch, KEYPOINTS, 2).to(device) * self.h
        self.given: dict[str, Any] = {"image": self.image}
        if case.kept:
            latent = self.model.encode(self.image)
            self.given = {"image": None, "latent": latent}
            if case.kept == "outputs":
                self.given["front"] = self.model.front(latent)
        self.learning = [p for p in self.model.parameters() if p.requires_grad]
        groups = [{"params": [self.condition], "lr": 1e-2}, {"params": self.learning, "lr": 1e-3}]
        self.optimiser = torch.optim.Adam(groups) if setting.train else None
        self.value: Callable[[], Tensor] = self._loss if setting.train else self._maps
        if case.compiled:
            self.value = torch.compile(self.value, dynamic=False)

    @property
    def disk(self) -> int:
        """Bytes that are kept on disk for each crop."""
        kept = [x for name, x in self.given.items() if name != "image"]
        flat = [y for x in kept for y in (x if isinstance(x, list) else [x])]
        return sum(x.nbytes for x in flat) // self.setting.batch

    def _maps(self) -> Tensor:
        if self.naive is not None:
            return self.naive.maps(self.image, self.condition)
        if self.case.early_stop:
            return self.model(condition=self.condition, **self.given)
        return self._maps_to_the_end()

    def _maps_to_the_end(self) -> Tensor:
        """As `GenLoc.forward`, but the U-Net goes on after the last map."""
        with patch("genloc.models.genloc.walk", whole_unet):
            return self.model(condition=self.condition, **self.given)

    def _loss(self) -> Tensor:
        if self.case.fused and self.naive is None:
            found = self.model.log_expectation(
                condition=self.condition, points=self.points, sigma=self.sigma, **self.given
            )
            return -found.mean()
        target = gaussian_target(self.points, (self.h, self.w), self.sigma)
        return -(self._maps() * target).sum((-2, -1)).log().mean()

    def step(self) -> Tensor:
        if self.optimiser is None:
            with torch.no_grad():
                return self.value()
        self.optimiser.zero_grad()
        loss = self.value()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def measure(self) -> dict[str, float]:
        """Seconds, bytes beyond what was loaded, TFLOP and bytes on disk of one step."""
        device = self.setting.device
        with FlopCounterMode(display=False) as counter:  # and the step that is not timed
            if not self.case.compiled:
                self.step()
        if not torch.isfinite(self.step()).all():
            raise RuntimeError(f"{self.case.name}: the result is not finite")
        memory = peak_memory(self.step, device)
        times = [seconds(self.step, device) for _ in range(self.setting.repeats)]
        return {
            "seconds": statistics.median(times),
            "memory": memory,
            "tflop": counter.get_total_flops() / 1e12,
            "disk": self.disk,
        }


def whole_unet(
    unet: Any, latent: Tensor, timestep: int, context: Tensor, reading: Reading, _: None
) -> None:
    """In the place of `walk`: diffusers' own forward, to the end."""
    dtype = unet.conv_in.weight.dtype
    reading.last = None
    unet(
        latent.to(dtype),
        timestep,
        context.to(dtype),
        cross_attention_kwargs={"reading": reading},
        return_dict=False,
    )


def check(cases: Sequence[Case], train: bool, device: str) -> None:
    """Every case gives what the naive way gives, with the tiny prior in fp32.

    Raises:
        RuntimeError: one does not; names it.
    """
    setting = Setting("tiny", 128, 2, device=device, train=train)
    truth: dict[str, list[Tensor]] = {}
    for case in cases:
        if case.context not in truth:
            truth[case.context] = results(Case("naive", naive=True, context=case.context), setting)
        got = results(replace(case, dtype="fp32"), setting)
        for name, mine, true in zip(
            ("value", "condition's gradient", "LoRA's gradient"),
            got,
            truth[case.context],
            strict=False,
        ):
            error = float((mine - true).norm() / true.norm())
            if not error < 1e-3:
                raise RuntimeError(
                    f"{case.name}: {name} is off by {error:.1e}; nothing is reported"
                )


def results(case: Case, setting: Setting) -> list[Tensor]:
    """Value and, in training, gradients of a case."""
    runner = Runner(case, setting)
    if not setting.train:
        return [runner.step()]
    loss = runner.value()
    gradients = torch.autograd.grad(loss, [runner.condition, *runner.learning], allow_unused=True)
    lora = torch.cat([g.flatten() for g in gradients[1:] if g is not None])
    assert gradients[0] is not None
    return [loss.detach(), gradients[0], lora]


def run_apart(case: Case, setting: Setting) -> dict[str, Any]:
    """`Runner.measure` in a process of its own; {"refused": why} where it fails."""
    given = json.dumps({"case": asdict(case), "setting": asdict(setting)})
    command = [sys.executable, "-m", "benchmarks.steps", given]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return {"refused": (done.stderr.strip().splitlines() or ["no word"])[-1][:200]}
    return json.loads(lines[-1].removeprefix("RESULT "))


if __name__ == "__main__":
    content = json.loads(sys.argv[1])
    if content["setting"]["device"] == "cpu":
        torch.set_num_threads(1)
    made = Runner(Case(**content["case"]), Setting(**content["setting"]))
    print("RESULT " + json.dumps(made.measure()))
