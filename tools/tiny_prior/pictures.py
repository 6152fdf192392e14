"""Pictures of the zoo for the prior: views, whole and close-up, with their captions."""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from genloc.data.zoo import SEED_PRIOR, STYLES, draw_picture, picture_rng
from genloc.data.zoo.captions import closeup, whole_caption, whole_square

SIZE, VIEWS, CHUNK = 128, 4, 500  # pixels; views of a picture; pictures in a file
SEEN = (
    "drawn animals of the built-in zoo with captions; close-ups framed by the renderer, which knows where "
    "each part is, and painted parts, both named in the captions; never a keypoint label or a photograph"
)
"""What a prior trained on these views has been told."""


def progress() -> Progress:
    bar = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*bar, refresh_per_second=1)


def crop(image: np.ndarray, square: tuple[float, float, float], turn: float) -> np.ndarray:
    """A square of a picture, turned by degrees, as [SIZE,SIZE,3] uint8; mirrored at its edges."""
    x, y, side = square
    matrix = cv2.getRotationMatrix2D((x, y), turn, SIZE / side)
    matrix[:, 2] += (SIZE - 1) / 2 - np.array([x, y])
    smooth = cv2.GaussianBlur(image, (0, 0), 0.4 * side / SIZE) if side > 1.3 * SIZE else image
    # Where views were black beyond the picture, the prior learned to draw black borders.
    border = cv2.BORDER_REFLECT_101
    return cv2.warpAffine(smooth, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)


def draw_chunk(job: tuple[str, int, tuple[int, ...]]) -> None:
    """Draw CHUNK pictures and write their views and captions."""
    folder, number, species = job
    cv2.setNumThreads(1)
    views = np.zeros((CHUNK * VIEWS, SIZE, SIZE, 3), np.uint8)
    captions: list[str] = []
    names: list[int] = []
    for i in range(CHUNK):
        index = number * CHUNK + i
        category_id = species[index % len(species)]
        rng = picture_rng(SEED_PRIOR, 0, category_id, index)
        style = "photo" if rng.random() < 0.8 else str(rng.choice(list(STYLES[1:])))
        # Half of the pictures that show colours have one to three parts painted, and captions name them:
        # a word for a part then means a place in the picture.
        colours = style in ("photo", "cartoon", "painting")
        painted = int(rng.integers(1, 4)) if colours and rng.random() < 0.55 else 0
        picture = draw_picture(category_id, rng, style=style, painted=painted)
        while not picture.animals:
            picture = draw_picture(category_id, rng, style=style, painted=painted)
        for v in range(VIEWS):
            animal = picture.animals[-1 if rng.random() < 0.85 else 0]
            close = closeup(animal, rng) if v >= 2 else None
            text, square = close or (whole_caption(picture, animal, rng), whole_square(animal, rng))
            turn = rng.normal(0, 18) if rng.random() < 0.35 else 0.0
            views[len(captions)] = crop(picture.image, square, float(turn))
            captions.append(text)
            names.append(animal.category_id)
    part = Path(folder) / f"{number:04d}.part.npy"
    np.save(part, views)
    (Path(folder) / f"{number:04d}.json").write_text(
        json.dumps({"captions": captions, "species": names})
    )
    part.replace(Path(folder) / f"{number:04d}.npy")


def draw(work: Path, pictures: int, workers: int, species: tuple[int, ...]) -> None:
    folder = work / "views"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [n for n in range(math.ceil(pictures / CHUNK)) if not (folder / f"{n:04d}.npy").exists()]
    with progress() as bar, ProcessPoolExecutor(workers) as pool:
        task = bar.add_task("pictures", total=len(jobs) * CHUNK)
        for _ in pool.map(draw_chunk, [(str(folder), n, species) for n in jobs]):
            bar.advance(task, CHUNK)


def chunks(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("????.npy"))


def to_tensor(views: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).float() / 127.5 - 1


def of_half(number: int, half: int) -> slice:
    """Every picture's view of a whole and of a part: views 0 and 2, or 1 and 3."""
    return slice(half, number, VIEWS // 2)
