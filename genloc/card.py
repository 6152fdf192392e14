"""The model card of an adapter: what it finds, on which weights, how well and under which protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

ASSETS = Path(__file__).resolve().parent / "assets"
TEMPLATE = ASSETS / "adapter_card.md"

PRIOR_LICENCES = {
    "tiny": ("apache-2.0", "Apache-2.0, as the rest of GenLoc"),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": (
        "creativeml-openrail-m",
        "CreativeML Open RAIL-M, whose restrictions of use an adapter inherits "
        "(https://huggingface.co/spaces/CompVis/stable-diffusion-license)",
    ),
}
"""Source of a prior -> (its licence as the hub calls it, in words)."""

UNTESTED = "Not scored yet; `genloc test` puts its table here.\n\n"
STEPS = "steps"
"""In an adapter's recipe and in each set of `metrics.json`: after which optimiser step the weights were taken."""


def prior_training(source: str) -> dict[str, Any]:
    """The `training.json` beside a prior's weights: what it has seen, and how much of it.

    Args:
        source: "tiny" or a diffusers folder, as `Prior` takes it.

    Returns:
        the file's content; empty where none can be read, as for any prior that GenLoc did not make.
    """
    folder = ASSETS / "tiny_prior" if source == "tiny" else Path(source).expanduser()
    try:
        facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def prior_has_seen(source: str) -> str:
    """What a prior was shown and told, in one sentence without its end; empty where that is not known."""
    return str(prior_training(source).get("seen", ""))


def model_card(facts: Mapping[str, Any], outcome: Mapping[str, Any] | None = None) -> str:
    """The card as Markdown, with the front matter that the hub reads.

    Args:
        facts: the adapter's `genloc.yaml`.
        outcome: of the run's `metrics.json` what `own_numbers` keeps: per set the numbers, those of the mean
            pose and the protocol. Without it the card shows what the adapter was saved with.
    """
    source, names = facts["prior"]["source"], facts["skeleton"]["keypoints"]
    licence, words_of_licence = PRIOR_LICENCES.get(
        source, ("other", f"not known to GenLoc; ask where `{source}` came from")
    )
    head: dict[str, Any] = {
        "library_name": "genloc",
        "tags": ["keypoint-detection", "lora", "diffusers"],
        "license": licence,
    }
    if is_hub_id(source):
        head["base_model"] = source
    seen = prior_has_seen(source)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        head=yaml.safe_dump(head, sort_keys=False),
        skeleton=facts["skeleton"]["name"],
        count=len(names),
        names=", ".join(names),
        source=source,
        fingerprint=facts["prior"]["fingerprint"],
        note=f" This prior has seen {seen}." if seen else "",
        licence=words_of_licence,
        version=facts["genloc"],
        results=_results(outcome) if outcome else UNTESTED + _table(facts["metrics"]),
        recipe=_table(facts["recipe"]),
        model=_table(facts["model"]),
    )


def own_numbers(facts: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's `metrics.json` the sets that were scored with the weights of this adapter of it."""
    steps = facts["recipe"].get(STEPS)
    return {
        name: kept
        for name, kept in outcome.items()
        if steps is not None and kept.get(STEPS) == steps
    }


def is_hub_id(source: str) -> bool:
    """Whether a source reads "owner/name"."""
    return source.count("/") == 1 and not source.startswith((".", "~", "/")) and "\\" not in source


def _results(outcome: Mapping[str, Any]) -> str:
    """Each set's table: the numbers, what they are to be compared with beside them, and below it the protocol."""
    parts = []
    for name, kept in outcome.items():
        beside = dict(kept.get("beside", {}))  # of a run that asks by examples
        if not beside and (pose := kept.get("mean_pose")):
            beside[f"mean pose of {pose.get('of', 'the training set')}"] = pose
        numbers = [key for key, value in kept.items() if isinstance(value, float)]
        count = f", {kept['instances']} instances" if "instances" in kept else ""
        parts.append(f"On `{name}`{count}:\n")
        parts.append("| | " + " | ".join(["this adapter", *beside]) + " |")
        parts.append("|---|" + "---:|" * (1 + len(beside)))
        for key in numbers:
            values = [_percent(row.get(key)) for row in (kept, *beside.values())]
            parts.append(f"| {key} | " + " | ".join(values) + " |")
        parts.append("")
        lines = (*kept.get("protocol", ()), *kept.get("notes", ()))
        parts += [f"- {_without_folders(line)}" for line in lines]
        parts.append("")
    return "\n".join(parts).rstrip()


def _without_folders(line: str) -> str:
    """A line in which files have their names alone: where they lie on this machine says nothing to others."""
    return re.sub(r"(?:(?<=\s)|^)(?:[A-Za-z]:)?[\\/](?=\S)(?:[^\\/\n;,()]+[\\/])+", "", line)


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, float) else "-"


def _table(values: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {value} |" for name, value in _rows(values)]
    return "\n".join(["| | |", "|---|---|", *lines])


def _rows(values: Mapping[str, Any], start: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{start}{name} / ")
        else:
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            rows.append((f"{start}{name}", text.replace("|", "\\|").replace("\n", " ")))
    return rows
