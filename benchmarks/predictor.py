"""Pictures per second of the predictor and of the data loader, against the same work by OpenCV and the model.

Three rivals share one localizer and one list of JPEGs with a box each, and take turns, so that whatever else the
machine does hits all alike. "plain" is what one would write by hand: `cv2.imread`, `cv2.warpAffine`, a tensor,
the model, the largest cell. "predictor" is `KeypointPredictor` on the paths; "data loader" is
`KeypointDataset` and `collate` in this process, with the same model behind it.

    python benchmarks/predictor.py [--pictures FOLDER] [--batch 1 16] [--source tiny] [--device cpu]

The time of the crops alone (JPEG to crop, no model) stands beside the whole. Ratios count, not seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from genloc.data.batch import KeypointDataset, collate
from genloc.data.coco import CocoKeypoints
from genloc.data.crops import Crops
from genloc.data.image import read_image
from genloc.inference import Localizer
from genloc.media import find_media
from genloc.models import GenLoc, LoRA, Prior
from genloc.predictor import KeypointPredictor
from genloc.skeleton import AP10K


class Plain:
    """The work done by hand."""

    def __init__(self, model: Localizer, condition: Tensor, size: int, padding: float) -> None:
        self.model, self.condition, self.size, self.padding = model, condition, size, padding

    def crop(self, path: Path, box: Sequence[float]) -> tuple[Tensor, np.ndarray]:
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        x, y, w, h = box
        side = max(w, h) * self.padding
        zoom = self.size / side
        matrix = np.array(
            [
                [zoom, 0, self.size / 2 - zoom * (x + w / 2)],
                [0, zoom, self.size / 2 - zoom * (y + h / 2)],
            ]
        )
        cut = cv2.warpAffine(rgb, matrix, (self.size, self.size))
        return torch.from_numpy(cut).permute(2, 0, 1).float() / 127.5 - 1, matrix

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path], boxes: Sequence[Sequence[float]]) -> np.ndarray:
        crops, matrices = zip(*map(self.crop, paths, boxes), strict=True)
        maps = self.model(torch.stack(crops).to(self.condition.device), self.condition).cpu()
        cells = maps.flatten(2).argmax(-1).numpy()
        xy = np.stack([cells % maps.shape[-1], cells // maps.shape[-1]], -1) * (
            self.size / maps.shape[-1]
        )
        return np.stack([(p - m[:, 2]) / m[0, 0] for p, m in zip(xy, matrices, strict=True)])


def in_turns(rivals: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each rival in each round; the first round warms up and is not counted.

    With one thread on a CPU they are seconds of that processor, so that other work on the machine does not
    count; else seconds on the wall.
    """
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if alone else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(rounds + 1):
        for name, work in rivals.items():
            began = clock()
            work()
            if turn:
                seconds[name].append(clock() - began)
    return seconds


def whole_work(
    predictor: KeypointPredictor, plain: Plain, source: CocoKeypoints, batch: int, rounds: int
) -> dict[str, list[float]]:
    """From files to points, `batch` pictures at a time."""
    paths = [instance.file for instance in source.instances]
    boxes = [list(instance.box) for instance in source.instances]
    crops = KeypointDataset(source, crop_size=plain.size, padding=plain.padding)
    starts = range(0, len(paths), batch)

    def loaded() -> None:
        for start in starts:
            several = collate([crops[i] for i in range(start, min(start + batch, len(crops)))])
            many = Crops(
                several["image"],
                several["to_image"],
                several["box"],
                torch.ones(len(several["box"])),
                (0,) * len(several["box"]),
            )
            list(predictor.locate([many]))

    predictor.batch_size = batch
    return in_turns(
        {
            "plain": lambda: [plain(paths[s : s + batch], boxes[s : s + batch]) for s in starts],
            "predictor": lambda: [
                predictor(paths[s : s + batch], boxes[s : s + batch]) for s in starts
            ],
            "data loader": loaded,
        },
        rounds,
    )


