"""Whether what GenLoc compares tells left from right: linear probes of its features at labelled keypoints.

    python -m benchmarks.left_right runs/quickstart/adapter data/zoo

Of an animal seen from the side, a leg is the left one if the animal faces left and the leg is the nearer one, or
neither: an exclusive or. Conditions are compared with features linearly, so it has to be in the features. A probe, a
logistic regression, is fitted at the labelled points of training animals and scored on test animals: by which of two
partners it thinks more to be the left one, or the nearer one; and by which way it says that the animal faces.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from benchmarks.maps_figure import adapter_in
from benchmarks.ops.measure import hardware
from benchmarks.report import write
from genloc.data.coco import CocoKeypoints, Instance, read_image
from genloc.data.transforms import square_crop
from genloc.inference import picture_parts
from genloc.models import GenLoc
from genloc.models.features import features
from genloc.models.lora import without_lora

RESULTS = Path(__file__).parent / "results"
PARTS = ("front_paw", "back_paw", "knee", "eye")
SIDEWAYS = 0.4
"""Of the crop's side: nose and tail at least so far apart, horizontally, is a side view."""


class Seen(NamedTuple):
    """Side views of animals: features [N, K, C] of each grid, points [N, K, 2] as parts of the crop's side, and which
    are labelled, bool [N, K]."""

    features: list[Tensor]
    points: Tensor
    labelled: Tensor


def fitted(x: Tensor, y: Tensor, penalty: float = 1e-2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A logistic regression on standardised features, with a penalty on its squared weights.

    Args:
        x: [N, C]. y: bool [N].
    """
    x, mean, scale = x.double(), x.double().mean(0), x.double().std(0) + 1e-6
    x, target = (x - mean) / scale, y.double()
    weight, bias = (
        torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (x.shape[1], 1)
    )
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(x @ weight + bias, target)
        value = value + penalty * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return mean, scale, weight.detach(), bias.detach()


def scored(probe: tuple[Tensor, Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """[..., C] -> [...], above 0 where the probe says yes."""
    mean, scale, weight, bias = probe
    return (x.double() - mean) / scale @ weight + bias


def faces_left(seen: Seen, names: Sequence[str]) -> Tensor:
    """bool [N]: the nose is left of the root of the tail."""
    return seen.points[:, names.index("nose"), 0] < seen.points[:, names.index("root_of_tail"), 0]


def pairs(seen: Seen, names: Sequence[str], part: str, grid: int) -> tuple[Tensor, Tensor]:
    """Features [N, 2, C] of animals whose part is labelled on both sides, the left one first; and, bool [N], whether
    the left one is the nearer one."""
    both = [names.index(f"{side}_{part}") for side in ("left", "right")]
    rows = seen.labelled[:, both].all(1)
    return seen.features[grid][rows][:, both], faces_left(seen, names)[rows]


def shares(train: Seen, test: Seen, names: Sequence[str], part: str, grid: int) -> dict[str, float]:
    """Of test animals, where the probe is right, 0 to 1; chance is 0.5."""
    found = {}
    (x, near), (other, near_there) = (pairs(seen, names, part, grid) for seen in (train, test))
    side = torch.tensor([True, False]).expand(len(x), 2)
    # Facing right, the right one is nearer.
    for question, y in (("left", side), ("nearer", side == near[:, None])):
        score = scored(fitted(x.flatten(0, 1), y.flatten()), other)
        ahead = score[:, 0] - score[:, 1]
        if question == "nearer":
            ahead = torch.where(near_there, ahead, -ahead)
        found[question] = (ahead > 0).double().mean().item()
    facing = scored(fitted(x.flatten(0, 1), near[:, None].expand(-1, 2).flatten()), other)
    found["facing"] = ((facing > 0) == near_there[:, None]).double().mean().item()
    return found | {"animals": len(other)}


@torch.inference_mode()
def look(
    model: GenLoc, instances: Sequence[Instance], recipe: Any, names: Sequence[str], words: str
) -> Seen:
    """Side views among the instances, as the model sees them."""
    nose, tail = names.index("nose"), names.index("root_of_tail")
    each: list[list[Tensor]] = []
    points, labelled = [], []
    for instance in track(instances, words):
        crop = square_crop(instance.box, recipe["crop_size"], padding=recipe["padding"])
        part = picture_parts(
            torch.from_numpy(crop.points(instance.keypoints[:, :2])), crop.size
        ).float()
        known = torch.from_numpy(instance.keypoints[:, 2] > 0)
        if not (known[nose] and known[tail]) or (part[nose, 0] - part[tail, 0]).abs() < SIDEWAYS:
            continue
        picture = crop.image(read_image(instance.file, size=instance.image_size))
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        grids = features(model, image)
        at = (2 * part - 1)[None, None]
        each.append(
            [
                F.grid_sample(g.float(), at, align_corners=False, padding_mode="border")[0, :, 0].T
                for g in grids
            ]
        )
        points.append(part)
        labelled.append(known)
    if not each:
        raise ValueError("no animal is seen from the side: nothing to probe")
    return Seen(
        [torch.stack(grid) for grid in zip(*each, strict=True)],
        torch.stack(points),
        torch.stack(labelled),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("adapter", type=Path, help='a run or an adapter with context "null"')
    parser.add_argument(
        "root", type=Path, help="folder of a set laid out as AP-10K is, such as the zoo's"
    )
    parser.add_argument(
        "--animals",
        type=int,
        default=2000,
        help="of each set at most, drawn at random (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args(arguments)

    adapter = adapter_in(a.adapter)
    names, model = adapter.skeleton.keypoints, adapter.model.eval()
    chosen = {}
    for part in ("train", "test"):
        file = a.root / f"annotations/ap10k-{part}-split1.json"
        every = CocoKeypoints(file, a.root / "data", skeleton=adapter.skeleton).instances
        order = np.random.default_rng(a.seed).permutation(len(every))[: a.animals]
        chosen[part] = [every[i] for i in order]
    rows, content = [], []
    for state in ("trained", "the prior as it is"):
        given = contextlib.nullcontext() if state == "trained" else without_lora(model.prior.unet)
        with given:
            train, test = (
                look(model, chosen[p], adapter.recipe, names, f"{state}, {p}")
                for p in ("train", "test")
            )
        for part in PARTS:
            for grid, values in enumerate(train.features):
                found = shares(train, test, names, part, grid)
                content.append(
                    {
                        "features": state,
                        "part": part,
                        "channels": values.shape[-1],
                        "grid": grid,
                        **found,
                    }
                )
                numbers = " | ".join(f"{100 * found[q]:.0f}" for q in ("facing", "nearer", "left"))
                rows.append(
                    f"| {state} | {part} | {grid + 1} of {len(train.features)} | {found['animals']} | {numbers} |"
                )
    heads = ("features", "part", "up-block", "animals", "facing", "nearer", "left")
    lines = [
        "# What linear probes read in GenLoc's features", "",
        f"Made by `python -m benchmarks.left_right ADAPTER ROOT --animals {a.animals}`, {hardware('cpu')}.", "",
        "% right on test animals seen from the side; chance is 50. Facing: which way it faces, read at the part. "
        "Nearer, left: which of the two partners is the nearer one, the left one. Up-blocks from the coarsest grid on.",
        "", f"| {' | '.join(heads)} |", "| --- | --- | --- | ---: | ---: | ---: | ---: |", *rows,
    ]  # fmt: skip
    write(
        a.out, "left_right", hardware("cpu"), lines, {"trained": adapter.recipe, "probes": content}
    )


if __name__ == "__main__":
    main()
