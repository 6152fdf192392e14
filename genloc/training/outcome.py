"""What a run leaves behind: the adapter after `fit`; table, numbers and results after `test` or `validate`."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from genloc import __version__
from genloc.adapter import FACTS_FILE, AdapterError, refresh_card, save_adapter, switches_of
from genloc.card import STEPS, prior_has_seen
from genloc.conditions.saved import can_be_saved
from genloc.data.coco import CocoKeypoints
from genloc.metrics.evaluate import evaluate, sigmas_name
from genloc.metrics.folders import folder_scores
from genloc.metrics.mean_pose import mean_pose
from genloc.metrics.table import Protocol, table_console
from genloc.models.genloc import GenLoc
from genloc.training.checkpoints import checkpoint_path
from genloc.training.data import KeypointData
from genloc.training.module import KeypointModule
from genloc.training.resume import check_names, read_checkpoint, trainable_state
from genloc.training.scoring import Scoring
from genloc.training.sets import open_split

METRICS = "metrics.json"
RECORD = "record-{}.npz"
"""Of each evaluated set, for `genloc report`."""
WATCHED = "val, while training, no flip test"
"""What an adapter calls the numbers that chose its weights."""


def load_best(module: KeypointModule, run: Path) -> Path | None:
    """Give the module the weights of the best checkpoint, or of the last where nothing was validated.

    Returns:
        the checkpoint; None where there is none.
    """
    path = checkpoint_path(run, "best")
    if not path.is_file():
        path = checkpoint_path(run, "last")
    if not path.is_file():
        return None
    checkpoint = read_checkpoint(path)
    check_names(checkpoint["state_dict"], trainable_state(module))
    module.load_state_dict(checkpoint["state_dict"], strict=False)
    return path


def write_adapter(module: KeypointModule, data: KeypointData, run: Path, path: Path) -> None:
    """Write `<run>/adapter` from the checkpoint `path`, whose weights the module has.

    A baseline has no adapter: its checkpoints are all there is.
    """
    checkpoint = read_checkpoint(path)
    model, condition = module.model, module.condition
    print(f"trained: {path}")
    save = getattr(model, "save_adapter", None)  # a model that knows how
    if save is None and not (isinstance(model, GenLoc) and can_be_saved(condition)):
        return
    if getattr(model, "train_unet", False):
        return
    position = checkpoint["position"]
    facts: dict[str, Any] = {
        "skeleton": data.skeleton,
        "recipe": recipe(module, data)
        | {"epoch": position["epoch"], STEPS: position["global_step"]},
        "metrics": _watched(checkpoint.get("metrics", {}), data),
    }
    if save is not None:
        save(run / "adapter", **facts)
    else:
        save_adapter(run / "adapter", model=model, condition=condition, **facts)
    print(f"adapter: {run / 'adapter'}")


def _watched(metrics: dict[str, Any], data: KeypointData) -> dict[str, Any]:
    """What was measured while training, said to be that: `KeypointModule` makes no flip test then."""
    if not metrics:
        return {}
    source = data.sources["val"]
    return {
        WATCHED: {
            "annotations": f"{source.annotations.name} (sha256 {source.checksum})",
            **{name.removeprefix("val/"): _plain(value) for name, value in metrics.items()},
        }
    }


def recipe(module: KeypointModule, data: KeypointData) -> dict[str, Any]:
    """How the localizer was trained and is to be used, in plain values."""
    return {
        "crop_size": data.crop_size,
        "padding": data.padding,
        "decoding": module.decoding,
        "flip_test": module.flip_test and data.skeleton.tells_sides,
        "loss": type(module.loss).__name__,
        "sigma": module.sigma,
        "effective_batch": data.effective_batch,
        "least_steps": data.least_steps,
        **module.rates,
        "schedule": module.schedule,
        "seed": module.seed,
        "training_set": data.sources["train"].annotations.name if "train" in data.sources else None,
        "training_set_sha256": data.sources["train"].checksum if "train" in data.sources else None,
        "training_crops": len(data.sources["train"].instances) if "train" in data.sources else None,
    }


def write_outcome(
    module: KeypointModule,
    data: KeypointData,
    run: Path,
    name: str,
    records: list[dict[str, Any]],
    checkpoint: Path | None,
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
) -> None:
    """Score the results of the set `name` ("val" or "test"), print the table and write the numbers.

    `<run>/metrics.json` keeps one entry for each set; `<run>/results-<name>.json` is what `genloc evaluate`
    reads.
    """
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / f"results-{name}.json", records)  # first: what cannot be scored is not lost
    source = data.sources[name]
    trained_on = data.training_source()
    truth = source.ground_truth()
    first = scoring.first
    rules: dict[str, Any] = {"nms": scoring.nms}
    result = evaluate(
        records,
        truth,
        data.skeleton,
        sigmas=first,
        pose=None if trained_on is None else mean_pose(trained_on.instances),
        **rules,
        protocol=Protocol(
            annotations=str(source.annotations),
            checksum=source.checksum,
            boxes="ground truth" if source.box_scores is None else _detections(data, name),
            padding=str(data.padding),
            flip_test=_flip_test(module, data),
            decoding=module.decoding,
            sigmas=sigmas_name(data.skeleton, first),
            nms=_nms(source, scoring),
            more=_more(module, data, name, checkpoint, records),
        ),
        remarks=source.remarks(),
    )
    other_sigmas = {
        sigmas: evaluate(records, truth, data.skeleton, sigmas=sigmas, **rules).scores
        for sigmas in scoring.sigmas[1:]
    }
    folders = {}
    if scoring.per_folder:
        pose = result.mean_pose_results
        folders = folder_scores(
            records, truth, data.skeleton, mean_pose=pose, sigmas=first, **rules
        )
    path = run / METRICS
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept[name] = {
        **{key: _plain(value) for key, value in result.scores.items()},
        "mean_pose": {
            "of": result.mean_pose_of,
            **{key: _plain(value) for key, value in result.mean_pose.items()},
        },
        **({"other_sigmas": _plain(other_sigmas)} if other_sigmas else {}),
        **({"per_folder": _plain(folders)} if folders else {}),
        "protocol": result.protocol.lines(),
        "notes": list(result.notes),
        "instances": len(source.instances),
        STEPS: steps_of(checkpoint),
        "genloc": __version__,
    }
    write_json(path, kept)
    renew_card(run, kept)
    more = {f"{run.name}, sigmas {sigmas}": scores for sigmas, scores in other_sigmas.items()}
    console = table_console()
    console.print(result.table(f"{run}: {name}", run.name, more).rich())
    if folders:
        console.print(result.folder_table(folders).rich())
    for written in (
        path,
        run / f"results-{name}.json",
        run / RECORD.format(name),
        run / "overlays.png",
        run / "adapter",
    ):
        if written.exists():
            print(written)


def steps_of(checkpoint: Path | None) -> int | None:
    """After which optimiser step a checkpoint was written; None for no training."""
    return None if checkpoint is None else read_checkpoint(checkpoint)["position"]["global_step"]


def renew_card(run: Path, outcome: dict[str, Any]) -> None:
    """Bring what a run's `metrics.json` now holds onto the card of its adapter, where it has one."""
    if not (run / "adapter" / FACTS_FILE).is_file():
        return
    try:
        refresh_card(run / "adapter", outcome)
    except AdapterError as error:  # the numbers are good all the same
        print(f"the model card stays as it was: {error}")


