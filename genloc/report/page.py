"""`write_report`: one self-contained HTML page from what `genloc test` leaves in a run's folder."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from genloc import __version__
from genloc.data.transforms import apply_affine
from genloc.metrics.errors import KINDS
from genloc.metrics.evaluate import read_results
from genloc.metrics.matching import LEAST_IOU
from genloc.metrics.table import COLUMNS
from genloc.report import charts
from genloc.report.analysis import OKS_AT, PCK_AT, Analysis, analyse
from genloc.report.record import Record, Shown, choose
from genloc.visualize import draw_heatmaps, draw_keypoints, enlarged, zoomed

SIDE = 420
"""Pixels of a picture on the page; it is shown at half of that or less."""


def write_report(
    run: str | Path, out: str | Path | None = None, set_name: str | None = None
) -> Path:
    """Write the report of a run.

    Args:
        run: folder with `metrics.json`, `results-<set>.json` and `record-<set>.npz`, and `config.yaml`
            where there is one.
        out: the page; `<run>/report.html` by default.
        set_name: "test" or "val"; by default test where it was scored, else val.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError: the run has not been scored.
        ValueError: its files are damaged or of different evaluations.
    """
    run = Path(run)
    name, scores = _scores(run, set_name)
    record = Record.read(run / f"record-{name}.npz")
    analysis = analyse(record, read_results(run / f"results-{name}.json"), run.name)
    config = run / "config.yaml"
    page = render(
        f"{run.name}: {name}",
        scores,
        record,
        analysis,
        config.read_text(encoding="utf-8") if config.is_file() else "",
    )
    out = run / "report.html" if out is None else Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_text(page, encoding="utf-8")
    part.replace(out)
    return out


def render(
    title: str, scores: dict[str, Any], record: Record, analysis: Analysis, config: str
) -> str:
    """The page as text.

    Args:
        title: at its top.
        scores: of the set, as `metrics.json` has them.
        record, analysis: of the same evaluation.
        config: the run's configuration, yaml; may be empty.
    """
    environment = Environment(
        loader=PackageLoader("genloc.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": _number, "words": _words}
    worst, median = _rows_shown(record, analysis)
    bars = {"all": analysis.shares} | {_words(k.name): k.kinds for k in analysis.keypoints}
    return environment.get_template("page.html.j2").render(
        title=title,
        version=__version__,
        kinds=KINDS,
        colours=charts.KIND_COLOURS,
        columns=[c for c in COLUMNS if scores.get(c) is not None],
        scores=scores,
        analysis=analysis,
        instances=len(record.annotation_id),
        detected=record.detected,
        least_iou=LEAST_IOU,
        labelled=int((record.keypoints[..., 2] > 0).sum()),
        images=len(np.unique(record.image_id)),
        pairs=bool(record.skeleton.flip_pairs),
        median_oks=float(np.median(analysis.oks)),
        charts={
            "oks": charts.curves(
                OKS_AT, analysis.oks_curve, name="oks", x_label="OKS threshold",
                y_label="instances at or above, %", marks=(0.5, 0.75),
            ),
            "pck": charts.curves(
                PCK_AT, analysis.pck_curve, name="pck", x_label="distance / longer side of the box",
                y_label="keypoints within, %", marks=(0.05, 0.1),
            ),
            "kinds": charts.stacked(bars, name="kinds"),
            "calibration": charts.reliability(
                analysis.calibration.score, analysis.calibration.right, name="calibration"
            ),
        },
        groups=(
            ("worst", "The worst crops", _crops(record, analysis, worst)),
            ("median", "Crops about the median", _crops(record, analysis, median)),
        ),
        config=config,
    )  # fmt: skip


def _scores(run: Path, set_name: str | None) -> tuple[str, dict[str, Any]]:
    path = run / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} has no metrics.json: score the run first, genloc test --config ... --name {run.name}"
        )
    try:
        sets = json.loads(path.read_bytes())
        scored = [name for name in ("test", "val") if name in sets]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); genloc test writes it anew") from error
    name = set_name or next(iter(scored), "test")
    if name not in scored:
        raise ValueError(
            f"{path} has no set {name!r}, it has {scored}: genloc test or validate first"
        )
    return name, sets[name]


def _rows_shown(record: Record, analysis: Analysis) -> tuple[list[int], list[int]]:
    """Rows of the crops that the record has pictures of, chosen as they were."""
    labelled = (record.keypoints[..., 2] > 0).sum(axis=1)
    there = {shown.annotation_id for shown in record.shown}
    worst, median = choose(analysis.oks, labelled)
    ids = record.annotation_id.tolist()
    return [i for i in worst if ids[i] in there], [i for i in median if ids[i] in there]


def _crops(record: Record, analysis: Analysis, rows: list[int]) -> list[dict[str, Any]]:
    by_id = {shown.annotation_id: shown for shown in record.shown}
    made = []
    for i in rows:
        id_ = int(record.annotation_id[i])
        overlay, heat = _pictures(record, analysis, i, by_id[id_])
        species = record.species[int(record.category_id[i])]
        kinds = analysis.kinds[i]
        count = Counter(KINDS[k] for k in kinds.tolist() if k >= 0)
        named = {
            kind: [
                _words(record.skeleton.keypoints[k])
                for k in np.flatnonzero(kinds == KINDS.index(kind))
            ]
            for kind in ("inversion", "swap", "miss")
        }
        made.append(
            {
                "overlay": overlay,
                "heat": heat,
                "species": species,
                "oks": float(analysis.oks[i]),
                "annotation": id_,
                "image": int(record.image_id[i]),
                "count": [(kind, count[kind]) for kind in KINDS if count[kind]],
                "named": {kind: names for kind, names in named.items() if names},
            }
        )
    return made


def _pictures(record: Record, analysis: Analysis, i: int, shown: Shown) -> tuple[str, str]:
    """Two data addresses: the crop with labels and results, and with its heatmaps."""
    turn = shown.to_image
    back = np.linalg.inv(np.vstack([turn, [0, 0, 1]]))[:2]
    large, zoom = enlarged(shown.picture, SIDE)
    found = zoomed(apply_affine(back, analysis.xy[i]), zoom)
    truth = record.keypoints[i].astype(np.float64)
    truth[:, :2] = apply_affine(back, truth[:, :2])
    overlay = draw_keypoints(
        large, found, skeleton=record.skeleton, scores=analysis.scores[i], truth=zoomed(truth, zoom)
    )
    return _address(overlay), _address(draw_heatmaps(large, shown.maps, skeleton=record.skeleton))


def _address(picture: np.ndarray) -> str:
    ok, data = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 82])
    if not ok:
        raise OSError("could not encode a picture of the report as WebP")
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def _percent(value: float | None, places: int = 1) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{places}f}"


def _number(value: float | None, places: int = 2) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{places}f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
