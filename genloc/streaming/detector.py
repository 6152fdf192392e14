"""Boxes of an object detector that transformers can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genloc.media import Frame
from genloc.streaming.boxes import Found


class Detector:
    """A transformers object-detection pipeline.

    Args:
        source: folder of a saved model, or its hub id; only safetensors are loaded.
        labels: names of the classes to keep, as the detector calls them; none for all.
        threshold: least score of a box.
        most: how many boxes of a frame to keep, the best first.
        device: where it runs.

    Raises:
        ValueError: it cannot be loaded, or does not know one of the labels.
    """

    def __init__(
        self,
        source: str,
        *,
        labels: tuple[str, ...] = (),
        threshold: float = 0.5,
        most: int | None = None,
        device: str = "cpu",
    ) -> None:
        from transformers import pipeline

        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}, expected 0 to 1")
        folder = Path(source).expanduser()
        self.source, self.labels, self.threshold, self.most = source, labels, threshold, most
        try:
            self._pipeline: Any = pipeline(
                "object-detection",
                model=str(folder) if folder.is_dir() else source,
                device=device,
                model_kwargs={"use_safetensors": True},
            )
        except (
            Exception
        ) as error:  # transformers, the hub's client and safetensors raise a dozen kinds
            reason = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"detector: {source!r} cannot be loaded as a transformers object detector "
                f"({type(error).__name__}: {reason}). Give the folder of a saved one, or a hub id."
            ) from None
        known = set(self._pipeline.model.config.id2label.values())
        unknown = sorted(set(labels) - known)
        if unknown:
            raise ValueError(
                f"labels: the detector does not know {unknown}; it knows {sorted(known)}"
            )

    @property
    def facts(self) -> str:
        return f"detector {self.source} {self.labels} {self.threshold} {self.most}"

    def find(self, frame: Frame) -> Found:
        from PIL import Image

        assert frame.picture is not None
        picture = Image.fromarray(frame.picture.rgb())
        seen = [
            (one["score"], one["box"])
            for one in self._pipeline(picture, threshold=self.threshold)
            if not self.labels or one["label"] in self.labels
        ]
        seen.sort(key=lambda one: -one[0])
        rows = [
            [b["xmin"], b["ymin"], b["xmax"] - b["xmin"], b["ymax"] - b["ymin"], score]
            for score, b in seen
            if b["xmax"] > b["xmin"] and b["ymax"] > b["ymin"]
        ]
        table = np.array(rows[: self.most], np.float64).reshape(-1, 5)
        return Found(table[:, :4], table[:, 4], [1] * len(table)).inside(picture.size)