def _more(
    module: KeypointModule,
    data: KeypointData,
    name: str,
    checkpoint: Path | None,
    records: list[dict[str, Any]],
) -> dict[str, str]:
    spec = data.specs[name]
    more = {"crops": f"{len(data.sources[name].instances)} of {data.crop_size} pixels"}
    if spec is not None and spec.selection():
        more["only"] = spec.selection()
    for used in ("train", name):
        spec = data.specs[used]
        if spec is not None and spec.split is not None:
            title = open_split(spec.split, data.root).title()
            more["split" if used == name else "split of the training set"] = title
    if held := data.held_out():
        more["held out of training"] = f"{', '.join(held)}; " + (
            "the others are scored" if name == "val" else "these alone are scored"
        )
    if checkpoint is None:
        more["weights"] = "not trained"
    else:
        crops = read_checkpoint(checkpoint)["trained_on"]["crops"]
        more["weights"] = f"{checkpoint}, after step {steps_of(checkpoint)} on {crops} crops"
    if callable(said := getattr(module.model, "protocol", None)):
        more |= said(records)
    if hasattr(module.model, "read_out"):
        switches = switches_of(module.model).items()
        more["maps"] = ", ".join(f"{name} {value}" for name, value in switches)
    if hasattr(module.model, "prior"):
        more["prior"] = module.model.prior.fingerprint()
        if seen := prior_has_seen(module.model.prior.source):
            more["prior has seen"] = seen
    return more


def _flip_test(module: KeypointModule, data: KeypointData) -> str:
    if module.flip_test and not data.skeleton.tells_sides:
        return "off (no flip pairs are known)"
    return "on" if module.flip_test else "off"


def _detections(data: KeypointData, name: str) -> str:
    spec = data.specs[name]
    return f"detections of {spec.detections}" if spec is not None else "detections"


def _nms(source: CocoKeypoints, scoring: Scoring) -> str:
    if source.box_scores is None:
        return "none, one result for each box"
    return "none" if scoring.nms is None else f"OKS {scoring.nms}"


def _plain(value: Any) -> Any:
    """For json, which has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def write_json(path: Path, content: Any) -> None:
    """Write a json file, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
