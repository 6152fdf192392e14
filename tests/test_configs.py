"""Every shipped configuration trains and is scored, on sets of a few pixels in the layout it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from genloc.cli import main
from genloc.skeleton import ANIMALPOSE, COCO, Skeleton
from tests.make_categories import write_categories
from tests.make_coco import write_coco
from tests.make_prior import write_folder
from tools.tables.recipe import resolve

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PRIOR = "model.model.init_args.prior.init_args.source"


def split(root: Path, file: str, images: str, skeleton: Skeleton, prefix: str = "") -> None:
    """A set whose json is `root/file` and whose pictures are in `root/images`."""

    def rename(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["file_name"] = prefix + image["file_name"]

    (root / file).parent.mkdir(parents=True, exist_ok=True)
    write_coco(root, images=4, skeleton=skeleton, name=file, change=rename)
    (root / images).parent.mkdir(parents=True, exist_ok=True)
    if images != "images" and not (root / images).exists():
        (root / images).symlink_to(root / "images", target_is_directory=True)


def ap10k(root: Path) -> None:
    from genloc.skeleton import AP10K

    for part in ("train", "val", "test"):
        split(root, f"annotations/ap10k-{part}-split1.json", "data", AP10K)


def coco(root: Path) -> None:
    for part in ("train2017", "val2017"):
        split(root, f"annotations/person_keypoints_{part}.json", part, COCO)


def human_art(root: Path) -> None:
    coco(root / "coco")
    file = "HumanArt/annotations/validation_humanart.json"
    split(root, file, "HumanArt/images", COCO, prefix="HumanArt/images/")


def animalpose(root: Path) -> None:
    split(root, "annotations/coco_keypoints.json", "images", ANIMALPOSE, prefix="images/")
    shots = {"5": {"dog": [101]}, "20": {"dog": [101]}, "40": {"dog": [101, 102]}}
    (root / "annotations" / "few_shot.json").write_text(json.dumps({"shots": shots}))
    (root / "annotations" / "splits.json").write_text(json.dumps({"test": [3, 4]}))


def visual(root: Path) -> None:
    for part in ("train", "val", "test"):
        write_categories(root, name=f"annotations/mp100_split1_{part}.json")


def own_data(root: Path) -> None:
    write_coco(root, images=4)
    (root / "mine.yaml").write_text("data: {annotations: annotations.json}")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "quickstart": ap10k,
    "zoo": ap10k,
    "ap10k": ap10k,
    "coco": coco,
    "human_art": human_art,
    "animalpose": animalpose,
    "visual": visual,
    "own_data": own_data,
    "language": ap10k,
}


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("prior"))


def small(root: Path, prior: Path, runs: Path) -> list[str]:
    """What makes any configuration a matter of a second."""
    return [
        *("--data.root", str(root), f"--{PRIOR}", str(prior), "--runs", str(runs)),
        *("--data.crop_size", "64", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
        *("--trainer.fast_dev_run", "true", "--trainer.enable_progress_bar", "false"),
    ]


def test_every_configuration_has_a_layout_here() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == LAYOUTS.keys()


@pytest.mark.parametrize("name", LAYOUTS)
def test_configuration_trains_and_is_scored(
    name: str, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # a cache may lie below the current folder
    LAYOUTS[name](tmp_path / "data")
    arguments = ["--config", str(CONFIGS / f"{name}.yaml")]
    if (tmp_path / "data" / "mine.yaml").is_file():
        arguments += ["--config", str(tmp_path / "data" / "mine.yaml")]
    arguments += small(tmp_path / "data", prior, tmp_path / "runs")
    assert main(["fit", *arguments]) == 0
    scored = "validate" if name == "own_data" else "test"
    assert main([scored, *arguments, "--ckpt_path", "none"]) == 0
    assert not list(tmp_path.glob("runs/*/*")), "a trial leaves nothing behind"


@pytest.mark.parametrize("overlay", sorted(path.stem for path in CONFIGS.glob("ablation/*.yaml")))
def test_row_of_table_1_trains_over_a_configuration(
    overlay: str, prior: Path, tmp_path: Path
) -> None:
    ap10k(tmp_path / "data")
    row = CONFIGS / "ablation" / f"{overlay}.yaml"
    assert len(row.read_text().splitlines()) <= 8
    arguments = ["--config", str(CONFIGS / "zoo.yaml"), "--config", str(row)]
    assert main(["fit", *arguments, *small(tmp_path / "data", prior, tmp_path / "runs")]) == 0


@pytest.mark.parametrize("overlay", sorted(path.stem for path in CONFIGS.glob("baseline/*.yaml")))
def test_baseline_trains_and_is_scored_over_a_configuration(
    overlay: str, prior: Path, tmp_path: Path
) -> None:
    ap10k(tmp_path / "data")
    row = CONFIGS / "baseline" / f"{overlay}.yaml"
    arguments = ["--config", str(CONFIGS / "zoo.yaml"), "--config", str(row)]
    arguments += small(tmp_path / "data", prior, tmp_path / "runs")
    if overlay.startswith(("simple_pose", "vit")):  # they have no prior to name
        start = arguments.index(f"--{PRIOR}")
        del arguments[start : start + 2]
    if overlay == "vit":  # 86 M parameters are slow to make
        arguments += ["--model.model.init_args.depth", "1"]
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments, "--ckpt_path", "none"]) == 0


# Protocol -> the configuration that it is laid over.
PROTOCOLS = {
    "ap10k": "ap10k",
    "scarcenet": "ap10k",
    "zero_shot": "ap10k",
    "coco": "coco",
    "coco_detections": "coco",
    "human_art": "human_art",
    "animalpose": "animalpose",
}


def test_every_protocol_has_its_configuration_here() -> None:
    assert {path.stem for path in CONFIGS.glob("protocol/*.yaml")} == PROTOCOLS.keys()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocol_trains_and_is_scored_over_its_configuration(
    protocol: str, prior: Path, tmp_path: Path
) -> None:
    """Numbers and real pictures are those of test_protocols.py; here it is the whole model."""
    LAYOUTS[PROTOCOLS[protocol]](tmp_path / "data")
    if protocol == "coco_detections":
        box = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 30, 20], "score": 0.7}
        place = tmp_path / "data" / "person_detection_results"
        place.mkdir()
        (place / "COCO_val2017_detections_AP_H_56_person.json").write_text(json.dumps([box]))
    arguments = ["--config", str(CONFIGS / f"{PROTOCOLS[protocol]}.yaml")]
    arguments += ["--config", str(CONFIGS / "protocol" / f"{protocol}.yaml")]
    arguments += small(tmp_path / "data", prior, tmp_path / "runs")
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments, "--ckpt_path", "none"]) == 0


@pytest.mark.parametrize("overlay", sorted(path.stem for path in CONFIGS.glob("words/*.yaml")))
def test_words_train_and_are_scored_over_a_configuration(
    overlay: str, prior: Path, tmp_path: Path
) -> None:
    layout = "coco" if overlay.endswith("coco") else "zoo"
    LAYOUTS[layout](tmp_path / "data")
    rows = [CONFIGS / "words" / f"{name}.yaml" for name in dict.fromkeys(("text", overlay))]
    arguments = ["--config", str(CONFIGS / f"{layout}.yaml")]
    arguments += [word for row in rows for word in ("--config", str(row))]
    arguments += small(tmp_path / "data", prior, tmp_path / "runs")
    if overlay.startswith("held_out"):
        assert main(["fit", *arguments]) == 2, "words alone hold nothing out"
        arguments += ["--data.split", held_out_split(layout, rows[-1], tmp_path)]
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments, "--ckpt_path", "none"]) == 0


def held_out_split(layout: str, overlay: Path, folder: Path) -> str:
    """A split that holds out the labels of what an overlay of words holds out."""
    given = resolve([CONFIGS / f"{layout}.yaml"], {})["data"]
    files = [str(folder / "data" / given[name]["annotations"]) for name in ("train", "test", "val")]
    held = yaml.safe_load(overlay.read_text())["model"]["condition"]["init_args"]["held_out"]
    command = ["split", "held-out", *files[:2], "--val", files[2], "--skeleton", given["skeleton"]]
    out = str(folder / "held_out.json")
    assert main([*command, "--keypoints", *held, "--out", out]) == 0
    return out


@pytest.mark.parametrize("overlay", sorted(path.stem for path in CONFIGS.glob("visual/*.yaml")))
def test_examples_are_asked_for_on_the_real_prior(
    overlay: str, prior: Path, tmp_path: Path
) -> None:
    """Without visual/*.yaml the real prior's overlay reads as published, which examples cannot."""
    visual(tmp_path / "data")
    rows = [CONFIGS / "visual.yaml", CONFIGS / "prior" / "sd15.yaml"]
    files = [*rows, CONFIGS / "visual" / f"{overlay}.yaml"]
    arguments = [word for row in files for word in ("--config", str(row))]
    arguments += small(tmp_path / "data", prior, tmp_path / "runs")
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments, "--ckpt_path", "none"]) == 0
    laid = resolve(files, {})
    assert (laid["data"]["crop_size"], laid["data"]["skeleton"]) == (512, "slots:100")
    given = laid["model"]["model"]["init_args"]
    assert given["prior"]["init_args"]["source"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert all(given[name] == PUBLISHED[name] for name in PUBLISHED if name != "context")


def test_examples_are_asked_for_by_the_measured_recipe() -> None:
    """What `benchmarks/example.py` measures is what the configuration trains."""
    from benchmarks import episodes, example

    a, given = example.parse([]), yaml.safe_load((CONFIGS / "visual.yaml").read_text())
    model, data = given["model"], given["data"]
    args = model["model"]["init_args"]
    assert args["lora"] == {"preset": a.lora, "rank": a.rank, "alpha": a.rank}
    assert (args["layers"], args["finer"], args["timestep"]) == (a.layers, a.finer, a.timestep)
    assert model["lr_lora"] in a.rates
    assert (model["lr_condition"], model["lora_ratio"]) == (a.lr_condition, a.lora_ratio)
    assert (model["sigma"], data["crop_size"]) == (a.sigma * a.finer, a.crop_size)
    assert (data["effective_batch"], data["episodes"]["shots"]) == (a.batch, a.train_shots)
    assert (model["schedule"], model["warmup"]) == ("cosine", 50)
    assert given["trainer"]["gradient_clip_val"] == episodes.CLIP


LANGUAGE = ["language.yaml", "language/sd15.yaml", "language/vicuna.yaml"]  # in this order


@pytest.mark.parametrize("overlay", sorted(path.stem for path in CONFIGS.glob("language/*.yaml")))
def test_language_models_train_and_are_scored_over_a_configuration(
    overlay: str, prior: Path, tmp_path: Path
) -> None:
    from tests.language.make_language import write_decoder

    ap10k(tmp_path / "data")
    rows = LANGUAGE[: LANGUAGE.index(f"language/{overlay}.yaml") + 1]
    arguments = [word for row in rows for word in ("--config", str(CONFIGS / row))]
    arguments += small(tmp_path / "data", prior, tmp_path / "runs")
    if overlay == "vicuna":
        decoder = "--model.model.init_args.decoder.init_args.source"
        arguments += [decoder, str(write_decoder(tmp_path / "vicuna"))]
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments, "--ckpt_path", "none"]) == 0


def test_a_language_model_s_overlays_give_locllm_s_numbers_on_stable_diffusion() -> None:
    laid = resolve([CONFIGS / row for row in LANGUAGE], {})
    data, model = laid["data"], laid["model"]
    inside = model["model"]["init_args"]
    assert data["crop_size"] == 512 and inside.get("tokens", 256) == 256
    assert inside["prior"]["init_args"]["source"].endswith("stable-diffusion-v1-5")
    assert (inside["timestep"], inside["rounds"], inside["together"]) == (1, 5, True)
    # arXiv:2406.04659's published training script
    assert (laid["trainer"]["max_epochs"], data["effective_batch"]) == (12, 64)
    assert (model["lr"], model["lr_lora"], model["weight_decay"]) == (5e-4, 5e-4, 0.05)
    assert (data["padding"], model["schedule"]) == (1.0, "cosine")
    drawn = data["augmentation"]
    assert (drawn["flip"], drawn["rotation_p"], drawn["scale"]) == (0.5, 0.5, 0.3)
    assert 2 * drawn["rotation"] == 40  # where the normal angle is cut
    lora = inside["decoder"]["init_args"]["lora"]
    assert (lora["rank"], lora["alpha"], lora["dropout"]) == (8, 16, 0.05)


PUBLISHED = {
    "context": "conditions", "timestep": 1, "lora": {"preset": "cross", "rank": 16, "alpha": 16},
    "layers": "mean", "finer": 1,
}  # fmt: skip


def test_the_real_prior_s_overlay_keeps_what_it_does_not_name(prior: Path, tmp_path: Path) -> None:
    own_data(tmp_path / "data")
    arguments = ["--config", str(CONFIGS / "own_data.yaml")]
    arguments += ["--config", str(tmp_path / "data" / "mine.yaml")]
    arguments += ["--config", str(CONFIGS / "prior" / "sd15.yaml")]
    assert main(["fit", *arguments, *small(tmp_path / "data", prior, tmp_path / "runs")]) == 0
    files = [CONFIGS / "own_data.yaml", CONFIGS / "prior" / "sd15.yaml"]
    laid = resolve(files, {"data.annotations": "mine.json"})["model"]
    # Nothing of the built-in prior's recipe is left in the published model.
    published = yaml.safe_load((CONFIGS / "ap10k.yaml").read_text())["model"]
    for name in ("context", "timestep", "lora", "layers", "finer"):
        assert laid["model"]["init_args"][name] == PUBLISHED[name], name
        assert published["model"]["init_args"].get(name, PUBLISHED[name]) == PUBLISHED[name], name
    assert (laid["lr_lora"], laid["lora_ratio"], laid.get("sigma")) == (1e-3, 1, None)


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("ap10k", 100), ("coco", 14), ("human_art", 14), ("ablation/ten_epochs", 10)],
)
def test_the_paper_s_recipe_is_in_its_configurations(name: str, epochs: int) -> None:
    given = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    assert given["trainer"]["max_epochs"] == epochs
    if name.startswith("ablation"):
        return
    assert given["data"]["effective_batch"] == 200
    assert given["data"]["crop_size"] == 512
    model = given["model"]
    assert (model["lr_condition"], model["lr_lora"]) == (1e-2, 1e-3)
    assert model["model"]["init_args"]["lora"] == {"preset": "cross", "rank": 16, "alpha": 16}
    assert model["flip_test"] is True
