"""A localizer trained on one data set's keypoints, asked for another's by name.

    genloc fit --config configs/coco.yaml --config configs/words/text.yaml --name coco_words
    genloc import data/mpii/mpii_human_pose_v1_u12_1.mat data/mpii/labels.json
    python -m benchmarks.elsewhere --adapter runs/coco_words/adapter --descriptions mpii \\
        --annotations data/mpii/labels.json --images data/mpii --ask pelvis upper_neck

The annotations are a COCO keypoints json of the other set. Each asked keypoint is scored by its name and by
its whole description, beside (a) the answer to the trained keypoint that the text encoder thinks nearest and to
the one that is right most often (no copying of one trained keypoint can do better), and (b) the answer to the
asked names with their words dealt out anew. PCK is at 0.1 of the box; where the annotations have `head_size`
(MPII's .mat, by `genloc import`), PCKh@0.5 as well: within half of 0.6 x the diagonal of the head's rectangle.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.utils.data import DataLoader

from benchmarks.asked import nearest_by_words, shuffled_words
from genloc.adapter import Adapter, load_adapter
from genloc.conditions.descriptions import load_descriptions
from genloc.conditions.text import ask
from genloc.data.batch import KeypointDataset, collate
from genloc.data.coco import CocoKeypoints
from genloc.inference import localize
from genloc.metrics.pck import pck, pckh
from genloc.skeleton import load_skeleton

Measure = Callable[[np.ndarray, np.ndarray], float]  # found [N, 1, 2], labels [N, 1, 3]


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
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure -> asked keypoint -> way of asking -> share, 0 to 1.

    The ways are "by name", "described", "nearest by words: NAME", "best trained: NAME" and, where two or more are
    asked that differ in their words, "shuffled words" (mean over the draws).

    Raises:
        ValueError: the annotations have no such keypoint, or none of it is labelled.
    """
    rows = [source.skeleton.index(name) for name in names]
    said = load_descriptions(descriptions, source.skeleton)
    asked = [said[name].names[0] for name in names]
    trained = list(adapter.condition.phrases)
    embedded = adapter.model.prior.text([*trained, *asked], adapter.condition.pool)
    n = len(trained)
    near = nearest_by_words(embedded, range(n, n + len(asked)), range(n))
    mixed = shuffled_words(asked)
    every = [*trained, *asked, *(said[name].full for name in names)]
    every = list(dict.fromkeys([*every, *(phrase for dealt in mixed for phrase in dealt)]))
    found = answers(adapter, source, every, device, batch)
    at = {phrase: found[:, [i]] for i, phrase in enumerate(every)}
    boxes = np.array([instance.box for instance in source.instances])
    measures: dict[str, Measure] = {
        f"PCK@{threshold:g}": lambda xy, truth: pck(xy, truth, boxes, threshold)
    }
    if (heads := head_sizes(source)) is not None:
        measures["PCKh@0.5"] = lambda xy, truth: pckh(xy, truth, heads)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for measure, share in measures.items():
        for i, (name, row) in enumerate(zip(names, rows, strict=True)):
            truth = np.array([instance.keypoints[[row]] for instance in source.instances])
            if not (truth[..., 2] > 0).any():
                raise ValueError(f"--ask {name}: {source.annotations} labels none")
            of = {phrase: share(xy, truth) for phrase, xy in at.items()}
            best = max(trained, key=of.__getitem__)
            found_by = {
                "by name": of[asked[i]],
                "described": of[said[name].full],
                f"nearest by words: {trained[near[i]]}": of[trained[near[i]]],
                f"best trained: {best}": of[best],
            }
            if mixed:
                found_by["shuffled words"] = float(np.mean([of[dealt[i]] for dealt in mixed]))
            result.setdefault(measure, {})[name] = found_by
    return result


def never_read(unread: Mapping[str, Sequence[str]]) -> str:
    """For a protocol: of which keypoints' descriptions the prior has never read which words."""
    lacking = [f"{name}: {' '.join(found)}" for name, found in unread.items() if found]
    return "; ".join(lacking) or "none, as far as its vocabulary tells"


def head_sizes(source: CocoKeypoints) -> np.ndarray | None:
    """`head_size` of each instance in pixels, [N]; None where not all have one."""
    content = json.loads(source.annotations.read_text(encoding="utf-8"))
    sizes = {one.get("id"): one.get("head_size") for one in content["annotations"]}
    found = [sizes.get(instance.annotation_id) for instance in source.instances]
    return None if None in found else np.array(found, np.float64)


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
    adapter = load_adapter(a.adapter)
    found = scores(
        adapter, source, a.ask, a.descriptions,
        threshold=a.threshold, device=a.device, batch=a.batch,
    )  # fmt: skip
    prior = adapter.model.prior
    said = load_descriptions(a.descriptions, skeleton)
    unread = {name: prior.text.unread([said[name].full]) for name in a.ask}
    heads = (
        "of 0.6 x the diagonal of the head's rectangle (MPII's evaluation), mean over the labelled"
    )
    protocol = {
        "adapter": str(a.adapter),
        "prior": prior.fingerprint(),
        "words that the prior never read": never_read(unread),
        "annotations": f"{source.annotations}, {source.checksum}; boxes of the annotations",
        "PCKh@0.5": f"within half {heads}" if "PCKh@0.5" in found else "not given: no head_size",
    }
    for measure, rows in found.items():
        for name, row in rows.items():
            numbers = ", ".join(f"{what} {100 * value:.1f}" for what, value in row.items())
            print(f"{name}: {measure} {numbers}")
    for what, how in protocol.items():
        print(f"- {what}: {how}")
    if a.out is not None:
        content = {"scores": found, "protocol": protocol}
        a.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
