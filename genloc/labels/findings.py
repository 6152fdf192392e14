"""What a check has found, collected and told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "odd"]
Of = Literal["annotation", "image", "category", "file"]


@dataclass
class Finding:
    """One kind of thing that is wrong or odd.

    Args:
        severity: `error`: training refuses it, leaves it out or learns something wrong; `odd`: look at it.
        what: a sentence without the number.
        of: what `ids` are ids of.
        ids: where, in the order of the file; an id may occur twice.
        detail: more numbers, for the line alone.
    """

    severity: Severity
    what: str
    of: Of
    ids: list[int | str] = field(default_factory=list)
    detail: str = ""

    def line(self, most: int = 8) -> str:
        """`12 annotations: sentence (7, 9, ...)`."""
        shown = ", ".join(map(str, list(dict.fromkeys(self.ids))[:most]))
        more = ", ..." if len(set(self.ids)) > most else ""
        noun = {"category": "categories"}.get(self.of, self.of + "s")
        counted = f"{len(self.ids)} {noun if len(self.ids) != 1 else self.of}"
        what = f"{self.what}, {self.detail}" if self.detail else self.what
        return f"{counted}: {what}" + (f" ({shown}{more})" if self.ids != ["-"] else "")


class Findings:
    """All findings of a check, errors and oddities, each kind once."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], Finding] = {}

    def _add(
        self, severity: Severity, what: str, of: Of, ids: Iterable[int | str], detail: str
    ) -> None:
        ids = list(ids)
        if ids:
            key = (severity, what, of)
            finding = self._kinds.setdefault(key, Finding(severity, what, of, [], detail))
            finding.ids.extend(ids)

    def error(self, what: str, of: Of, ids: Iterable[int | str], detail: str = "") -> None:
        """Add places where something is wrong; none is no finding. See `Finding`."""
        self._add("error", what, of, ids, detail)

    def odd(self, what: str, of: Of, ids: Iterable[int | str], detail: str = "") -> None:
        """Add places where something is odd; none is no finding. See `Finding`."""
        self._add("odd", what, of, ids, detail)

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self._kinds.values() if f.severity == "error"]

    @property
    def oddities(self) -> list[Finding]:
        return [f for f in self._kinds.values() if f.severity == "odd"]

    def about(self, of: Of) -> dict[int | str, list[Finding]]:
        """id -> what was found there."""
        found: dict[int | str, list[Finding]] = {}
        for finding in self._kinds.values():
            if finding.of == of:
                for i in dict.fromkeys(finding.ids):
                    found.setdefault(i, []).append(finding)
        return found
