"""Train on one data set or drawing style, test on another, on the keypoints that both label."""

from __future__ import annotations

from collections.abc import Mapping

from genloc.splits.source import Source
from genloc.splits.split import Part, Split


def cross_domain(
    train: Source,
    test: Source,
    train_names: Mapping[str, str],
    test_names: Mapping[str, str],
    *,
    val: Source | None = None,
) -> Split:
    """All of one file for training, all of another for testing.

    Args:
        train: file that is trained on.
        test: file that is tested on.
        train_names: keypoint of the run's skeleton -> its name in `train`, for those it has.
        test_names: the same for `test`.
        val: another file of the training domain, to choose a checkpoint without a look at the test domain.

    Returns:
        Parts in which the keypoints that both files have count, and the skeleton's others do not. A file that has
        all that the other has, by the same names, is taken as it is.

    Raises:
        ValueError: the files share no keypoint.
    """
    shared = [name for name in train_names if name in test_names]
    if not shared:
        raise ValueError(
            f"cross-domain: {train.file} and {test.file} share no keypoint by name: {list(train_names)}, "
            f"{list(test_names)}"
        )
    left_out = [name for name in {**train_names, **test_names} if name not in shared]
    here: dict[str, str] | None = {name: train_names[name] for name in shared}
    there: dict[str, str] | None = {name: test_names[name] for name in shared}
    if not left_out and here == there == {name: name for name in shared}:
        here = there = None
    parts = {"train": Part.whole(train, here)}
    if val is not None:
        parts["val"] = Part.whole(val, here)
    parts["test"] = Part.whole(test, there)
    recipe = {"train": train.file, "test": test.file, "keypoints": len(shared)}
    notes = (f"only one file has {', '.join(left_out)}: not counted",) if left_out else ()
    return Split("cross-domain", recipe, None, parts, notes)
