from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genloc.language.answers import read
from genloc.language.conversations import ask
from genloc.language.decoder import Decoder
from genloc.language.model import KeypointLM
from genloc.losses import AnswerLoss
from genloc.models import Prior
from genloc.models.features import features
from genloc.models.weights import ASSETS
from tests.language.make_language import LEGS, SIDE, crops, make_language, write_decoder

POINTS = torch.tensor([[[10.0, 20], [30, 40], [50, 5]], [[1, 2], [3, 4], [60, 60]]])
VISIBLE = torch.tensor([[True, True, True], [True, False, False]])


def generators() -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in range(2)]


def answers(lm: KeypointLM, image: torch.Tensor | None = None, **kept: object):
    image = crops() if image is None and not kept else image
    return lm.answers(image, POINTS, VISIBLE, SIDE, generators(), **kept)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> KeypointLM:
    return make_language(tmp_path_factory.mktemp("language"))


def test_labels_are_the_answers_and_their_ends_alone(lm: KeypointLM) -> None:
    for together, rows in ((True, 2), (False, 4)):
        lm.together = together
        logits, labels, owner = answers(lm)
        assert logits.shape[:2] == labels.shape and len(labels) == rows
        assert logits.shape[2] == len(lm.decoder.tokenizer)
        said = [lm.decoder.tokenizer.decode(row[row != -100]) for row in labels]
        # 64 pixels: (x + 0.5) / 64
        first = {"[0.164,0.320]", "[0.477,0.633]", "[0.789,0.086]"}
        found = set("".join(said[: rows - 1]).split("</s>")[:-1])
        assert found == first and said[-1] == "[0.023,0.039]</s>"
        assert owner.tolist() == ([0, 1] if together else [0, 0, 0, 1])


def test_the_loss_knows_answer_tokens_alone(lm: KeypointLM) -> None:
    lm.together = True
    logits, labels, owner = answers(lm)
    logits = logits.detach().requires_grad_()
    loss = AnswerLoss()(logits, labels, owner, 2)
    (gradient,) = torch.autograd.grad(loss, logits)
    learned = labels != -100
    assert (gradient.abs().sum(-1) > 0).equal(learned)
    spoilt = logits.detach().clone()
    spoilt[~learned] = torch.nan
    torch.testing.assert_close(AnswerLoss()(spoilt, labels, owner, 2), loss.detach())
    # by hand: the mean over a crop's tokens, then over the crops
    surprise = -logits.detach().log_softmax(-1).gather(2, labels.clamp_min(0)[..., None])[..., 0]
    crop = [surprise[i][learned[i]].mean() for i in range(2)]
    torch.testing.assert_close(loss.detach(), (crop[0] + crop[1]) / 2)


def test_asked_together_or_apart_the_first_question_is_foretold_alike(lm: KeypointLM) -> None:
    """The second crop has one question, behind which nothing differs."""
    lm.together = True
    together, labels, _ = answers(lm)
    lm.together = False
    apart, again, _ = answers(lm)
    one = labels[1] != -100
    other = again[3] != -100
    torch.testing.assert_close(together[1][one], apart[3][other], atol=1e-4, rtol=1e-4)
    loss = [AnswerLoss()(x[None], y[None], torch.zeros(1, dtype=torch.long), 1)
            for x, y in ((together[1], labels[1]), (apart[3], again[3]))]  # fmt: skip
    grads = [torch.autograd.grad(v, lm.projector.linear.weight)[0] for v in loss]  # type: ignore[union-attr]
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("together", [True, False])
def test_crops_without_a_question_count_0(lm: KeypointLM, together: bool) -> None:
    lm.together = together
    some, none = VISIBLE.clone(), torch.zeros_like(VISIBLE)
    some[1] = False
    for visible in (some, none):
        logits, labels, owner = lm.answers(crops(), POINTS, visible, SIDE, generators())
        loss = AnswerLoss()(logits, labels, owner, 2)
        loss.backward()  # plain DDP waits for every gradient
        assert torch.isfinite(loss) and (loss == 0) == (not visible.any())
    alone = lm.answers(crops(1), POINTS[:1], VISIBLE[:1], SIDE, generators()[:1])
    both = lm.answers(crops(), POINTS, some, SIDE, generators())
    torch.testing.assert_close(AnswerLoss()(*both, 2), AnswerLoss()(*alone, 1) / 2)
    lm.zero_grad()


def test_latents_and_features_that_are_kept_give_the_same(lm: KeypointLM) -> None:
    lm.together = True
    image = crops()
    latent = lm.encode(image)
    expected = answers(lm, image)[0]
    torch.testing.assert_close(answers(lm, None, latent=latent)[0], expected)
    front = lm.front(latent)
    torch.testing.assert_close(answers(lm, None, latent=latent, front=front)[0], expected)
    assert front[0].shape[-2:] == (8, 8)


