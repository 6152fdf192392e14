"""A localizer trained on one data set's keypoints, asked for another's by name.

    genloc fit --config configs/coco.yaml --config configs/words/text.yaml
    python -m benchmarks.elsewhere --adapter runs/coco/adapter --descriptions mpii \\
        --annotations data/mpii/val.json --images data/mpii/images --ask pelvis upper_neck

The annotations are a COCO keypoints json of the other set. Each asked keypoint is scored by its name, by
its whole description, and by the answer to the trained keypoint that is right most often: no copying of
one trained keypoint can do better.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.utils.data import DataLoader

from genloc.adapter import Adapter, load_adapter
from genloc.conditions.descriptions import load_descriptions
from genloc.conditions.text import ask
from genloc.data.batch import KeypointDataset, collate
from genloc.data.coco import CocoKeypoints
from genloc.inference import localize
from genloc.metrics.pck import pck
from genloc.skeleton import load_skeleton


@torch.no_grad()
def answers(
    adapter: Adapter, source: CocoKeypoints, phrases: Sequence[str], device: str, batch: int
) -> np.ndarray:
    """Where each phrase is found in each instance, [N, n, 2] in image pixels."""
    condition, skeleton = ask(adapter.condition, phrases)
    adapter.model.to(device).eval()
    asked = condition().to(device)
    crops = KeypointDataset(
        source, crop_size=adapter.recipe["crop_size"], padding=adapter.recipe["padding"]
    )
    parts = []
    for one in track(DataLoader(crops, batch, collate_fn=collate), description="asking"):
        found = localize(
            adapter.model(one["image"].to(device), asked),
            one["to_image"],
            one["box"],
            crop_size=crops.crop_size,
            skeleton=skeleton,
            decoding=adapter.recipe["decoding"],
        )
        parts.append(found.xy)
    return np.concatenate(parts)


def scores(
    adapter: Adapter,
    source: CocoKeypoints,
    names: Sequence[str],
    descriptions: str | None,
    *,
    threshold: float = 0.1,
    device: str = "cpu",
    batch: int = 8,
) -> dict[str, dict[str, float]]:
    """For each asked keypoint PCK "by name", "described" and of the "best trained" keypoint, 0 to 1.

    Raises:
        ValueError: the annotations have no such keypoint, or none of it is labelled.
    """
    rows = [source.skeleton.index(name) for name in names]
    said = load_descriptions(descriptions, source.skeleton)
    trained = list(adapter.condition.phrases)
    every = [*trained, *(p for name in names for p in (said[name].names[0], said[name].full))]
    every = list(dict.fromkeys(every))
    found = answers(adapter, source, every, device, batch)
    boxes = np.array([instance.box for instance in source.instances])
    result = {}
    for name, row in zip(names, rows, strict=True):
        truth = np.array([instance.keypoints[[row]] for instance in source.instances])
        if not (truth[..., 2] > 0).any():
            raise ValueError(f"--ask {name}: {source.annotations} labels none")
        share = {p: pck(found[:, [i]], truth, boxes, threshold) for i, p in enumerate(every)}
        best = max(trained, key=share.__getitem__)
        result[name] = {
            "by name": share[said[name].names[0]],
            "described": share[said[name].full],
            f"best trained: {best}": share[best],
        }
    return result


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--adapter", type=Path, required=True, help="trained with configs/words/text.yaml")
    add("--annotations", type=Path, required=True, help="COCO keypoints json of the other set")
    add("--images", type=Path, required=True)
    add("--skeleton", help="of the other set; its own names if left out")
    add(
        "--descriptions",
        help="a yaml, or a file of the package; by the skeleton's name if left out",
    )
    add("--ask", nargs="+", required=True, metavar="KEYPOINT", help="names in that json")
    add("--threshold", type=float, default=0.1, help="of PCK, in parts of the box's longer side")
    add("--batch", type=int, default=8)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--out", type=Path, help="json to write")
    a = parser.parse_args(argv)
    skeleton = load_skeleton(a.skeleton or a.annotations)
    source = CocoKeypoints(a.annotations, a.images, skeleton=skeleton, missing_images="drop")
    print(source.summary())
    found = scores(
        load_adapter(a.adapter), source, a.ask, a.descriptions,
        threshold=a.threshold, device=a.device, batch=a.batch,
    )  # fmt: skip
    for name, row in found.items():
        numbers = ", ".join(f"{what} {100 * value:.1f}" for what, value in row.items())
        print(f"{name}: PCK@{a.threshold:g} {numbers}")
    if a.out is not None:
        a.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
