"""What keypoints are called and where they lie, in words: plain yaml that a user edits.

    left_elbow:                                  # the keypoint's name in the skeleton
      names: [left elbow, left front elbow]      # the first is what is asked
      type: elbow
      place: on the left, on the front
      relation: below the left shoulder, above the left front paw

`type`, `place` and `relation` may each be left out, and `left_ear: the left ear` or a list of names
will do. `include: coco` at the top takes over another file's entries. Files for `ap10k`, `coco`,
`animalpose`, `human_art` and `mpii` are in `genloc/assets/descriptions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from genloc.skeleton import Skeleton

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "descriptions"
PARTS = ("type", "place", "relation")


@dataclass(frozen=True)
class Description:
    """One keypoint in words.

    Args:
        names: at least one; the first is what is asked.
        type: what it is. place: where on the body. relation: beside what else.
    """

    names: tuple[str, ...]
    type: str = ""
    place: str = ""
    relation: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """What is said of it besides its names."""
        return tuple(part for part in (self.type, self.place, self.relation) if part)

    @property
    def full(self) -> str:
        """The first name and everything said of it: "left elbow, elbow, on the left, ..."."""
        return ", ".join((self.names[0], *self.parts))

    def phrases(self) -> tuple[str, ...]:
        """All ways of saying it: each name, bare and with "the", alone, with one part, with all."""
        spoken = [start + name for name in self.names for start in ("", "the ")]
        more = ["", *(f", {part}" for part in self.parts), ", ".join(("", *self.parts))]
        return tuple(dict.fromkeys(name + rest for name in spoken for rest in more))

    def silent_about(self, names: Sequence[str]) -> Description:
        """The same without the parts that mention one of these names: nothing is said of them."""
        kept = {
            part: ""
            if any(f" {name} " in f" {said} ".replace(",", " ") for name in names)
            else said
            for part in PARTS
            for said in [getattr(self, part)]
        }
        return Description(self.names, **kept)


def spoken(name: str) -> str:
    """A keypoint's name as words: "left_front_paw" is "left front paw"."""
    return " ".join(name.lower().split("_"))


def load_descriptions(
    given: str | Mapping[str, Any] | None, skeleton: Skeleton
) -> dict[str, Description]:
    """A description of each of the skeleton's keypoints, in its order.

    Args:
        given: a yaml file; the name of a file of the package ("ap10k"); the same as a mapping; or None
            for the package's file of the skeleton's name or, where there is none, the keypoints'
            own names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not of the form above, or a keypoint of the skeleton is not described.
    """
    if given is None:
        own = FOLDER / f"{skeleton.name}.yaml"
        entries = _read(own) if own.is_file() else {}
        return {
            name: entries.get(name, Description((spoken(name),))) for name in skeleton.keypoints
        }
    if isinstance(given, Mapping):
        where, entries = "descriptions", _entries(given, "descriptions")
    else:
        where, entries = str(given), _read(_file(given))
    missing = [name for name in skeleton.keypoints if name not in entries]
    if missing:
        raise ValueError(
            f"{where} says nothing of {missing}; it must describe each keypoint of {skeleton.name!r}, "
            f"at least by a name: `{missing[0]}: {spoken(missing[0])}`"
        )
    return {name: entries[name] for name in skeleton.keypoints}


def plain(descriptions: Mapping[str, Description]) -> dict[str, dict[str, Any]]:
    """As lists and strings, to be written into a file and read again by `load_descriptions`."""
    return {
        name: {key: list(v) if key == "names" else v for key, v in asdict(said).items() if v}
        for name, said in descriptions.items()
    }


def _file(given: str) -> Path:
    path = Path(given).expanduser()
    shipped = FOLDER / f"{given}.yaml"
    if not path.is_file() and shipped.is_file():
        return shipped
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise FileNotFoundError(f"descriptions: no file {path.absolute()}, and none of {known}")
    return path


def _read(path: Path) -> dict[str, Description]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"descriptions: {path} is not a yaml file: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"descriptions: {path} must map keypoints to words, got {content!r}")
    included = content.pop("include", None)
    entries: dict[str, Description] = {}
    if included is not None:
        other = path.parent / str(included)
        entries = _read(other if other.is_file() else _file(str(included)))
    return entries | _entries(content, str(path))


def _entries(content: Mapping[str, Any], where: str) -> dict[str, Description]:
    found = {}
    for key, said in content.items():
        if isinstance(said, str):
            said = {"names": [said]}
        elif isinstance(said, list):
            said = {"names": said}
        names = said.get("names") if isinstance(said, Mapping) else None
        if (
            not isinstance(said, Mapping)
            or set(said) - {"names", *PARTS}
            or not isinstance(names, (list, tuple))
            or not names
            or not all(isinstance(t, str) and t.strip() for t in (*names, *_parts(said)))
        ):
            raise ValueError(
                f"{where}: {key}: expected a name, a list of names, or `names` with any of "
                f"{', '.join(PARTS)}, all of them words; got {said!r}"
            )
        found[str(key)] = Description(
            tuple(_clean(name) for name in names),
            **{part: _clean(said[part]) for part in PARTS if part in said},
        )
    return found


def _parts(said: Mapping[str, Any]) -> list[Any]:
    return [said[part] for part in PARTS if part in said]


def _clean(text: str) -> str:
    return " ".join(text.split())
