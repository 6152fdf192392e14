from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from genloc.conditions.descriptions import load_descriptions
from genloc.language.conversations import ask
from genloc.language.decoder import Decoder, DecoderLoRA
from genloc.skeleton import AP10K
from tests.language.make_language import write_decoder


def test_the_tokenizer_made_here_gives_every_text_back_and_digits_one_by_one() -> None:
    said = load_descriptions(None, AP10K)
    decoder = Decoder(width=16, layers=1, heads=2).load(list(said.values()))
    for text in (ask(k, d).prompt for k, d in said.items()):
        ids = decoder.ids(text)
        assert "".join(decoder.pieces(ids)) == text
        assert decoder.tokenizer.unk_token_id not in ids
        assert len(ids) < len(text) / 3, "words are spelled"
    assert decoder.pieces(decoder.ids("[0.512,0.233]")) == list("[0.512,0.233]")
    spelled = decoder.ids("the xylophone's 12th")
    assert decoder.pieces(spelled)[-4:] == ["1", "2", "t", "h"]
    assert "".join(decoder.pieces(spelled)) == "the xylophone's 12th"
    again = Decoder(width=16, layers=1, heads=2).load(list(said.values()))
    assert again.tokenizer.get_vocab() == decoder.tokenizer.get_vocab()


def test_a_decoder_is_made_by_its_seed_and_leaves_chance_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    a, b, c = (Decoder(width=16, layers=1, heads=2, seed=seed).load() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    one, same, other = (x.model.get_input_embeddings().weight for x in (a, b, c))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert all(p.requires_grad for p in a.parameters())


def test_a_local_folder_is_read_frozen_with_lora_on_queries_and_values(tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "vicuna")
    decoder = Decoder(str(folder), lora=DecoderLoRA(rank=4)).load()
    learning = {name for name, p in decoder.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * 2 * 2  # layers, projections, factors
    assert all(".lora_" in name and ("q_proj" in name or "v_proj" in name) for name in learning)
    assert decoder.hidden == 16
    again = Decoder(str(folder), lora=DecoderLoRA(rank=2), seed=3).load()
    assert again.fingerprint == decoder.fingerprint != "scratch"
    ids = torch.tensor([decoder.ids("[0.512,0.233]")])
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(folder)
    decoder.eval()
    torch.testing.assert_close(decoder.model(ids).logits, plain(ids).logits)  # B = 0 at first


def test_weights_have_one_fingerprint_in_every_precision(tmp_path: Path) -> None:
    """What was trained in bf16 on a GPU is used in fp32 on a CPU."""
    folder = str(write_decoder(tmp_path / "vicuna"))
    given = {Decoder(folder, dtype=dtype).load().fingerprint for dtype in ("fp32", "bf16")}  # type: ignore[arg-type]
    other = write_decoder(tmp_path / "other", seed=6)
    assert len(given) == 1 and Decoder(str(other)).load().fingerprint not in given


def test_pickled_weights_are_refused_with_the_lines_that_convert_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    folder = write_decoder(tmp_path / "vicuna")
    expected = Decoder(str(folder)).load()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    kept = {"temperature": 0.9, "top_p": 0.6, "max_length": 4096, "bos_token_id": 1}  # Vicuna's
    (folder / "generation_config.json").write_text(json.dumps(kept))
    with pytest.raises(FileNotFoundError, match="Pickled weights") as refused:
        Decoder(str(folder)).load()
    monkeypatch.chdir(tmp_path)
    exec(str(refused.value).partition("in Python: ")[2])
    converted = Decoder("NEW_FOLDER").load()
    assert converted.fingerprint == expected.fingerprint
    assert converted.ids("Where?") == expected.ids("Where?")


def test_what_cannot_be_read_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="no decoder in source"):
        Decoder(str(tmp_path / "nowhere")).load()
    folder = write_decoder(tmp_path / "bare", tokenizer=False)
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        Decoder(str(folder)).load()
    folder = write_decoder(tmp_path / "whole")
    with pytest.raises(ValueError, match=r"no layers called .'c_attn'."):
        Decoder(str(folder), lora=DecoderLoRA(targets=("c_attn",))).load()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be loaded"):
        Decoder(str(folder)).load()
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"eos_token": None}))
    with pytest.raises(ValueError, match="no eos_token"):
        Decoder(str(folder)).load()
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(
        FileNotFoundError, match=r"tokenizer\.model needs: pip install sentencepiece"
    ):
        Decoder(str(folder)).load()
    for bad in ({"width": 30, "heads": 4}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Decoder(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rank=0"):
        DecoderLoRA(rank=0)
