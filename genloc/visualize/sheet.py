"""Pictures in rows on paper, written as PNG."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genloc.skeleton import Side, Skeleton
from genloc.visualize.heat import draw_heatmaps, draw_map
from genloc.visualize.marks import COLOURS, Colour, checked_picture, checked_rows, cross, font
from genloc.visualize.overlay import draw_keypoints

PAPER, INK, FAINT = (250, 250, 248), (28, 30, 36), (122, 126, 136)
WORDS: dict[Side, str] = {"left": "left", "right": "right", "centre": "middle"}


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    row_names: Sequence[str] | None = None,
    title: str = "",
    legend: Sequence[tuple[str, Colour]] = (),
    footer: str = "",
    tile: int = 256,
    group: int = 1,
) -> np.ndarray:
    """Set pictures in rows on paper, with a title, captions below and a legend. Returns RGB uint8.

    Args:
        rows: pictures of any size, each scaled to fit a square of `tile` pixels.
        captions: one for each group of pictures, set below it; empty strings leave none.
        row_names: one for each row, set above it.
        title, footer: lines above and below everything.
        legend: (word, colour) pairs, on the title's line at the right.
        tile: side in pixels of the square that a picture gets.
        group: so many neighbours in a row belong together and stand closer.
    """
    if not rows or not any(len(row) for row in rows):
        raise ValueError("rows holds no picture, expected at least one")
    near, gap = max(2, tile // 128), max(8, tile // 16 if group > 1 else tile // 24)
    margin, line = max(16, tile // 10), max(15, tile // 13)
    columns = max(len(row) for row in rows)
    block = group * tile + (group - 1) * near  # width of a group
    below = line + gap // 2 if captions and any(any(c) for c in captions) else 0
    above = line + gap if row_names else 0
    head = round(2.4 * line) if title or legend else 0
    foot = 2 * line if footer else 0
    width = 2 * margin - gap + -(-columns // group) * (block + gap)
    height = 2 * margin + head + foot + len(rows) * (tile + above + below + gap) - gap
    paper = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(paper)
    bold, small = font(round(1.05 * line)), font(round(0.78 * line))
    pen.text((margin, margin), title, font=bold, fill=INK)
    _write_legend(pen, legend, right=width - margin, top=margin, line=line, font=small)
    y = margin + head
    for i, row in enumerate(rows):
        if row_names:
            pen.text((margin, y), row_names[i], font=font(round(0.9 * line)), fill=INK)
        y += above
        for j, picture in enumerate(row):
            x = margin + j // group * (block + gap) + j % group * (tile + near)
            fitted = _fit(checked_picture(picture), tile)
            inset = ((tile - fitted.shape[1]) // 2, (tile - fitted.shape[0]) // 2)
            paper.paste(Image.fromarray(fitted), (x + inset[0], y + inset[1]))
        for j, caption in enumerate(captions[i] if captions else ()):
            centre = margin + j * (block + gap) + block / 2
            words = _shorten(pen, caption, small, block)
            pen.text((centre, y + tile + gap // 3), words, INK, small, anchor="ma")
        y += tile + below + gap
    pen.text((margin, height - margin - small.size), footer, font=small, fill=FAINT)
    return np.asarray(paper)


def overlay_sheet(
    images: Sequence[np.ndarray],
    keypoints: Sequence[np.ndarray],
    heatmaps: Sequence[np.ndarray] | None,
    truth: Sequence[np.ndarray] | None,
    path: str | os.PathLike[str],
    *,
    skeleton: Skeleton,
    scores: Sequence[np.ndarray] | None = None,
    visible: Sequence[np.ndarray] | None = None,
    flagged: Sequence[np.ndarray] | None = None,
    captions: Sequence[str] | None = None,
    title: str = "",
    columns: int = 4,
    tile: int = 256,
) -> np.ndarray:
    """Write a sheet of N crops with their keypoints, each with its heatmaps beside it.

    Args:
        images: N crops, uint8 [H, W, 3] RGB.
        keypoints: N predictions [K, 2], crop pixels.
        heatmaps: N times [K, h, w], or None for a sheet without maps.
        truth: N times [K, 3] x, y, v in crop pixels, or None.
        path: the PNG to write; its folder is made.
        skeleton: of all N.
        scores, visible, flagged: N times [K]; see `draw_keypoints`.
        captions: N lines, such as the species and the share of keypoints found.
        title: line at the top.
        columns: crops in a row.
        tile: side of a picture on the sheet, pixels.

    Returns:
        The sheet, uint8 RGB.

    Raises:
        ValueError: the sequences differ in length, or are empty.
    """
    for name, given in (("keypoints", keypoints), ("heatmaps", heatmaps), ("truth", truth),
                        ("scores", scores), ("visible", visible), ("flagged", flagged),
                        ("captions", captions)):  # fmt: skip
        if given is not None and len(given) != len(images):
            raise ValueError(f"{name} holds {len(given)}, expected one for each of {len(images)}")
    pictures: list[np.ndarray] = []
    words: list[str] = []
    for i, image in enumerate(images):
        large, zoom = _enlarged(image, tile)
        pictures.append(
            draw_keypoints(
                large,
                _zoomed(keypoints[i], zoom),
                skeleton=skeleton,
                scores=None if scores is None else scores[i],
                visible=None if visible is None else visible[i],
                truth=None if truth is None else _zoomed(truth[i], zoom),
                flagged=None if flagged is None else flagged[i],
            )
        )
        words.append(captions[i] if captions is not None else "")
        if heatmaps is not None:
            pictures.append(draw_heatmaps(large, heatmaps[i], skeleton=skeleton))
    group = 2 if heatmaps is not None else 1
    across = columns * group
    legend = [(WORDS[s], COLOURS[s]) for s in ("left", "right", "centre") if s in skeleton.sides]
    made = sheet(
        [pictures[i : i + across] for i in range(0, len(pictures), across)],
        captions=[words[i : i + columns] for i in range(0, len(words), columns)],
        title=title,
        legend=legend,
        footer=""
        if truth is None
        else "dots: found; crosses: labelled; red: from one to the other",
        tile=tile,
        group=group,
    )
    write_png(path, made)
    return made


def maps_figure(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    path: str | os.PathLike[str],
    *,
    skeleton: Skeleton,
    keypoints: Sequence[str] | None = None,
    truth: np.ndarray | None = None,
    title: str = "",
    tile: int = 224,
) -> np.ndarray:
    """Write the maps of several read-outs below each other, one column per keypoint.

    With CKHE's maps above ordinary cross-attention's this is the figure that the method stands on.

    Args:
        image: uint8 [H, W, 3] RGB, the crop.
        maps: name of a read-out -> [K, h, w].
        path: the PNG to write.
        skeleton: of the K maps.
        keypoints: names of the columns; at most six, spread over the body, by default.
        truth: [K, 3] x, y, v in crop pixels; a cross marks the labelled place.
        title: line at the top.
        tile: side of a picture, pixels.

    Returns:
        The figure, uint8 RGB.

    Raises:
        ValueError: no maps, an unknown keypoint, or maps that do not fit the skeleton.
    """
    k = skeleton.num_keypoints
    if keypoints is None:
        spread = np.unique(np.linspace(0, k - 1, min(6, k)).round().astype(int))
        chosen = [int(i) for i in spread]
    else:
        chosen = [skeleton.index(name) for name in keypoints]
    large, zoom = _enlarged(image, tile)
    marks = None if truth is None else _zoomed(checked_rows("truth", truth, (k, 3)), zoom)
    rows, captions = [], []
    for name, given in maps.items():
        if np.ndim(given) != 3 or len(given) != k:
            raise ValueError(
                f"maps[{name!r}] has shape {list(np.shape(given))}, expected [{k}, h, w]"
            )
        row = [large]
        for i in chosen:
            picture = draw_map(large, given[i])
            if marks is not None and marks[i, 2] > 0:
                cross(picture, marks[i, :2], (255, 255, 255), max(4.0, tile / 26))
            row.append(picture)
        rows.append(row)
        captions.append(["", *(skeleton.keypoints[i].replace("_", " ") for i in chosen)])
    footer = "each map scaled to its own greatest value" + (
        "; cross: labelled" if truth is not None else ""
    )
    made = sheet(
        rows, captions=captions, row_names=list(maps), title=title, footer=footer, tile=tile
    )
    write_png(path, made)
    return made


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write a picture as PNG, whole or not at all, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".png", np.ascontiguousarray(checked_picture(image)[..., ::-1]))
    if not ok:
        raise OSError(f"could not encode {path} as PNG")
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.tobytes())
    part.replace(path)


def _write_legend(pen: ImageDraw.ImageDraw, legend: Sequence[tuple[str, Colour]], *, right: int,
                  top: int, line: int, font: ImageFont.FreeTypeFont) -> None:  # fmt: skip
    x = float(right)
    for word, colour in reversed(legend):
        x -= pen.textlength(word, font)
        pen.text((x, top + 0.62 * line), word, INK, font, anchor="lm")
        x -= 0.85 * line
        centre = (x + 0.25 * line, top + 0.62 * line)
        pen.circle(centre, 0.3 * line, fill=colour, outline=INK)
        x -= 0.9 * line


def _shorten(pen: ImageDraw.ImageDraw, words: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if pen.textlength(words, font) <= width:
        return words
    while words and pen.textlength(words + "…", font) > width:
        words = words[:-1]
    return words.rstrip() + "…"


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    """The picture scaled so that its longer side is `side` pixels."""
    zoom = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    if size == image.shape[1::-1]:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)


def _enlarged(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture at twice a tile's size (marks come out smooth) and its zoom in x and y."""
    large = _fit(checked_picture(image), 2 * side)
    return large, np.array([large.shape[1] / image.shape[1], large.shape[0] / image.shape[0]])


def _zoomed(points: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """[K, 2 or 3] with x, y in the pixels of the zoomed picture (edges coincide, not centres)."""
    points = np.array(points, np.float64)
    points[:, :2] = (points[:, :2] + 0.5) * zoom - 0.5
    return points
