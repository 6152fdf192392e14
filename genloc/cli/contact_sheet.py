"""The contact sheet of `genloc check`: the oddest animals of a file, and typical ones below them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genloc.data.coco import read_image
from genloc.data.transforms import square_crop
from genloc.labels.check import Report
from genloc.labels.findings import Finding
from genloc.labels.records import Group
from genloc.labels.sides import Shapes
from genloc.skeleton import DEFAULT_SIGMA, Skeleton, mirror_pairs
from genloc.visualize import draw_box, draw_keypoints, sheet, write_png
from genloc.visualize.marks import COLOURS
from genloc.visualize.sheet import WORDS

ODD, TYPICAL, COLUMNS, TILE = 12, 6, 6, 256
COMMON = 0.5  # what half of a file's animals have is a fact about the file, not an odd animal


def write_contact_sheet(report: Report, path: Path) -> bool:
    """Draw up to 12 odd and 6 typical animals of the largest group. False where there is none to draw."""
    groups = sorted(
        zip(report.records.groups, report.shapes, strict=True), key=lambda pair: -len(pair[0].ids)
    )
    for group, shapes in groups:
        shown = [
            i
            for i in range(len(group.ids))
            if int(group.image_ids[i]) in report.readable
            and np.isfinite(_used(group)[i][:, None] * group.keypoints[i, :, :2]).any()
            and _used(group)[i].any()
        ]
        if shown:
            _write(report, group, shapes, shown, path)
            return True
    return False


def _used(group: Group) -> np.ndarray:
    return (group.keypoints[..., 2] > 0) & np.isfinite(group.keypoints[..., :2]).all(axis=2)


def _write(report: Report, group: Group, shapes: Shapes, shown: list[int], path: Path) -> None:
    about = report.findings.about("annotation")
    common = COMMON * len(group.ids)
    words = {
        i: sorted(
            (f for f in about.get(int(group.ids[i]), []) if len(f.ids) <= common),
            key=_weight,
        )
        for i in shown
    }
    odd = [i for i in shown if words[i]]
    # First what is rare and wrong, one animal of each kind in turn, so that no kind fills the sheet.
    kinds: dict[str, list[int]] = {}
    for i in sorted(odd, key=lambda i: (_weight(words[i][0]), -_worth(shapes.residual[i]))):
        kinds.setdefault(words[i][0].what, []).append(i)
    turns = [queue[n] for n in range(ODD) for queue in kinds.values() if n < len(queue)]
    oddest = turns[:ODD]
    plain = [i for i in shown if not words[i]]
    plain.sort(key=lambda i: abs(_rank(shapes.residual[i]) - _rank(np.nanmedian(shapes.residual))))
    typical = plain[:TYPICAL]
    skeleton = Skeleton(
        name="checked",
        keypoints=tuple(f"{n} {i}" for i, n in enumerate(group.names))
        if len(set(group.names)) < len(group.names)
        else group.names,
        edges=group.edges,
        flip_pairs=mirror_pairs(group.names),
        sigmas=(DEFAULT_SIGMA,) * len(group.names),
    )
    rows, captions, names = [], [], []
    for title, chosen in (("odd", oddest), ("typical", typical)):
        for start in range(0, len(chosen), COLUMNS):
            part = chosen[start : start + COLUMNS]
            rows.append([_picture(report, group, shapes, i, skeleton) for i in part])
            captions.append(
                [
                    f"{group.ids[i]}: {words[i][0].what}" if words[i] else str(group.ids[i])
                    for i in part
                ]
            )
            names.append(title if start == 0 else "")
    made = sheet(
        rows,
        captions=captions,
        row_names=names,
        title=f"{report.annotations.name}: {len(odd)} odd of {len(shown)}",
        legend=[(WORDS[s], COLOURS[s]) for s in ("left", "right", "centre") if s in skeleton.sides],
        footer="captions: annotation ids; discs are seen, rings hidden, red circles looked at",
        tile=TILE,
    )
    write_png(path, made)


def _weight(finding: Finding) -> tuple[int, int]:
    """Errors first, then what is rare."""
    return (0 if finding.severity == "error" else 1, len(set(finding.ids)))


def _worth(residual: float | np.ndarray) -> float:
    return float(residual) if np.isfinite(residual) else 0.0


def _rank(residual: float | np.ndarray) -> float:
    return float(np.log(residual + 1e-4)) if np.isfinite(residual) else 0.0


def _picture(
    report: Report, group: Group, shapes: Shapes, i: int, skeleton: Skeleton
) -> np.ndarray:
    """The animal in a crop that holds its box and all its keypoints, wherever they are."""
    used, box = _used(group)[i], group.boxes[i]
    points = group.keypoints[i, used, :2]
    has_box = bool(np.isfinite(box).all() and (box[2:] > 0).all())
    corners = [box[:2], box[:2] + box[2:]] if has_box else []
    seen = np.concatenate([points, np.reshape(corners, (-1, 2))])
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = np.maximum(high - low, 8.0)
    view = ((low + high - side) / 2, side)
    image = report.records.images[int(group.image_ids[i])]
    width, height = image.get("width"), image.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    rgb = read_image(report.folder / image["file_name"], size=size)
    crop = square_crop(np.concatenate(view), 2 * TILE, padding=1.2)
    picture = crop.image(rgb)
    if has_box:
        at = crop.points(box[:2])
        picture = draw_box(
            picture, np.array([*at, *(box[2:] * crop.scale)]), colour=(150, 150, 150)
        )
    flagged = np.zeros(len(used), bool)
    flagged[[k for pair in shapes.exchange[i] for k in pair]] = True
    outside = used & ((group.keypoints[i, :, :2] < -1).any(axis=1))
    outside |= used & (group.keypoints[i, :, :2] > np.array(rgb.shape[1::-1])).any(axis=1)
    return draw_keypoints(
        picture,
        np.where(used[:, None], crop.points(np.nan_to_num(group.keypoints[i, :, :2])), np.nan),
        skeleton=skeleton,
        visible=np.where(used, group.keypoints[i, :, 2], 0),
        flagged=flagged | outside,
    )
