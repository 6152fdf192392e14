"""What stands below a table, and which of its rows and columns look alike in its figure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from genloc.splits import SHOTS
from tests.tools.planning import planner
from tools.paper_tables import parse
from tools.tables import facts
from tools.tables.draw import panels, style
from tools.tables.facts import call, facts_below, protocol
from tools.tables.job import FIT
from tools.tables.results import MEAN_POSE, collect
from tools.tables.rows import configurations, rows, shown
from tools.tables.session import jobs_of


def one_test(row: str, column: str, *lines: str) -> facts.Tested:
    return facts.Tested(row, column, [*lines, "weights: a path", "OKS sigmas: ap10k; NMS: none"], 9)


def of(column: str) -> dict:
    return {"column": column, "trained on": "5 animals"}


def test_what_rows_do_not_share_is_said_with_its_rows() -> None:
    near, far = "flip test: on; decoding: centroid", "flip test: on; decoding: quarter"
    found = protocol(
        [
            one_test("GenLoc", "a", near),
            one_test("SimplePose", "a", far),
            one_test("ViT", "a", far),
        ],
        [of("a")],
    )
    assert found == [
        "OKS sigmas: ap10k; NMS: none",
        f"{near} (GenLoc)",
        f"{far} (SimplePose; ViT)",
        "a: 9 animals or people tested; trained on 5 animals",
    ]
    many = [one_test(row, "a", near if row == "d" else far) for row in "abcdef"]
    assert f"{far} (all rows but d)" in protocol(many, [of("a")])


def test_a_line_that_one_row_lacks_is_not_said_of_all() -> None:
    found = protocol([one_test("GenLoc", "a", "said: yes"), one_test("ViT", "a")], [of("a")])
    assert "said: yes (GenLoc)" in found and "said: yes" not in found


def test_what_columns_do_not_share_is_said_with_them_and_the_side_of_the_crops_once() -> None:
    found = protocol(
        [
            one_test(row, column, f"annotations: {column}.json", f"crops: {n} of 128 pixels")
            for row in ("GenLoc", "ViT")
            for column, n in (("val", 3), ("test", 7))
        ],
        [of("val"), of("test")],
    )
    assert found == [
        "crops: 128 pixels",
        "OKS sigmas: ap10k; NMS: none",
        "val: 9 animals or people tested; annotations: val.json; trained on 5 animals",
        "test: 9 animals or people tested; annotations: test.json; trained on 5 animals",
    ]


def said(table: str, zoo: Path, prior: str, *labels: str) -> list[str]:
    made = planner(table, zoo, prior, rows=labels or None, seeds=(0,))
    return rows(configurations(made.cells({})))


def test_each_row_says_its_files_and_how_it_differs(zoo: Path, prior: str) -> None:
    labels = ("Cross Attention", "HEL = + LoRA = no noise", "Only condition", "noise t=21")
    every, network, *each = said("1", zoo, prior, *labels)
    assert every.startswith("every row, unless it says otherwise: configs/zoo.yaml: ")
    for fact in ("effective_batch 8", "rotation 15", "schedule cosine", "warmup 25", "sigma 1"):
        assert fact in every
    for fact in ("lora (preset all, rank 64, alpha 64)", "timestep 201", "noise false",
                 "context null", "read_out ckhe", "loss HEL", "init text"):  # fmt: skip
        assert fact in network
    for line in (
        "Cross Attention: configs/ablation/cross_attention.yaml: read_out cross, loss HeatmapMSE",
        "HEL = + LoRA = no noise: configs/ablation/hel.yaml",
        "Only condition: configs/ablation/only_condition.yaml: lora null",
        "noise t=21: configs/ablation/noise_21.yaml: timestep 21, noise true",
    ):
        assert line in each


def test_rows_by_single_facts_say_them(zoo: Path, prior: str) -> None:
    labels = (
        "as configured",
        "LoRA: all",
        "LoRA: cross",
        "context: conditions",
        "clean latent, t=1",
    )
    found = said("choices", zoo, prior, *labels)
    assert found[2:] == [
        "LoRA: cross: lora (preset cross, rank 64, alpha 64)",
        "context: conditions: context conditions",
        "clean latent, t=1: timestep 1",
    ]


def test_rivals_say_their_networks(zoo: Path, prior: str) -> None:
    without = "GenLoc without the prior"
    labels = ("GenLoc", f"{without} (LoRA)", f"{without} (all weights)", "SimplePose")
    _, network, *found = said("2", zoo, prior, *labels)
    lines = {line.partition(": ")[0]: line for line in found}
    # Two of three have no prior, so that is what the others are told apart from.
    assert "U-Net of random weights" in network and "train_unet false" in network
    assert lines["GenLoc"] == "GenLoc: U-Net of the prior"
    assert "lora null, train_unet true" in lines[f"{without} (all weights)"]
    assert "simple_pose_small.yaml: class SimplePose, " in lines["SimplePose"]
    assert "widths [32, 64, 128, 256]" in lines["SimplePose"]
    assert "timestep" not in lines["SimplePose"]
    assert rows({}) == []


def test_words_lack_only_what_learned_conditions_have(zoo: Path, prior: str) -> None:
    found = said("words", zoo, prior, "GenLoc", "GenLoc, by words", "SimplePose")
    line = next(line for line in found if "condition TextCondition" in line)
    assert "init null" not in line and "paraphrase" not in found[-1]


def finish(made, runs: Path, tried: Mapping[str, Mapping[float, float]] | None = None):
    """A table whose cells all left made-up numbers, with one rate in `fit.json` whether it acts or not."""
    cells = made.cells({})
    jobs = jobs_of(cells, runs)
    for cell in cells:
        job = jobs[cell.training.name]
        job.metrics(cell.test).parent.mkdir(parents=True)
        numbers = {"AP": 0.5, "instances": 9, "mean_pose": {"AP": 0.01}, "protocol": ["NMS: none"]}
        job.metrics(cell.test).write_text(json.dumps({"test": numbers}))
        ran = {"hardware": "a machine", "threads": 1, "date": "2026-11-28"}
        (job.folder / FIT).write_text(json.dumps({**job.training.about, **ran}))
    return collect(made, cells, jobs, {}, tried or {})


def test_only_rates_that_act_are_said(zoo: Path, prior: str, tmp_path: Path) -> None:
    made = planner("1", zoo, prior, rows=("HEL = + LoRA = no noise", "Only condition"), seeds=(0,))
    found = finish(made, tmp_path)
    lines = [line for line in found.facts if line.startswith("learning rate")]
    assert lines == [
        "learning rate: LoRA 0.0005 (factor B: 10 times that), conditions 0.01 (HEL = + LoRA = no noise)",
        "learning rate: conditions 0.01 (Only condition)",
    ]
    assert [record["rate"] for record in found.records] == [5e-4, None]


def test_whose_labels_chose_the_rates_is_said(zoo: Path, prior: str, tmp_path: Path) -> None:
    tried = {"GenLoc": {2e-4: 40.0, 5e-4: 45.0}}
    rate = "rate of GenLoc chosen by AP on val with the first seed and 10 shots of every species"
    numbers = ": 0.0002: 40.0, 0.0005: 45.0"
    two = planner("2", zoo, prior, rows=("GenLoc",), seeds=(0,))
    assert rate + numbers in finish(two, tmp_path / "2", tried).facts
    labels = ("GenLoc", "GenLoc, by words")
    words = finish(planner("words", zoo, prior, rows=labels, seeds=(0,)), tmp_path / "w", tried)
    also = ", of all families, tested ones, too"
    assert f"{rate}{also}{numbers}; taken as it is by GenLoc, by words" in words.facts


def test_a_row_that_chose_its_rate_does_not_take_one_over(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    labels = ("CKHE = MSE loss", "HEL = + LoRA = no noise", "noise t=21")
    tried = {"CKHE = MSE loss": {2e-4: 30.0, 5e-4: 20.0}, "GenLoc": {2e-4: 40.0, 5e-4: 45.0}}
    found = finish(planner("1", zoo, prior, rows=labels, seeds=(0,)), tmp_path, tried).facts
    of = "chosen by AP on val with the first seed and 10 shots of every species"
    assert f"rate of CKHE = MSE loss {of}: 0.0002: 30.0, 0.0005: 20.0" in found
    (method,) = [fact for fact in found if fact.startswith(f"rate of GenLoc {of}")]
    assert "HEL" in method and "noise t=21" in method and "CKHE = MSE" not in method


def test_each_training_set_has_one_mean_pose(zoo: Path, prior: str, tmp_path: Path) -> None:
    """Also where those of two seeds score the same; and one where all seeds train on the same."""
    few = finish(planner("5", zoo, prior, rows=("ViT",), seeds=(0, 1)), tmp_path / "5")
    assert few.values[MEAN_POSE]["5 shots"]["AP"] == [1.0, 1.0]
    every = finish(planner("2", zoo, prior, rows=("ViT",), seeds=(0, 1)), tmp_path / "2")
    assert every.values[MEAN_POSE]["test"]["AP"] == [1.0]


def test_the_call_comes_first_and_is_one(zoo: Path, prior: str, tmp_path: Path) -> None:
    found = finish(planner("2", zoo, prior, rows=("ViT",), seeds=(3,), steps=9), tmp_path)
    made_by = re.fullmatch("made by `(.*)`", found.facts[0])
    assert made_by
    words = shlex.split(made_by[1])
    assert words[:2] == ["python", "tools/paper_tables.py"]
    given = parse(words[2:])
    assert (given.table, given.on, given.root) == (["2"], "zoo", Path("data/zoo"))
    assert (given.rows, given.seeds, given.steps) == (["ViT"], [3], 9)
    assert given.prior == Path(prior).name and given.unseen_prior is None
    assert "--unseen-prior" in call(planner("6", zoo, prior))
    started = planner(
        "2", zoo, prior, weights={"SimplePose": "microsoft/resnet-50", "ViT": str(tmp_path)}
    )
    assert f"--weights SimplePose=microsoft/resnet-50 ViT={tmp_path.name}" in call(started)
    quick = planner("2", zoo, prior, quick=True)
    assert call(quick).startswith("python tools/paper_tables.py --table 2 --on zoo --quick")
    assert "QUICK" in facts_below(quick, {}, [], [], {})[0]
    assert shown("runs/x") == "runs/x" and shown("/somewhere/x") == "x"


def test_a_prior_that_says_nothing_of_itself_is_named_alone(
    zoo: Path, prior: str, tmp_path: Path
) -> None:
    found = finish(planner("1", zoo, prior, rows=("CKHE = MSE loss",), seeds=(0,)), tmp_path)
    digest = found.records[0]["prior"].partition("@")[2]
    assert f"prior: {Path(prior).name}@{digest}" in found.facts and len(digest) > 8
    everything = json.dumps([found.facts, found.records, found.trainings])
    assert "not known" not in everything and prior not in everything


@pytest.mark.parametrize("table", ["1", "6"])
def test_a_prior_that_has_seen_the_test_families_is_said_to(
    table: str, zoo: Path, tmp_path: Path
) -> None:
    labels = {"1": "CKHE = MSE loss", "6": "GenLoc"}
    made = planner(table, zoo, "tiny", rows=(labels[table],), seeds=(0,))
    text = "\n".join(finish(made, tmp_path).facts)
    assert "the prior tiny@" in text and "families left out: none" in text
    assert ("drawn pictures of every family that is tested" in text) == (table == "6")


def test_a_curve_joins_one_test_set_and_no_two_rows_look_alike() -> None:
    few, val = [f"{n} shots" for n in SHOTS], [f"{n} shots, val" for n in SHOTS]
    assert panels(few + val) == [few, val]
    assert panels(["val", "test"]) == [["val", "test"]]
    looks = [tuple(style(n).values()) for n in range(22)]
    assert len(set(looks)) == 22
    assert len({look[:2] for look in looks}) == 22, "in dots there are no lines"
