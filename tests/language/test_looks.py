"""Whether a decoder made from scratch learns to look: on new pictures it says what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genloc.language.decoder import Decoder
from genloc.language.model import KeypointLM
from genloc.losses import AnswerLoss
from genloc.models import Prior
from tests.language.make_language import LEGS, SIDE
from tests.make_prior import write_folder

BATCH, STEPS = 16, 300


def drawn(count: int, seed: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [count, channels, 8, 8] whose first three are bright at the three points, and these."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.rand(count, 3, 2, generator=generator)
    cells = (torch.arange(8) + 0.5) / 8
    x, y = cells - parts[..., :1], cells - parts[..., 1:]
    light = torch.exp(-(x[:, :, None] ** 2 + y[..., None] ** 2) / (2 * 0.1**2))
    rest = 0.3 * torch.rand(count, channels - 3, 8, 8, generator=generator)
    return torch.cat([light, rest], 1), parts * SIDE - 0.5


@pytest.mark.slow
def test_new_pictures_are_looked_at(tmp_path: Path) -> None:
    """No place comes twice, so nothing can be known by heart; another picture is worth no more than chance."""
    prior = Prior(str(write_folder(tmp_path / "prior")), dtype="fp32")
    lm = KeypointLM(
        prior,
        Decoder(width=64, layers=2, heads=4),
        paraphrase=False,
        together=False,
        describe=False,
    ).ask_for(LEGS)
    channels = lm.front(torch.zeros(1, 4, 8, 8))[0].shape[1]
    visible = torch.ones(BATCH, 3, dtype=torch.bool)
    learning = [p for p in lm.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learning, 3e-3)
    for step in range(1, STEPS + 1):
        front, points = drawn(BATCH, step, channels)
        chance = [np.random.default_rng(i) for i in range(BATCH)]
        said = lm.answers(None, points, visible, SIDE, chance, front=[front])
        loss = AnswerLoss()(*said, BATCH)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()

    front, points = drawn(64, 10**6, channels)

    def found(shown: torch.Tensor) -> float:
        """Part of the points to a tenth of the crop; chance is 3 %."""
        xy, _ = lm.locate(None, SIDE, front=[shown])
        return float(((xy - points).norm(dim=-1) < 0.1 * SIDE).float().mean())

    looking, elsewhere = found(front), found(front.roll(1, 0))
    assert looking > 0.2  # 0.35 when this was written; 0.56 after 600 steps
    assert looking > 4 * elsewhere