def test_finer_features_are_averaged_onto_the_grid_that_is_shown(tmp_path: Path) -> None:
    lm = make_language(tmp_path, tokens=20)
    latent = lm.encode(crops())
    coarse, fine = features(lm.genloc, None, latent=latent)
    assert coarse.shape[-2:] == (4, 4) and fine.shape[-2:] == (8, 8)
    blocks = (
        fine[..., ::2, ::2] + fine[..., ::2, 1::2] + fine[..., 1::2, ::2] + fine[..., 1::2, 1::2]
    ) / 4
    (shown,) = lm.front(latent)
    torch.testing.assert_close(shown, torch.cat([coarse, blocks], 1))
    assert torch.isfinite(answers(lm, None, latent=latent)[0]).all()
    assert lm.locate(None, SIDE, latent=latent)[0].shape == (2, 3, 2)
    lm.tokens = 3
    with pytest.raises(ValueError, match="the grids of features are 4x4, 8x8"):
        lm.front(latent)


@pytest.mark.parametrize("size", [128, 256])
def test_the_built_in_prior_s_crops_of_either_size_are_learned_from_and_answered(size: int) -> None:
    lm = KeypointLM(Prior("tiny", dtype="fp32"), Decoder(width=16, layers=1, heads=2)).ask_for(LEGS)
    image = F.interpolate(crops(1), (size, size))
    assert lm.front(lm.encode(image))[0].shape == (1, 128 + 96 + 64, 16, 16)
    loss = AnswerLoss()(*lm.answers(image, POINTS[:1], VISIBLE[:1], size, generators()[:1]), 1)
    loss.backward()
    assert lm.projector is not None and lm.projector.linear.weight.grad is not None
    assert (lm.projector.linear.weight.grad.abs().sum(0) > 0).all()  # every feature and place
    assert lm.locate(image)[0].shape == (1, 3, 2)


def test_stable_diffusion_s_crops_of_512_are_256_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its architecture at full size, without numbers."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    class Bare:
        def read(self, kind: Any, folder: str) -> Any:
            with torch.device("meta"):
                return kind.from_config(kind.load_config(str(ASSETS / "sd15"), subfolder=folder))

        def unet(self) -> Any:
            return self.read(UNet2DConditionModel, "unet")

        def vae(self) -> Any:
            return self.read(AutoencoderKL, "vae")

        def scheduler_config(self) -> Any:
            return DDPMScheduler.load_config(str(ASSETS / "sd15"), subfolder="scheduler")

    monkeypatch.setattr("genloc.models.prior.find_weights", lambda *_, **__: Bare())
    monkeypatch.setattr("genloc.models.prior._short_hash", lambda *_: "none")
    monkeypatch.setattr(Prior, "_encode_empty", lambda _: torch.zeros(1, 77, 768))
    lm = KeypointLM(Prior("sd15"), Decoder(width=16, layers=1, heads=2)).ask_for(LEGS).to("meta")
    (front,) = lm.front(torch.empty(1, 4, 64, 64, device="meta"))
    assert front.shape == (1, 1280 + 640 + 320, 16, 16)
    assert lm._see(None, None, [front]).shape == (1, 256, 16)


def test_recomputed_activations_hide_no_picture(tmp_path: Path) -> None:
    """Under gradient checkpointing transformers drops the keys and values of the picture without a failure."""
    lm = make_language(tmp_path, together=False)
    expected = answers(lm)[0]
    lm.decoder = Decoder(width=16, layers=2, heads=2, gradient_checkpointing=True)
    lm.ask_for(LEGS).decoder.model.train()
    torch.testing.assert_close(answers(lm)[0], expected)


