"""Asking by an example through `genloc fit` and `test`: learns, resumes exactly, is scored by the protocol."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from genloc.adapter import load_adapter, read_facts
from genloc.card import model_card
from genloc.cli import main
from genloc.data.batch import KeypointDataset, collate
from genloc.data.categories import CategorySets, slots
from genloc.data.episodes import EpisodeDataset, Episodes, protocol_pairs
from genloc.data.support import Support
from genloc.hub import _outcome
from genloc.inference import condition_of, look_like, picture_parts
from genloc.keypoints import Keypoints
from genloc.metrics.episodes import episode_scores
from genloc.models import GenLoc, Prior
from genloc.models.features import TEMPERATURE, features
from genloc.training.episodes import EpisodeScores
from genloc.training.protocol import (
    ByCondition,
    ByCorrelation,
    answer,
    place_of_category,
    place_of_supports,
    score,
)
from tests.make_categories import write_categories
from tests.make_prior import write_folder
from tests.training.conftest import World
from tests.training.signals import signalled

CONFIG = """
name: small
trainer: {{max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false}}
checkpoints: {{every_n_steps: 2, monitor: val/PCK@0.2}}
pictures: {{count: 2, every_n_epochs: 2}}
data:
  skeleton: "slots:4"
  root: {folder}
  train: {{annotations: train.json, images: images}}
  val: {{annotations: train.json, images: images}}
  test: {{annotations: train.json, images: images}}
  episodes: {{shots: 2, per_category: 3, queries: 4, seed: 1}}
  crop_size: 64
  batch_size: 2
  effective_batch: 6
  num_workers: 0
  seed: ${{..seed_everything}}
