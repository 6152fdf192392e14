"""Words as conditions: nothing per keypoint, draws of (seed, epoch, id) alone, new names by words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genloc.conditions import LearnedCondition, TextCondition
from genloc.conditions.text import ask
from genloc.data.batch import sample_generator
from genloc.inference import asked_for
from genloc.models import Prior
from genloc.skeleton import AP10K, COCO, Skeleton
from genloc.training.asking import ask as ask_batch
from genloc.training.optimiser import parameter_groups
from tests.make_prior import tiny_modules, write_configs, write_folder, write_single_file

CHANNELS = 24
PARTS = ("left_eye", "right_eye", "nose", "left_front_paw", "right_front_paw", "tail")
SMALL = Skeleton("small", PARTS, (), ((0, 1), (3, 4)), (0.05,) * 6)


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return Prior(str(write_folder(tmp_path_factory.mktemp("prior")))).load()


def built(prior: Prior, skeleton: Skeleton = SMALL, **arguments) -> TextCondition:
    generator = torch.Generator().manual_seed(0)
    condition = TextCondition(**arguments)
    assert condition.build(skeleton, CHANNELS, prior.text, generator) is condition
    return condition


def generators(ids: Sequence[int], seed: int = 0, epoch: int = 0) -> list[np.random.Generator]:
    return [sample_generator(seed, epoch, i, purpose=2) for i in ids]


def moved(condition: TextCondition) -> TextCondition:
    """As if training had moved the head."""
    assert condition.head is not None
    with torch.no_grad():
        for parameter in condition.head.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return condition


def test_it_starts_as_the_text_encoder_s_own_embedding(prior: Prior) -> None:
    """By the encoder itself, and, with its mean, as learned conditions that start from words."""
    tokenizer, encoder = prior._text_parts()
    ids = tokenizer("left front paw").input_ids
    with torch.no_grad():
        states = encoder(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(built(prior)()[0, 3], states[-1])
    learned = LearnedCondition("text").build(SMALL, CHANNELS, prior.text)
    found = built(prior, pool="mean")()
    assert found.shape == (1, 6, CHANNELS) and found.dtype == torch.float32
    torch.testing.assert_close(found, learned())
    assert not torch.allclose(built(prior)(), learned())


def test_many_phrases_at_once_are_each_alone(prior: Prior) -> None:
    """Padding changes nothing: the encoder is causal."""
    texts = ["nose", "the left front paw of a dog", "tail"]
    for pool in ("mean", "end"):
        alone = torch.cat([prior.text([text], pool) for text in texts])
        torch.testing.assert_close(prior.text(texts, pool), alone)


def test_no_parameter_belongs_to_a_keypoint(prior: Prior) -> None:
    few, many = built(prior), built(prior, AP10K)
    sizes = [{n: p.shape for n, p in c.named_parameters()} for c in (few, many)]
    assert sizes[0] == sizes[1]
    assert sum(p.numel() for p in few.parameters()) == 128 * (2 * CHANNELS + 1) + CHANNELS
    # the same words are the same condition, whatever else is asked and in whatever order
    moved(few)
    back = few.asking(["tail", "left eye"])
    torch.testing.assert_close(back()[0], few()[0, [5, 0]])


def test_draws_are_functions_of_seed_epoch_and_id_alone(prior: Prior) -> None:
    condition = moved(built(prior, AP10K, subset=5))
    visible = torch.rand(3, 17, generator=torch.Generator().manual_seed(0)) > 0.5
    first, index = condition.draw(generators([7, 8, 9]), visible)
    assert first.shape == (3, 5, CHANNELS) and index.shape == (3, 5)
    assert (index.diff(dim=1) > 0).all()
    # another order of the batch, one by one, another process's condition: the same draws
    other = moved(built(prior, AP10K, subset=5))
    swapped, order = other.draw(generators([9, 7]), visible[[2, 0]])
    torch.testing.assert_close(swapped, first[[2, 0]])
    assert torch.equal(order, index[[2, 0]])
    for changed in (generators([7, 8, 9], seed=1), generators([7, 8, 9], epoch=1)):
        assert not torch.equal(condition.draw(changed, visible)[1], index)


def test_visible_keypoints_are_asked_first_and_all_come_round(prior: Prior) -> None:
    condition = built(prior, subset=2)
    visible = torch.tensor([[False, True, False, True, False, True]])
    drawn = [condition.draw(generators([i]), visible)[1][0].tolist() for i in range(40)]
    assert {k for pair in drawn for k in pair} == {1, 3, 5}
    nothing = torch.zeros(1, 6, dtype=torch.bool)
    drawn = [condition.draw(generators([i]), nothing)[1][0].tolist() for i in range(60)]
    assert {k for pair in drawn for k in pair} == set(range(6))
    every = built(prior, subset=None).draw(generators([0]), nothing)[1]
    assert every.tolist() == [[0, 1, 2, 3, 4, 5]]


def spy(condition: TextCondition) -> list[str]:
    asked: list[str] = []
    encode = condition._encode

    def note(phrases: Sequence[str]) -> Tensor:
        asked.extend(phrases)
        return encode(phrases)

    condition._encode = note  # type: ignore[method-assign]
    return asked


def test_paraphrases_are_drawn_and_can_be_left_out(prior: Prior) -> None:
    condition = built(prior, AP10K)
    asked = spy(condition)
    visible = torch.ones(40, 17, dtype=torch.bool)
    condition.draw(generators(range(40)), visible)
    known = {p for said in condition.descriptions.values() for p in said.phrases()}
    assert set(asked) <= known and len(set(asked)) > 100
    plain = built(prior, AP10K, paraphrase=False)
    asked = spy(plain)
    plain.draw(generators(range(40)), visible)
    assert set(asked) == set(plain.phrases)
    full = built(prior, AP10K, say="full")
    assert full.phrases[6] == condition.descriptions["left_elbow"].full


def test_held_out_keypoints_are_neither_drawn_nor_spoken_of(prior: Prior) -> None:
    held_out = ["right_elbow", "left_front_paw", "left_knee", "right_back_paw"]
    condition = built(prior, AP10K, held_out=held_out, subset=None)
    asked = spy(condition)
    visible = torch.ones(60, 17, dtype=torch.bool)
    _, index = condition.draw(generators(range(60)), visible)
    assert index.shape == (60, 13)
    assert not set(index.unique().tolist()) & {AP10K.index(name) for name in held_out}
    assert len(asked) > 100
    for phrase in asked:
        for name in ("right elbow", "left front paw", "left front foot", "left knee"):
            assert name not in phrase
    words = {word for name in held_out for word in name.split("_")}
    assert words <= {word for phrase in asked for word in phrase.replace(",", "").split()}
    assert condition().shape == (1, 17, CHANNELS)  # they can be asked for


@pytest.mark.filterwarnings("ignore:the text encoder")  # eight tokens are few
@pytest.mark.parametrize("paraphrase", [True, False])
def test_whole_descriptions_do_not_speak_of_held_out_keypoints(
    paraphrase: bool, prior: Prior
) -> None:
    """AP-10K's left elbow lies "above the left front paw"; when asked it may be said."""
    condition = built(
        prior, AP10K, say="full", paraphrase=paraphrase, held_out=["left_front_paw"], subset=None
    )
    asked = spy(condition)
    condition.draw(generators(range(20)), torch.ones(20, 17, dtype=torch.bool))
    assert not [phrase for phrase in asked if "left front paw" in phrase]
    assert [p for p in asked if "left elbow, elbow" in p], "the rest is said"
    assert "left front paw" in condition.phrases[AP10K.index("left_elbow")]


