from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genloc.data.zoo import FAMILIES
from genloc.data.zoo.captions import PARTS
from genloc.models.prior import Prior
from genloc.models.weights import find_weights
from tests.make_prior import write_folder

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "genloc" / "assets" / "tiny_prior"


def shipped(*names: str) -> Any:
    return json.loads(SHIPPED.joinpath(*names).read_text(encoding="utf-8"))


def test_the_shipped_prior_is_small_and_says_what_it_has_seen() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 24_000_000
    facts = shipped("training.json")
    assert facts["pictures"] >= 50_000
    assert facts["views"] >= facts["pictures"]
    assert facts["steps"] >= 4_900
    assert "families left out: none" in facts["note"]
    for word in ("captions", "framed by the renderer", "painted", "never a keypoint label"):
        assert word in facts["seen"], word


def test_samples_of_the_shipped_prior_follow_their_captions_better_than_chance() -> None:
    """As `judge` measured it: a classifier names the family asked for far above chance."""
    facts = shipped("judge.json")
    assert facts["chance"] == pytest.approx(1 / len(FAMILIES), abs=1e-4)
    assert facts["samples"] >= 8 * len(FAMILIES)
    assert facts["chance"] * 3 < facts["sampled"] <= facts["rendered"] < 1


def test_the_shipped_prior_is_of_stable_diffusions_make() -> None:
    """The same classes and block types as Stable Diffusion 1.5, whose configuration ships beside it."""
    same = {
        "unet": (
            "_class_name",
            "down_block_types",
            "up_block_types",
            "in_channels",
            "out_channels",
        ),
        "vae": ("_class_name", "in_channels", "out_channels", "latent_channels"),
        "text_encoder": ("architectures", "hidden_act"),
        "scheduler": ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps"),
    }
    for part, keys in same.items():
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        tiny, full = shipped(part, name), shipped("..", "sd15", part, name)
        for key in keys:
            assert tiny[key] == full[key], (part, key)
        if part == "vae":  # the same reduction
            for key in ("down_block_types", "up_block_types"):
                assert tiny[key] == full[key], key
    tiny = shipped("scheduler", "scheduler_config.json")
    assert tiny["_class_name"] == "DDPMScheduler"
    # Stable Diffusion's file is older than the choice; this is what it means without one.
    full = shipped("..", "sd15", "scheduler", "scheduler_config.json")
    assert tiny["prediction_type"] == full.get("prediction_type", "epsilon")
    parts = shipped("model_index.json")
    assert parts["_class_name"] == "StableDiffusionPipeline"
    assert parts["tokenizer"] == ["transformers", "CLIPTokenizer"]


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


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the stages' modules importable, as they are to their script."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