model:
  skeleton: ${{..data.skeleton}}
  model:
    class_path: genloc.models.genloc.GenLoc
    init_args:
      context: "null"
      prior: {{class_path: genloc.models.prior.Prior, init_args: {{source: {folder}/prior}}}}
  condition: {{class_path: genloc.conditions.visual.VisualCondition, init_args: {{hidden: 16}}}}
  loss: {{class_path: genloc.losses.HEL}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    write_categories(folder, images=8, name="train.json")
    write_folder(folder / "prior")
    (folder / "prior" / "training.json").write_text('{"seen": "squares, each with its name"}')
    config = folder / "small.yaml"
    config.write_text(CONFIG.format(folder=folder))
    return World(folder, config)


@pytest.fixture(scope="module")
def run(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main(world.arguments("fit", runs)) == 0
    return runs / "small"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def source_of(world: World) -> CategorySets:
    return CategorySets(
        world.folder / "train.json", world.folder / "images", skeleton=slots("slots:4")
    )


def test_network_and_lora_learn(run: Path) -> None:
    state = weights(run)
    assert any(name.startswith("condition.layers") for name in state)
    assert any(name.startswith("condition.norms") for name in state)
    assert any("lora_B" in name and value.abs().max() > 0 for name, value in state.items())
    assert "PCK@0.2" in (run / "logs" / "metrics.csv").read_text()
    assert (run / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("batches", [4, 11])
def test_an_interrupted_run_ends_as_one_that_never_stopped(
    world: World, run: Path, tmp_path: Path, batches: int
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(world.arguments("fit", tmp_path, signalled("SIGTERM", batches)))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert main(world.arguments("fit", tmp_path, "--ckpt_path", "last")) == 0
    ours, theirs = weights(tmp_path / "small"), weights(run)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_test_scores_by_the_protocol(
    world: World, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(world.arguments("test", run.parent)) == 0
    printed = capsys.readouterr().out
    for words in ("place of the supports", "2 shots; 3 episodes x 4 queries", "24 pairs"):
        assert words in " ".join(printed.split()), words
    numbers = json.loads((run / "metrics.json").read_text())["test, 2 shots"]
    assert numbers["per_category"].keys() == {"fish", "chair"}
    assert "prior has seen: squares, each with its name" in numbers["protocol"]
    assert 0 <= numbers["PCK@0.05"] <= numbers["PCK@0.2"] <= 1
    assert (run / "overlays.png").is_file()
    card = (run / "adapter/README.md").read_text()
    assert (
        "| this adapter | untrained correlation | place of the supports | mean place of the" in card
    )
    assert f"| PCK@0.2 | {100 * numbers['PCK@0.2']:.1f} |" in card
    # as many shots as are asked: a table of its own, that leaves the others alone
    assert main(world.arguments("test", run.parent, "--data.episodes.shots", "1")) == 0
    kept = json.loads((run / "metrics.json").read_text())
    assert kept.keys() == {"test, 2 shots", "test, 1 shot"} and kept["test, 2 shots"] == numbers

    # the untrained correlation is the net's before anything was trained
    adapter = load_adapter(run / "adapter")
    source = source_of(world)
    pairs = protocol_pairs(source, Episodes(2, 3, 4))
    crops = KeypointDataset(source, crop_size=64)
    frozen = GenLoc(Prior(str(world.folder / "prior"), dtype="fp32"), context="null").load()
    every: list = [collate([crops[i] for i in range(len(crops))])]
    asker = ByCorrelation(frozen, adapter.condition.sigma, TEMPERATURE)
    by_pair = score(source, pairs, answer(asker, lambda: every, pairs, crop_size=64))
    assert numbers["beside"]["untrained correlation"] == pytest.approx(episode_scores(by_pair))
    # and a card of the adapter shows the numbers that were made with its weights
    facts = read_facts(run / "adapter")
    assert _outcome(run / "adapter", facts, None) == kept
    assert "On `test, 2 shots`, 16 instances" in model_card(facts, kept)

    # the same from the adapter, pair by pair, without what the protocol keeps of a picture
    found = []
    for shown, query in pairs:
        support = collate([crops[i] for i in shown])
        batch = {f"support_{k}": support[k][None] for k in ("image", "points", "visible")}  # type: ignore[literal-required]
        with torch.no_grad():
            condition = condition_of(adapter.model, adapter.condition, batch)
            assert condition is not None
            one = collate([crops[query]])
            maps = adapter.model(one["image"], condition)
        found.append((maps, one))
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(
        torch.equal(v, best[f"condition.{n}"]) for n, v in adapter.condition.named_parameters()
    )
    from genloc.inference import localize

    xy = np.concatenate(
        [
            localize(m, o["to_image"], o["box"], crop_size=64, skeleton=source.skeleton).xy
            for m, o in found
        ]
    )
    again = episode_scores(score(source, pairs, xy))
    assert {name: numbers[name] for name in again} == pytest.approx(again)


def test_what_was_left_out_is_said_with_the_numbers(
    world: World, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((world.folder / "train.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    (world.folder / "odd.json").write_text(json.dumps(content))
    more = ("--data.test.annotations", "odd.json", "--data.episodes.per_category", "1")
    assert main(world.arguments("test", run.parent, *more)) == 0
    (note, *_) = json.loads((run / "metrics.json").read_text())["test, 2 shots"]["notes"]
    assert note == "annotations left out: 1 (iscrowd)" and note in capsys.readouterr().out


def test_each_picture_encoded_once_answers_as_pair_by_pair(world: World, run: Path) -> None:
    adapter = load_adapter(run / "adapter")
    source = source_of(world)
    crops = KeypointDataset(source, crop_size=64)
    pairs = protocol_pairs(source, Episodes(1, 2, 3))
    model = adapter.model

    def batches() -> list:
        items = [range(k, min(k + 5, len(crops))) for k in range(0, len(crops), 5)]
        return [collate([crops[i] for i in five]) for five in items]

    for asker in (
        ByCondition(model, adapter.condition),
        ByCorrelation(model),
        ByCorrelation(model, 0.5, 0.05),
    ):
        whole = answer(asker, batches, pairs, crop_size=64)
        one_by_one = answer(asker, batches, pairs, crop_size=64, at_once=1)
        np.testing.assert_allclose(whole, one_by_one, atol=1e-2)
        assert whole.shape == (12, 4, 2)


def test_the_places_by_hand(world: World) -> None:
    source = source_of(world)
    pairs = protocol_pairs(source, Episodes(2, 1, 2))
    placed = place_of_supports(source, pairs)
    whole = place_of_category(source, pairs)
    for p, (shown, query) in enumerate(pairs):
        box = source.instances[query].box
        rows = source.by_category[source.instances[query].category_id]
        for k in range(3):
            for found, among in ((placed, shown), (whole, rows)):
                places = []
                for i in among:
                    one = source.instances[i]
                    if one.keypoints[k, 2] > 0:
                        places.append(
                            [(one.keypoints[k, d] - one.box[d]) / one.box[2 + d] for d in (0, 1)]
                        )
                if places:
                    mean = np.mean(places, axis=0)
                    expected = [box[d] + mean[d] * box[2 + d] for d in (0, 1)]
                    np.testing.assert_allclose(found[p, k], expected, atol=1e-3)


def test_what_is_watched_counts_what_all_supports_label(world: World) -> None:
    source = source_of(world)
    data = EpisodeDataset(KeypointDataset(source, crop_size=64), 2)
    batch = collate([data[i] for i in range(len(data))])  # type: ignore[misc]
    truth = np.stack([instance.keypoints[:, :2] for instance in source.instances])
    n = len(truth)
    right = truth.copy()
    right[:, 1] += 1000
    found = Keypoints(
        right,
        np.ones((n, 4)),
        np.array([i.box for i in source.instances]),
        np.ones(n),
        source.skeleton,
    )
    scores = EpisodeScores(source)
    scores.add(found, batch)  # type: ignore[arg-type]
    scores.add(found, batch)  # type: ignore[arg-type]  # of another process, say: counts once
    shown = batch["support_visible"].all(1).numpy()  # type: ignore[typeddict-item]
    counted = shown & np.array([i.keypoints[:, 2] > 0 for i in source.instances])
    expected = [(c.sum() - c[1]) / c.sum() if c.any() else 0.0 for c in counted]
    assert scores.compute()["PCK@0.05"] == pytest.approx(np.mean(expected))
    assert tuple(scores.compute()) == EpisodeScores.names(source)
    assert len(scores.records()) == n


def test_an_example_on_disk_asks_as_in_training(world: World, run: Path) -> None:
    adapter = load_adapter(run / "adapter")
    source = source_of(world)
    crops = KeypointDataset(source, crop_size=64)
    index = source.by_category[7][0]
    instance, plain = source.instances[index], crops[index]
    from genloc.data.coco import read_image

    skeleton = source.skeletons[7]
    support = Support(read_image(instance.file), instance.keypoints[:4], instance.box, skeleton)
    found = look_like(adapter.model, adapter.condition, [support], crop_size=64, padding=1.25)
    with torch.no_grad():
        parts = picture_parts(plain["points"], 64)[None, None]
        expected = adapter.condition(
            features(adapter.model, plain["image"][None]), parts, plain["visible"][None, None]
        )
    torch.testing.assert_close(
        found[:, plain["visible"]], expected[:, plain["visible"]], atol=1e-4, rtol=1e-3
    )
    with pytest.raises(ValueError, match="not by examples"):
        look_like(adapter.model, torch.nn.Identity(), [support], crop_size=64, padding=1.25)
    small = Support(support.image, support.points, (*instance.box[:2], 1.0, 1.0), skeleton)
    with pytest.raises(ValueError, match="outside the box in every support"):
        look_like(adapter.model, adapter.condition, [small], crop_size=64, padding=1.0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data.episodes", "null", "--data.skeleton", "ap10k"), "ap10k"),
        (("--data.skeleton", "slots:3"), "slots:4"),
        (("--data.skeleton", "ap10k"), "slots:K"),
        (("--data.episodes.shots", "8"), "9 instances"),
        (("--model.model.init_args.context", "conditions"), 'context to "null"'),
        (("--model.model.init_args.noise", "true"), "noise to false"),
        (("--model.condition=genloc.conditions.learned.LearnedCondition",), "does not read them"),
    ],
)
def test_a_run_that_cannot_work_is_refused_in_a_sentence(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert main(world.arguments("fit", tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_run_goes_on_with_as_many_shots_only(
    world: World, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = ("--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--data.episodes.shots", "1")
    assert main(world.arguments("fit", tmp_path, *last)) == 2
    assert "goes on with the same data" in capsys.readouterr().err


def test_more_queries_than_there_are_pictures_are_refused(
    world: World, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(world.arguments("test", run.parent, "--data.episodes.queries", "15")) == 2
    assert "data.episodes.queries" in capsys.readouterr().err
