"""Every table at one glance: its rows, its columns, how long each row trains and with which seeds.

A *row* is a way to find keypoints, a *column* a set to train on and one to be scored on. Where a row meets a
column there is one training for each seed, and one test of it. Cells that ask for the same training share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from genloc.splits import SHOTS, TABLE_6, few_shot_name, zero_shot_name

PRIOR = "model.model.init_args.prior.init_args"
GENLOC = "model.model.init_args"
# As `genloc.models.lora`, `genloc.models.genloc` and `genloc.conditions.learned` name them, which need torch.
PRESETS = ("cross", "up", "full", "up-all", "all")
LAYERS = ("mean", "finest", "finest-first")
INITS: tuple[Literal["normal", "text"], ...] = ("normal", "text")


@dataclass(frozen=True)
class Method:
    """A way to find keypoints, by overlays below `configs/` over the set's own configuration.

    Args:
        overlays: on drawn animals and crops of 128 pixels. real: on real photographs, where they differ.
        rate: the key of its learning rate. rates: those tried on the zoo (AP on val with the first seed
            decides); real sets take the configuration's, as published.
        takes_weights: whether it can start from trained weights of its own.
        speed: crops trained on in a second on one core (AMD EPYC, crops of 128, nothing else running), the
            start of the estimate until this machine has measured its own.
    """

    overlays: tuple[str, ...] = ()
    real: tuple[str, ...] | None = None
    rate: str = "model.lr"
    rates: tuple[float, ...] = (1e-3,)
    speed: float = 26.0
    takes_weights: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        label: its name; the paper's numbers are found by it (`paper.py`).
        method: of `METHODS`.
        overlays: further overlays below `configs/`.
        facts: further facts, by dotted key; ("of side", x) is a part of the configured crop's side and
            ("of 64", x) a number of cells at 64, scaled with the map. Where it changes the map's size,
            sigma follows unless the row says it.
        test_facts: facts of the test alone, which need no training of their own.
        needs: "unseen" for a row that needs a prior trained without the animals it is tested on: of the zoo's
            alone there can be one.
        own_rate: its rate is chosen by trainings of its own, since another loss or read-out wants another one;
            else it takes its method's.
    """

    label: str
    method: str = "GenLoc"
    overlays: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    test_facts: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    own_rate: bool = False

    @property
    def tuned_as(self) -> str:
        """Whose rate it takes: a method's, or its own by its label."""
        return self.label if self.own_rate else self.method


@dataclass(frozen=True)
class Column:
    """What is trained on (`split`: name of a file of `genloc split`, empty for all) and tested on (`test`: a
    key of the set's `tests`, empty for the split's own test part)."""

    label: str
    split: str = ""
    test: str = "test"


@dataclass(frozen=True)
class Table:
    """Args: what is said above it, its rows, its columns on each set, the scores shown, on each set the
    optimiser steps of a training and the seeds, and overlays below `configs/` over every row on a set."""

    title: str
    rows: tuple[Row, ...]
    columns: Mapping[str, tuple[Column, ...]]
    scores: tuple[str, ...]
    steps: Mapping[str, int]
    seeds: Mapping[str, tuple[int, ...]]
    overlays: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


METHODS: dict[str, Method] = {
    "GenLoc": Method((), rate="model.lr_lora", rates=(2e-4, 3e-4, 5e-4, 8e-4), speed=21),
    "GenLoc without the prior (LoRA)": Method(
        ("baseline/no_prior_lora.yaml",), rate="model.lr_lora", rates=(2e-4, 3e-4, 8e-4), speed=21
    ),
    "GenLoc without the prior (all weights)": Method(
        ("baseline/no_prior_all.yaml",), rates=(4e-4, 1e-3, 3e-3), speed=26
    ),
    "SimplePose": Method(
        ("baseline/simple_pose_small.yaml",), ("baseline/simple_pose.yaml",), rates=(3e-4, 1e-3, 3e-3), speed=75,
        takes_weights=True,
    ),
    "ViT": Method(
        ("baseline/vit_small.yaml",), ("baseline/vit.yaml",), rates=(1e-4, 3e-4, 1e-3), speed=50, takes_weights=True
    ),
    "Convolutions on the prior": Method(
        ("baseline/conv_head_small.yaml",), ("baseline/conv_head.yaml",), rates=(1e-3, 3e-3), speed=45
    ),
}  # fmt: skip

