"""By which rules `genloc validate` and `test` score: the part of a protocol that is neither data nor model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scoring:
    """Rules of scoring.

    Args:
        sigmas: names of OKS sigmas (`genloc.skeleton.OKS_SIGMAS`). The first gives the numbers, the others a row
            each; empty for the skeleton's own.
        nms: OKS above which two results of detected boxes are the same animal; null to keep all. Boxes of the
            annotations, one for each animal, are never removed.
        per_folder: score the pictures of each folder by themselves, too; Human-Art's folders are its scenes.
    """

    sigmas: list[str] = field(default_factory=list)
    nms: float | None = 0.9
    per_folder: bool = False

    @property
    def first(self) -> str | None:
        """Name of the sigmas that give the numbers; None for the skeleton's own."""
        return self.sigmas[0] if self.sigmas else None