def crops_alone(
    predictor: KeypointPredictor, plain: Plain, source: CocoKeypoints, rounds: int
) -> dict[str, list[float]]:
    """From files to crops, without the model."""
    crops = KeypointDataset(source, crop_size=plain.size, padding=plain.padding)
    return in_turns(
        {
            "plain": lambda: [plain.crop(i.file, i.box) for i in source.instances],
            "predictor": lambda: [predictor.crops(i.file, i.box) for i in source.instances],
            "data loader": lambda: [crops[i] for i in range(len(crops))],
        },
        rounds,
    )


def lines(title: str, seconds: dict[str, list[float]], count: int) -> list[str]:
    """A table's rows: pictures per second (median) and the median ratio of time to that of plain."""
    rows = []
    for name, values in seconds.items():
        ratios = [mine / theirs for mine, theirs in zip(values, seconds["plain"], strict=True)]
        rate = count / statistics.median(values)
        rows.append(
            f"| {title} | {name} | {rate:.1f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |"
        )
    return rows


def as_set(pictures: Path | None, count: int, folder: Path) -> CocoKeypoints:
    """A set of JPEGs with a box each: those of a folder, or noise of a photograph's size."""
    files = []
    if pictures is not None:
        media = find_media(pictures)
        files = [f.picture.path for f in media.frames() if f.picture is not None][:count]  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    for i in range(count if pictures is None else 0):
        soft = cv2.resize(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8), (640, 480))
        files.append(folder / f"{i}.jpg")
        cv2.imwrite(str(files[-1]), soft)
    images, annotations = [], []
    for i, file in enumerate(files):
        height, width = read_image(file).shape[:2]
        images.append(
            {"id": i, "file_name": str(file.absolute()), "width": width, "height": height}
        )
        w, h = rng.uniform(0.4, 0.8, 2) * (width, height)
        x, y = rng.random(2) * (width - w, height - h)
        points = np.column_stack(
            [rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17), np.full(17, 2)]
        )
        record = {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [x, y, w, h], "area": w * h}
        annotations.append(
            record | {"iscrowd": 0, "num_keypoints": 17, "keypoints": points.ravel().tolist()}
        )
    category = {"id": 1, "name": "animal", "keypoints": list(AP10K.keypoints), "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "set.json").write_text(json.dumps(content))
    return CocoKeypoints(folder / "set.json", "/", skeleton=AP10K)


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--pictures", type=Path, help="folder of JPEGs; default: drawn ones of 640 x 480"
    )
    parser.add_argument("--count", type=int, default=32, help="pictures (%(default)s)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--crop-size", type=int, default=128)
    parser.add_argument("--source", default="tiny", help="of the prior (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    given = parser.parse_args(arguments)

    model = GenLoc(Prior(given.source), lora=LoRA("cross")).load()
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(1, 17, model.prior.condition_channels, generator=generator)
    predictor = KeypointPredictor(
        model, condition, AP10K, crop_size=given.crop_size, device=given.device
    )
    assert predictor.condition is not None
    plain = Plain(predictor.model, predictor.condition, given.crop_size, predictor.padding)
    table = [
        "| work | by | pictures/s | time / plain: median (least to most) |",
        "|---|---|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = as_set(given.pictures, given.count, Path(folder))
        with torch.inference_mode():
            table += lines(
                "JPEG to crop", crops_alone(predictor, plain, source, given.rounds), len(source)
            )
            for batch in given.batch:
                seconds = whole_work(predictor, plain, source, batch, given.rounds)
                table += lines(f"JPEG to points, batch {batch}", seconds, len(source))
    where = f"{given.device}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    table += [
        "",
        f"{len(source)} pictures, crops of {given.crop_size}, prior {given.source}, {given.rounds} rounds in "
        f"turns; {where}.",
    ]
    print("\n".join(table))
    if given.out is not None:
        given.out.write_text(
            "\n".join(["# Predictor and data loader against plain OpenCV", "", *table, ""])
        )
    return table


if __name__ == "__main__":
    main()
