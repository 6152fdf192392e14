"""CKHE's maps beside those of ordinary cross-attention, each trained: the paper's Figure 3.

python -m benchmarks.maps_figure runs/zoo runs/ablation/cross_attention \\
    data/zoo/annotations/ap10k-test-split1.json data/zoo/data --out maps.png

Takes runs or adapters, as many as there are rows for each picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from genloc.adapter import Adapter, load_adapter
from genloc.data.coco import CocoKeypoints, Instance, read_image
from genloc.data.transforms import Crop, square_crop
from genloc.inference import heatmaps, latent_noise
from genloc.training.callbacks import spread_over_species
from genloc.visualize import maps_figure

WORDS = {
    "ckhe": "CKHE",
    "cross": "cross-attention",
    "cross-renormalised": "cross-attention, renormalised",
    "cross-background": "cross-attention, with a background token",
}


def adapter_in(folder: Path) -> Adapter:
    """The adapter in a run's folder, or the folder itself."""
    return load_adapter(folder / "adapter" if (folder / "adapter").is_dir() else folder)


@torch.no_grad()
def maps_of(adapter: Adapter, instance: Instance, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    """The crop, uint8 [S, S, 3], and its maps [K, h, w]."""
    picture = crop.image(read_image(instance.file, size=instance.image_size))
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    noise = latent_noise(adapter.model, crop.size, [instance.annotation_id])
    maps = heatmaps(adapter.model.eval(), image, adapter.condition(), noise=noise)
    return picture, maps[0].numpy()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="runs or adapters to compare")
    parser.add_argument("annotations", type=Path, help="COCO keypoints json of the test set")
    parser.add_argument("images", type=Path, help="folder of its pictures")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--pictures", type=int, default=3, help="spread over species (%(default)s)")
    parser.add_argument("--annotation-ids", type=int, nargs="+", help="these instead")
    parser.add_argument(
        "--keypoints", nargs="+", default=None, help="columns; default: six over the body"
    )
    a = parser.parse_args(arguments)

    adapters = [adapter_in(folder) for folder in a.runs]
    skeleton, recipe = adapters[0].skeleton, adapters[0].recipe
    for folder, other in zip(a.runs, adapters, strict=True):
        same = all(other.recipe[key] == recipe[key] for key in ("crop_size", "padding"))
        if other.skeleton != skeleton or not same:
            raise ValueError(f"{folder}: its skeleton or crops are not those of {a.runs[0]}")
    source = CocoKeypoints(a.annotations, a.images, skeleton=skeleton)
    chosen = a.annotation_ids or spread_over_species(source.instances, a.pictures)
    by_id = {instance.annotation_id: instance for instance in source.instances}
    unknown = [i for i in chosen if i not in by_id]
    if unknown:
        raise ValueError(f"--annotation-ids: {a.annotations} has no {unknown}")

    pictures, truth = [], []
    words = [WORDS[adapter.model.read_out] for adapter in adapters]
    names = [
        word if words.count(word) == 1 else f"{word} ({folder.name})"
        for word, folder in zip(words, a.runs, strict=True)
    ]
    maps: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for id_ in chosen:
        instance = by_id[id_]
        crop = square_crop(instance.box, recipe["crop_size"], padding=recipe["padding"])
        points = crop.points(instance.keypoints[:, :2])
        truth.append(np.column_stack([points, instance.keypoints[:, 2]]))
        for name, adapter in zip(names, adapters, strict=True):
            picture, found = maps_of(adapter, instance, crop)
            maps[name].append(found)
        pictures.append(picture)
    maps_figure(pictures, maps, a.out, skeleton=skeleton, keypoints=a.keypoints, truth=truth)
    print(a.out)


if __name__ == "__main__":
    main()