def test_words_that_were_never_read_are_named(prior: Prior) -> None:
    condition = built(prior)
    assert condition.unread() == ()
    with pytest.warns(UserWarning, match="never read: zebra, hoof;"):
        asked, _ = ask(condition, ["the left zebra paw", "the nose", "a hoof"])
    assert asked.unread() == ("zebra", "hoof")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(condition, ["the left paw"])


def test_the_batch_is_cut_to_what_is_asked(prior: Prior) -> None:
    condition = built(prior, subset=2)
    batch = {
        "annotation_id": torch.tensor([4, 5]),
        "visible": torch.tensor([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0]], dtype=torch.bool),
        "points": torch.arange(24.0).view(2, 6, 2),
        "image": torch.zeros(2, 3, 8, 8),
    }
    conditions, cut = ask_batch(condition, batch, seed=0, epoch=3)
    _, index = condition.draw(generators([4, 5], epoch=3), batch["visible"])
    assert conditions is not None and conditions.shape == (2, 2, CHANNELS)
    for b in (0, 1):
        assert torch.equal(cut["points"][b], batch["points"][b, index[b]])
    assert cut["visible"].all() and cut["image"] is batch["image"]
    learned = LearnedCondition().build(SMALL, CHANNELS)
    conditions, same = ask_batch(learned, batch, seed=0, epoch=0)
    assert same is batch and conditions is not None and conditions.shape == (1, 6, CHANNELS)
    assert ask_batch(None, batch, seed=0, epoch=0) == (None, batch)