RIVALS = tuple(Row(name, name) for name in METHODS)
# What it is to lack the prior is said by the stronger of the two; both are in Table 2.
FEW_RIVALS = tuple(
    row
    for row in RIVALS
    if row.label not in ("Convolutions on the prior", "GenLoc without the prior (LoRA)")
)
FAMILY_ROWS = (
    Row("GenLoc"),
    Row("GenLoc, prior without the test families", needs="unseen"),
    Row("SimplePose", "SimplePose"),
    Row("ViT", "ViT"),
)  # fmt: skip

FEW = tuple(Column(f"{n} shots", few_shot_name(n, "{seed}")) for n in SHOTS)
FEW_VAL = tuple(Column(f"{n} shots, val", few_shot_name(n, "{seed}"), "val") for n in SHOTS)
FAMILIES = tuple(Column(f"{a} to {b}", zero_shot_name(a, b), "") for a, b in TABLE_6)
ASKED = tuple(c for c in FAMILIES if c.label in ("Bovidae to Canidae", "Canidae to Felidae"))
STYLES = ("photo", "painting", "cartoon", "night", "sketch")
"""Of the zoo; "photo" is what is trained on."""
TEST = (Column("test"),)
BOTH = (Column("val", test="val"), Column("test"))

TABLES: dict[str, Table] = {
    "1": Table(
        "What each part of the method is worth (Table 1)",
        (
            Row("Cross Attention", overlays=("ablation/cross_attention.yaml",), own_rate=True),
            Row("CKHE = MSE loss", overlays=("ablation/mse.yaml",), own_rate=True),
            Row("HEL = + LoRA = no noise", overlays=("ablation/hel.yaml",)),
            Row("Only condition", overlays=("ablation/only_condition.yaml",)),
            Row("noise t=601", overlays=("ablation/noise_601.yaml",)),
            Row("noise t=21", overlays=("ablation/noise_21.yaml",)),
            Row("not in the paper: cross-attention, renormalised, HEL",
                overlays=("ablation/cross_attention_renormalised.yaml",)),
            Row("not in the paper: cross-attention, background token",
                overlays=("ablation/cross_attention_background.yaml",), own_rate=True),
        ),
        {"zoo": TEST, "ap10k": BOTH},
        ("AP", "AP50", "AP75", "APM", "APL"),
        {"zoo": 800, "ap10k": 460},
        {"zoo": (0, 1, 2), "ap10k": (0, 1, 2)},
    ),
    "2": Table(
        "All training pictures (Table 2)",
        RIVALS,
        {"zoo": TEST, "ap10k": BOTH},
        ("AP", "AP50", "AP75", "APM", "APL"),
        {"zoo": 2000, "ap10k": 4600},
        {"zoo": (0,), "ap10k": (0,)},
    ),
    "3": Table(
        "People in photographs (Table 3)",
        (Row("GenLoc"), Row("SimplePose", "SimplePose"), Row("ViT", "ViT")),
        {"coco": (Column("val2017"),)},
        ("AP", "AP50", "AP75", "APM", "APL", "AR"),
        {"coco": 10_486},
        {"coco": (0,)},
    ),
    "4": Table(
        "Trained on one kind of pictures, tested on others (Table 4)",
        (Row("GenLoc"), Row("SimplePose", "SimplePose"), Row("ViT", "ViT")),
        {
            "zoo": tuple(Column(s, test="test" if s == "photo" else s) for s in STYLES),
            "coco": (Column("Human-Art", test="human_art"),),
        },
        ("AP", "AP50", "AP75", "APM", "APL", "AR"),
        {"zoo": 2000, "coco": 10_486},
        {"zoo": (0,), "coco": (0,)},
    ),
    "5": Table(
        "Few labelled pictures of each species (Table 5)",
        FEW_RIVALS,
        {"zoo": FEW, "ap10k": FEW + FEW_VAL},
        ("AP",),
        {"zoo": 590, "ap10k": 460},  # whole rounds of all its shots come to 543 to 592
        {"zoo": (0, 1, 2), "ap10k": (0, 1, 2)},
        {"ap10k": ("protocol/scarcenet.yaml",)},  # the paper's numbers beside are by ScarceNet's sigmas
    ),
    "6": Table(
        "Trained on one family, tested on another (Table 6)",
        FAMILY_ROWS,
        {"zoo": FAMILIES, "ap10k": FAMILIES},
        ("AP", "AP50", "AP75", "AR"),
        {"zoo": 1200, "ap10k": 460},
        {"zoo": (0, 1, 2), "ap10k": (0, 1, 2)},
    ),
    "words": Table(
        "Asked by words on a family that was never trained on (the pairs of KptLLM)",
        (
            Row("GenLoc"),
            Row("GenLoc, by words", overlays=("words/text.yaml",)),
            Row("GenLoc, by words, text encoder learning", overlays=("words/text.yaml", "words/encoder_lora.yaml")),
            Row("SimplePose", "SimplePose"),
        ),
        {"zoo": ASKED, "ap10k": ASKED},
        ("AP", "AP50", "AP75", "APM", "APL", "AR"),
        {"zoo": 600, "ap10k": 460},
        {"zoo": (0, 1, 2), "ap10k": (0, 1, 2)},
    ),
    "choices": Table(
        "What the paper leaves open",
        (
            Row("as configured"),
            *(Row(f"LoRA: {preset}", facts={f"{GENLOC}.lora.preset": preset}) for preset in PRESETS),
            *(Row(f"layers: {layers}", facts={f"{GENLOC}.layers": layers}) for layers in LAYERS),
            *(Row(f"finer: {n}", facts={f"{GENLOC}.finer": n}) for n in (1, 2)),
            *(Row(f"context: {context}", facts={f"{GENLOC}.context": context}) for context in ("conditions", "null")),
            *(Row(f"clean latent, t={t}", facts={f"{GENLOC}.timestep": t}) for t in (1, 201)),
            *(Row(f"conditions from: {init}", facts={"model.condition.init_args.init": init}) for init in INITS),
            *(Row(f"crop: {part:g} of the side", facts={"data.crop_size": ("of side", part)}) for part in (0.5, 1.5)),
            *(Row(f"padding: {padding:g}", facts={"data.padding": padding}) for padding in (1.0, 1.25)),
            *(Row(f"decoding: {d}", test_facts={"model.decoding": d}) for d in ("centroid", "argmax", "quarter")),
            *(Row(f"sigma: {n:g} of 64 cells", facts={"model.sigma": ("of 64", n)}) for n in (1.0, 2.0, 4.0)),
        ),
        {"zoo": TEST, "ap10k": TEST},
        ("AP", "AP50", "AP75", "PCK@0.1"),
        {"zoo": 800, "ap10k": 460},
        {"zoo": (0,), "ap10k": (0,)},
    ),
}  # fmt: skip