def write_views(work: Path, captions: list[str], chunks: int = 1, halves: int = 1) -> None:
    """Captions, species and latents of nothing as the stages leave them, every view's first value its picture."""
    from tiny_prior.pictures import CHUNK, VIEWS

    (work / "views").mkdir(parents=True)
    (work / "latents").mkdir()
    for chunk in range(chunks):
        texts = [captions[i % len(captions)] for i in range(CHUNK * VIEWS)]
        facts = {"captions": texts, "species": [1 + i // VIEWS % 54 for i in range(len(texts))]}
        (work / "views" / f"{chunk:04d}.json").write_text(json.dumps(facts))
        number = chunk * CHUNK + np.arange(CHUNK).repeat(VIEWS // 2)
        for half in range(halves):
            latents = np.zeros((len(number), 1, 1, 1), np.float16) + number[:, None, None, None]
            np.save(work / "latents" / f"{half}-{chunk:04d}.npy", latents)


@pytest.mark.usefixtures("stages")
@pytest.mark.parametrize("halves", [1, 2])
def test_the_judge_keeps_whole_pictures_from_the_classifier(tmp_path: Path, halves: int) -> None:
    from tiny_prior.judge import held_out, rendered

    write_views(tmp_path, ["a cat"], chunks=2, halves=halves)
    latents, labels, pictures = rendered(tmp_path)
    assert torch.equal(latents.flatten().long(), pictures)
    assert len(latents) == len(labels) == 1000 * halves
    held = held_out(pictures)
    kept, learned = set(pictures[held].tolist()), set(pictures[~held].tolist())
    assert kept == set(range(800, 1000)) and learned == set(range(800))
    with pytest.raises(ValueError, match="200 pictures have latents, and 200 are kept"):
        held_out(torch.arange(200))


@pytest.mark.usefixtures("stages")
def test_views_are_mirrored_beyond_their_picture() -> None:
    from tiny_prior.pictures import SIZE, crop

    picture = np.full((64, 64, 3), 200, np.uint8)
    assert (
        crop(picture, (10.0, 10.0, 80.0), 30.0).min() == 200
    )  # black corners were learned, and drawn
    ramp = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[None, :, None], (SIZE, SIZE, 3))
    seen = crop(np.ascontiguousarray(ramp), ((SIZE - 1) / 2, (SIZE - 1) / 2, SIZE), 0.0)
    np.testing.assert_array_equal(seen, ramp)


@pytest.mark.usefixtures("stages")
def test_no_caption_is_cut_on_the_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_prior.samples import EACH, SHEET, lay_out

    from genloc.visualize import sheet

    shorten = sheet.__globals__["_shorten"]
    asked: list[str] = []

    def watched(pen: Any, text: str, font: Any, width: float) -> str:
        asked.append(text)
        assert shorten(pen, text, font, width) == text
        return text

    monkeypatch.setitem(sheet.__globals__, "_shorten", watched)
    made = lay_out(np.zeros((EACH * len(SHEET), 32, 32, 3), np.uint8))
    assert made.dtype == np.uint8 and asked == list(SHEET)


@pytest.mark.usefixtures("stages")
def test_a_prior_starts_from_another_token_by_token(tmp_path: Path) -> None:
    from tiny_prior.diffusion import build, make_tokenizer, start_with

    write_views(tmp_path, ["a red cat on quartz"])  # a word that the shipped prior has not read
    tokenizer = make_tokenizer(tmp_path)
    model = build(tokenizer)
    fresh = {name: value.clone() for name, value in model["text"].state_dict().items()}
    start_with(model, tokenizer, "tiny")
    earlier = find_weights("tiny")
    theirs, ours = earlier.text_encoder().state_dict(), model["text"].state_dict()
    (table,) = (name for name in ours if name.endswith("token_embedding.weight"))
    their_word, our_word = earlier.tokenizer().get_vocab(), tokenizer.get_vocab()  # type: ignore[union-attr]
    for word in ("red</w>", "cat</w>", "<|endoftext|>"):
        assert torch.equal(ours[table][our_word[word]], theirs[table][their_word[word]]), word
    new = our_word["quartz</w>"]
    assert "quartz</w>" not in their_word and torch.equal(ours[table][new], fresh[table][new])
    for name in ours.keys() - {table}:
        assert torch.equal(ours[name], theirs[name]), name
    for name, value in earlier.unet().state_dict().items():
        assert torch.equal(model["unet"].state_dict()[name], value), name


@pytest.mark.usefixtures("stages")
def test_a_prior_of_another_shape_is_no_start(tmp_path: Path) -> None:
    from tiny_prior.diffusion import build, make_tokenizer, start_with

    write_views(tmp_path, ["a cat"])
    tokenizer = make_tokenizer(tmp_path)
    other = str(write_folder(tmp_path / "other"))
    with pytest.raises(
        ValueError, match=r"--start-from .*other: its U-Net has not this script's shape"
    ):
        start_with(build(tokenizer), tokenizer, other)


@pytest.mark.usefixtures("stages")
def test_the_scripts_defaults_are_the_shipped_priors() -> None:
    import train_tiny_prior
    from tiny_prior.pictures import VIEWS

    a, facts = train_tiny_prior.parse([]), shipped("training.json")
    assert (a.pictures, a.steps) == (facts["pictures"], facts["steps"])
    assert a.pictures * a.halves * VIEWS // 2 == facts["views"]


@pytest.mark.usefixtures("stages")
def test_an_export_says_how_the_prior_was_made(tmp_path: Path) -> None:
    from tiny_prior.diffusion import training_facts

    write_views(tmp_path, ["a cat"], halves=2)
    torch.save({"seconds": 60.4}, tmp_path / "vae.pt")
    arguments = {"steps": 9, "without": ["Canidae"]}
    earlier = {"pictures": 32_500, "steps": 1_800, "note": "families left out: none"}
    saved = {"step": 7, "seconds": 3600.2, "arguments": arguments, "started_from": earlier}
    facts = training_facts(tmp_path, saved)
    assert facts["seen"] == shipped("training.json")["seen"] + "; no Canidae"
    assert (facts["pictures"], facts["views"], facts["steps"]) == (500, 2000, 7)
    assert facts["seconds"] == {"autoencoder": 60, "U-Net": 3600}
    assert facts["arguments"] == arguments and facts["started_from"] == earlier
    assert "families left out: Canidae; it started from a prior of 1,800 steps" in facts["note"]
    assert training_facts(tmp_path, saved | {"started_from": {}})["started_from"] is None


def run(command: list[str], stage: str) -> None:
    done = subprocess.run(
        [*command, "--stage", stage], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_every_stage_runs_and_the_result_loads(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "train_tiny_prior.py")]
    command += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "prior")]
    command += ["--pictures", "500", "--vae-steps", "3", "--steps", "3", "--batch", "2"]
    command += ["--workers", "1", "--no-compile", "--save-every", "2"]
    for stage in ("draw", "vae", "latents", "unet", "export"):
        run(command, stage)
    first = json.loads((tmp_path / "prior" / "training.json").read_text())
    assert first["pictures"] == 500 and first["steps"] == 3 and first["started_from"] is None
    assert first["arguments"]["batch"] == 2 and first["arguments"]["vae_steps"] == 3
    assert first["seen"] == shipped("training.json")["seen"]
    assert min(first["seconds"].values()) >= 0

    # it goes on, and its time adds up; another one starts from it
    saved = torch.load(tmp_path / "work" / "unet.pt", weights_only=True)
    (tmp_path / "second").mkdir()
    for name in ("views", "latents", "vae", "vae.pt", "tokenizer"):
        (tmp_path / "second" / name).symlink_to(tmp_path / "work" / name)
    more = ["--steps", "5", "--start-from", str(tmp_path / "prior")]
    run([*command, *more], "unet")  # has weights of its own already
    again = torch.load(tmp_path / "work" / "unet.pt", weights_only=True)
    assert again["step"] == 5 and again["seconds"] > saved["seconds"] and not again["started_from"]
    command[3], command[5] = str(tmp_path / "second"), str(tmp_path / "later")
    for stage in ("unet", "export"):
        run([*command, *more], stage)
    later = json.loads((tmp_path / "later" / "training.json").read_text())
    assert later["started_from"] == first
    assert "it started from a prior of 3 steps on 500 pictures" in later["note"]

    prior = Prior(str(tmp_path / "prior")).load()
    assert prior.encode_text(["left front paw"]).shape == (1, prior.condition_channels)
    image = torch.zeros(1, 3, 128, 128)
    assert prior.encode_image(image).shape == (1, 4, 16, 16)