def test_lora_on_the_encoder_learns_and_leaves_the_prior_alone(prior: Prior) -> None:
    before = prior.encode_text(["left eye"])
    condition = built(prior, encoder_rank=2)
    torch.testing.assert_close(condition(), built(prior)())  # B = 0
    learning = {name for name, p in condition.named_parameters() if p.requires_grad}
    factors = {name for name in learning if ".lora_" in name}
    assert factors and learning - factors == {
        f"head.{i}.{w}" for i in (0, 2) for w in ("weight", "bias")
    }
    groups = parameter_groups(torch.nn.Linear(1, 1), condition, lr=1, lr_condition=2, lr_lora=3)
    by_name = {group["name"]: group for group in groups}
    assert len(by_name["lora"]["params"]) == len(factors) and by_name["lora"]["lr"] == 3
    assert len(by_name["condition"]["params"]) == 4
    optimiser = torch.optim.Adam([p for p in condition.parameters() if p.requires_grad], 0.1)
    for _ in range(2):  # B moves first, then A
        optimiser.zero_grad()
        condition().square().sum().backward()
        optimiser.step()
    assert not torch.allclose(condition(), built(prior)())
    moved_factors = [
        n for n, p in condition.named_parameters() if n in factors and p.grad is not None
    ]
    assert set(moved_factors) == factors
    assert torch.equal(prior.encode_text(["left eye"]), before)


def test_asking_other_phrases(prior: Prior) -> None:
    condition = moved(built(prior))
    asked, skeleton = ask(condition, ["the left  paw", "the right paw", "a nose"])
    assert skeleton.keypoints == ("the left paw", "the right paw", "a nose")
    assert skeleton.flip_pairs == ((0, 1),) and skeleton.edges == ()
    assert asked().shape == (1, 3, CHANNELS)
    torch.testing.assert_close(
        asked()[0], condition.embed(["the left paw", "the right paw", "a nose"])
    )
    assert condition().shape == (1, 6, CHANNELS), "the condition itself asks what it asked"
    wrong: list[tuple[Any, str]] = [
        ([], "at least one"),
        (["nose", " "], "none of them empty"),
        (["nose", "nose "], "asked for twice"),
        (["zebra"], "knows none of its words"),
        ("nose", r"expected a list of texts, got 'nose'; give \['nose'\]"),
        (["nose", 3], r"expected a list of texts, got \['nose', 3\]"),
        ([b"nose"], r"expected a list of texts"),
        (3, r"expected a list of texts, got 3$"),
    ]
    for phrases, message in wrong:
        with pytest.raises(ValueError, match=message):
            ask(condition, phrases)
    with pytest.raises(ValueError, match="LearnedCondition, made for its own keypoints"):
        ask(LearnedCondition().build(SMALL, CHANNELS), ["nose"])


def test_a_prior_without_a_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    modules = tiny_modules()
    configs = write_configs(tmp_path / "configs", modules)
    file = write_single_file(tmp_path / "model.safetensors", modules)
    single = Prior(str(file), config=str(configs)).load()
    with pytest.raises(FileNotFoundError, match=r"needs a tokenizer.*Give Prior\(tokenizer="):
        TextCondition().build(SMALL, CHANNELS, single.text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"say": "all"}, "say='all'"),
        ({"pool": "max"}, "pool='max'"),
        ({"subset": 0}, "subset=0"),
        ({"hidden": 0}, "hidden=0"),
        ({"encoder_rank": -1}, "encoder_rank=-1"),
        ({"held_out": ["ear"]}, "no keypoint 'ear'"),
        ({"held_out": PARTS}, "all keypoints"),
        ({"descriptions": {"nose": "nose"}}, "says nothing of"),
    ],
)
def test_wrong_arguments(prior: Prior, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(prior, **arguments)


def test_building(prior: Prior) -> None:
    condition = built(prior)
    assert condition.build(SMALL, CHANNELS, prior.text) is condition
    with pytest.raises(ValueError, match="6 keypoints of 'small' in 24 channels already"):
        condition.build(COCO, CHANNELS, prior.text)
    with pytest.raises(ValueError, match="got None"):
        TextCondition().build(SMALL, CHANNELS)
    with pytest.raises(ValueError, match="gives 24 channels, but"):
        TextCondition().build(SMALL, 32, prior.text)
    with pytest.raises(RuntimeError, match=r"call build\(\) first"):
        TextCondition()()


def test_the_empty_text_is_no_question_about_its_own_keypoints(prior: Prior) -> None:
    with pytest.raises(ValueError, match=r"phrases: expected a list of texts, got ''"):
        asked_for(None, built(prior), SMALL, phrases="", crop_size=64, padding=1.0)
