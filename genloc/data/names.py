"""Which keypoints of two files are the same, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The same place under two names, besides spelling; left and right stand before. Animal Pose's "back elbow" and
# "back knee" are not here: its labels put them on stifle or hock from picture to picture.
_SAME = {"frontelbow": "elbow", "tailbase": "rootoftail"}


def plain(name: str) -> str:
    """One spelling for `left_front_paw`, `L_F_Paw` and `leftFrontPaw`; `earbase` is the ear."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    short = {"l": "left", "r": "right", "f": "front", "b": "back"}
    spelled = "".join(short.get(w.lower(), w.lower()) for w in words)
    return re.sub("earbase$", "ear", spelled) or name


def shared_keypoints(wanted: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Keypoint of `wanted` -> the one of `names` that is the same, for those that have one.

    By exact name, else by spelling, else by a place that two data sets call differently (`front_elbow` of Animal
    Pose is AP-10K's `elbow`).

    >>> shared_keypoints(["nose", "left_elbow", "left_hip"], ["L_F_Elbow", "Nose", "Withers"])
    {'nose': 'Nose', 'left_elbow': 'L_F_Elbow'}
    """
    found = {}
    for name in wanted:
        for read in (str, plain, _place):
            same = [other for other in names if read(other) == read(name)]
            if same:
                found[name] = same[0]
                break
    return found


def _place(name: str) -> str:
    spelled = plain(name)
    for a, b in _SAME.items():
        spelled = re.sub(f"{a}$", b, spelled)
    return spelled
