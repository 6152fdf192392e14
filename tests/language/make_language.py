"""A small language model on a small random prior, and decoders as folders."""

from __future__ import annotations

from pathlib import Path

import torch

from genloc.language.decoder import Decoder
from genloc.language.model import KeypointLM
from genloc.models import Prior
from genloc.skeleton import Skeleton
from tests.make_prior import write_folder

LEGS = Skeleton(
    name="legs",
    keypoints=("nose", "left_paw", "right_paw"),
    edges=((0, 1), (0, 2)),
    flip_pairs=((1, 2),),
    sigmas=(0.05,) * 3,
)
SIDE = 64  # pixels of a crop


def make_language(folder: Path, source: str = "scratch", **more: object) -> KeypointLM:
    """Ready to be asked for the three keypoints of `LEGS`."""
    prior = folder / "prior"
    if not prior.is_dir():
        write_folder(prior)
    decoder = Decoder(source, width=16, layers=2, heads=2)
    return KeypointLM(Prior(str(prior), dtype="fp32"), decoder, **more).ask_for(LEGS)  # type: ignore[arg-type]


def write_decoder(folder: Path, *, tokenizer: bool = True, seed: int = 5) -> Path:
    """A random decoder with a tokenizer, as transformers itself writes them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    made = Decoder(width=16, layers=1, heads=2).load()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(made.tokenizer),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    if tokenizer:
        made.tokenizer.save_pretrained(folder)
    return folder


def crops(count: int = 2) -> torch.Tensor:
    """Random pictures [count, 3, SIDE, SIDE] in [-1, 1]."""
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) * 2 - 1
