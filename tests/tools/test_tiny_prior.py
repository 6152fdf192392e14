from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genloc.data.zoo.captions import PARTS
from genloc.models.prior import Prior

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "genloc" / "assets" / "tiny_prior"


def test_the_shipped_prior_is_small_and_says_what_it_has_seen() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 24_000_000
    facts = json.loads((SHIPPED / "training.json").read_text())
    assert facts["pictures"] > 0
    assert facts["steps"] > 0
    assert "families left out" in facts["note"]


def test_the_shipped_prior_is_of_stable_diffusions_make() -> None:
    """The same classes and block types as Stable Diffusion 1.5, whose configuration ships beside it."""
    for part in ("unet", "vae", "text_encoder", "scheduler"):
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        tiny = json.loads((SHIPPED / part / name).read_text())
        full = json.loads((SHIPPED.parent / "sd15" / part / name).read_text())
        for key in ("down_block_types", "up_block_types", "in_channels", "latent_channels"):
            if key == "down_block_types" and part == "vae":
                assert len(tiny[key]) == len(full[key])
            assert tiny.get(key) == full.get(key), (part, key)
        if part == "scheduler":
            for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps"):
                assert tiny[key] == full[key], key


def test_words_for_parts_are_words_to_the_shipped_tokenizer() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer")
    for phrases in PARTS:
        for phrase in phrases:
            assert len(tokenizer(phrase).input_ids) == len(phrase.split()) + 2, phrase
    assert len(tokenizer("zyzzyx").input_ids) > 3  # a word it has not seen falls to letters


def test_the_shipped_prior_tells_words_apart() -> None:
    prior = Prior("tiny").load()
    vectors = prior.encode_text(["left front paw", "right back knee", "nose", "left front paw"])
    vectors = torch.nn.functional.normalize(vectors.float(), dim=-1)
    assert torch.equal(vectors[0], vectors[3])
    assert (vectors @ vectors.T)[0, 1:3].max() < 0.999


@pytest.mark.slow
def test_every_stage_runs_and_the_result_loads(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "train_tiny_prior.py")]
    command += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "prior")]
    command += ["--pictures", "500", "--vae-steps", "3", "--steps", "3", "--batch", "2"]
    command += ["--workers", "1", "--no-compile", "--save-every", "2"]
    for stage in ("draw", "vae", "latents", "unet", "export"):
        done = subprocess.run(
            [*command, "--stage", stage], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr[-2000:]
    prior = Prior(str(tmp_path / "prior")).load()
    assert prior.encode_text(["left front paw"]).shape == (1, prior.condition_channels)
    image = torch.zeros(1, 3, 128, 128)
    assert prior.encode_image(image).shape == (1, 4, 16, 16)