class Files(NamedTuple):
    """Published files that a set's splits are made of; of pairs of families, `val` and `test` name the file in
    which the family that is trained on is watched, and that in which the other one is tested."""

    train: str = ""
    val: str = ""
    test: str = ""


NO_FILES = Files()


@dataclass(frozen=True)
class Set:
    """A data set of the tables.

    Args:
        config: below `configs/`.
        root: where its data is looked for unless `--root` says otherwise.
        tests: name -> facts of the test, over the configuration's own test set; files that begin with `..` lie
            beside the root.
        files: that splits are made of.
        facts: of every training.
        tune_on: column whose val AP chooses the rates of the zoo's rows, after `tune_steps`.
    """

    config: str
    root: str
    tests: Mapping[str, Mapping[str, Any]]
    files: Files = NO_FILES
    facts: Mapping[str, Any] = field(default_factory=dict)
    tune_on: Column | None = None
    tune_steps: int = 0


AP10K_FILE = "annotations/ap10k-{}-split1.json"
SETS: dict[str, Set] = {
    "zoo": Set(
        "zoo.yaml",
        "data/zoo",
        {"test": {}}
        | {s: {"data.test.images": f"styles/{s}/data",
               "data.test.annotations": f"styles/{s}/{AP10K_FILE.format('test')}"}
           for s in STYLES if s != "photo"},
        # test-split1 has twice as many pictures as val-split1, on which AP-10K's pairs are tested.
        Files(*(AP10K_FILE.format(part) for part in ("train", "val", "test"))),
        # bf16: a step is a quarter shorter on a CPU with AVX512-BF16. Without the mirrored crop so is a test.
        {"model.schedule": "cosine", "model.warmup": 25, "data.num_workers": 0, "trainer.precision": "bf16-mixed",
         "model.flip_test": False},
        Column("10 shots", few_shot_name(10, "{seed}")),
        1200,
    ),
    "ap10k": Set(
        "ap10k.yaml",
        "data/ap10k",
        {"test": {}, "val": {"data.test.annotations": AP10K_FILE.format("val")}},
        Files(*(AP10K_FILE.format(part) for part in ("train", "val", "val"))),
    ),
    "coco": Set(
        "coco.yaml",
        "data/coco",
        {"test": {}, "human_art": {
            "data.skeleton": "human_art",
            "data.test.annotations": "../HumanArt/annotations/validation_humanart.json",
            "data.test.images": ".."}},
    ),
}  # fmt: skip
