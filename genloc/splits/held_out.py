"""Keypoint types that training never sees a label of, for localizers that are told what to look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genloc.splits.source import Source
from genloc.splits.split import Part, Split

LOCLLM = ("right_elbow", "left_wrist", "left_knee", "right_ankle")
"""The four COCO keypoints that LocLLM holds out; the mirror partner of each is trained on."""


def held_out(
    train: Source,
    test: Source,
    train_names: Mapping[str, str],
    test_names: Mapping[str, str],
    held: Sequence[str] = LOCLLM,
    *,
    val: Source | None = None,
) -> Split:
    """All pictures on both sides: some keypoints labelled for training only, the others for testing only.

    Args:
        train: file that is trained on.
        test: file that is tested on.
        train_names: every keypoint of the skeleton -> its name in `train` (and `val`).
        test_names: the same for `test`.
        held: those held out; the test scores them alone.
        val: file to choose a checkpoint by, on the keypoints that are trained on.

    Raises:
        ValueError: a held keypoint is not among the skeleton's, none is left to train on, or nothing that
            a part counts is labelled in its file.
    """
    unknown = [name for name in held if name not in train_names or name not in test_names]
    seen = {name: called for name, called in train_names.items() if name not in held}
    if unknown or not held or not seen:
        raise ValueError(
            f"held-out: {', '.join(unknown or held) or 'no keypoint'} cannot be held out of {list(train_names)}"
        )
    parts = {"train": Part.whole(train, seen)}
    if val is not None:
        parts["val"] = Part.whole(val, seen)
    parts["test"] = Part.whole(
        test, {name: called for name, called in test_names.items() if name in held}
    )
    return Split("held-out", {"keypoints": list(held)}, None, parts)