def test_an_answer_has_room_for_every_digit(
    lm: KeypointLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tokenizers have "000" whole, but not every three digits."""
    from genloc.language import model

    given: list[int] = []
    monkeypatch.setattr(model, "SAMPLE", "[000,000]")

    def speak(*_: Any, most: int, **__: Any) -> tuple[list[list[int]], list[list[float]]]:
        given.append(most)
        return [[]] * 6, [[]] * 6

    plain = lm.decoder.ids
    monkeypatch.setattr(model, "speak", speak)
    monkeypatch.setattr(lm.decoder, "ids", lambda text: plain(text.replace("000", "0")))
    lm.say(crops())
    assert given == [len("[000,000]") + 1]


def test_cached_answers_are_those_of_the_whole_text_each_time(lm: KeypointLM) -> None:
    """The second implementation reads everything anew for every token, one question at a time."""
    image = crops()
    found = lm.say(image)
    lm.decoder.eval()
    for b in range(2):
        for k, (name, said) in enumerate(lm.descriptions.items()):
            ids = lm.decoder.ids(ask(name, said).prompt)
            told: list[int] = []
            sure: list[float] = []
            with torch.no_grad():
                seen = lm._head(lm._see(image[b : b + 1], None, None))
            for _ in range(14):
                with torch.no_grad():
                    text = torch.cat([seen, lm.decoder.embed(torch.tensor([ids + told]))], 1)
                    logits = lm.decoder.model(inputs_embeds=text, use_cache=False).logits[0, -1]
                told.append(int(logits.argmax()))
                sure.append(float(logits.softmax(-1).max()))
                if told[-1] == lm.decoder.end:
                    break
            expected = read(lm.decoder.pieces(told), sure)
            assert found[b][k].parts == expected.parts
            assert found[b][k].score == pytest.approx(expected.score, abs=1e-5)
            tokens, chances = spoken(lm, image, b * 3 + k)
            n = min(len(tokens), len(told))
            assert tokens[:n] == told[:n] and n >= 1
            np.testing.assert_allclose(chances[:n], sure[:n], atol=1e-5)


def spoken(lm: KeypointLM, image: torch.Tensor, row: int) -> tuple[list[int], list[float]]:
    from genloc.language.talking import speak

    asked = [lm.decoder.ids(ask(k, d).prompt) for k, d in lm.descriptions.items()]
    assert len({len(ids) for ids in asked}) > 1, "all questions are as long: nothing is filled up"
    with torch.no_grad():
        seen = lm._head(lm._see(image, None, None))
        told, sure = speak(lm.decoder.model, seen, asked, most=14, end=lm.decoder.end)
    return told[row], sure[row]


def test_what_cannot_be_read_is_at_the_centre_with_score_0(lm: KeypointLM) -> None:
    xy, scores = lm.locate(crops())  # untrained: it says nothing that could be read
    assert xy.shape == (2, 3, 2) and scores.shape == (2, 3)
    assert (xy[scores == 0] == SIDE / 2 - 0.5).all() and (scores == 0).any()
    told = lm.protocol([{"keypoints": [1, 2, 0.0, 3, 4, 0.5, 5, 6, 0.0]}])
    assert told["answers"].startswith("2 of 3")


def test_a_decoder_of_one_s_own_learns_by_lora_and_projector(tmp_path: Path) -> None:
    lm = make_language(tmp_path, str(write_decoder(tmp_path / "vicuna")))
    logits, labels, owner = answers(lm)
    AnswerLoss()(logits, labels, owner, 2).backward()
    learning = {name: p for name, p in lm.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in learning} == {"projector", "decoder"}
    assert all(p.grad is not None for p in learning.values())
    assert all(".lora_" in name for name in learning if name.startswith("decoder"))


def test_what_it_has_memorised_follows_the_picture(tmp_path: Path) -> None:
    """Overfits: every part of the chain from crop to parsed answer carries. Shown another crop than the one
    it is asked about, it says that one's places."""
    count = 5
    lm = make_language(tmp_path, paraphrase=False, together=False, describe=False)
    front = lm.front(lm.encode(crops(count)))
    points = torch.rand(count, 3, 2, generator=torch.Generator().manual_seed(4)) * SIDE - 0.5
    visible = torch.ones(count, 3, dtype=torch.bool)
    chance = [np.random.default_rng(i) for i in range(count)]
    optimiser = torch.optim.Adam([p for p in lm.parameters() if p.requires_grad], 1e-2)
    for _ in range(200):
        said = lm.answers(None, points, visible, SIDE, chance, front=front)
        loss = AnswerLoss()(*said, count)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    xy, scores = lm.locate(None, SIDE, front=front)
    another, _ = lm.locate(None, SIDE, front=[front[0].roll(1, 0)])
    assert (xy - points).norm(dim=-1).max() < 0.03 * SIDE
    assert (scores > 0.5).all()
    assert (another - points).norm(dim=-1).mean() > 0.2 * SIDE
    torch.testing.assert_close(another, xy.roll(1, 0))


def test_it_must_be_asked_for_something_first(tmp_path: Path) -> None:
    bare = KeypointLM(Prior("tiny"), Decoder())
    with pytest.raises(RuntimeError, match="ask_for"):
        bare.locate(crops())
    for name in ("tokens", "rounds"):
        with pytest.raises(ValueError, match=name):
            KeypointLM(Prior("tiny"), Decoder(), **{name: 0})  # type: ignore[arg-type]
    assert LEGS.num_keypoints == 3
