"""A record is read back as it was written; crops are chosen as said; damage is one clear error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genloc.report.record import Record, choose
from tests.report.make_record import make


@pytest.mark.parametrize("shown", [0, 1, 5])
def test_it_is_read_back_as_it_was_written(tmp_path: Path, shown: int) -> None:
    record, _ = make(shown=shown)
    record.write(tmp_path / "record.npz")
    back = Record.read(tmp_path / "record.npz")
    assert (back.skeleton, back.species) == (record.skeleton, record.species)
    assert back.mean_pose_of == record.mean_pose_of
    for name in ("annotation_id", "image_id", "category_id", "area", "boxes", "mean_pose"):
        np.testing.assert_array_equal(getattr(back, name), getattr(record, name))
    np.testing.assert_allclose(back.keypoints, record.keypoints, atol=1e-4)
    assert len(back.shown) == shown
    for one, other in zip(back.shown, record.shown, strict=True):
        assert one.annotation_id == other.annotation_id
        np.testing.assert_array_equal(one.to_image, other.to_image)
        peak = other.maps.max(axis=(1, 2), keepdims=True)
        assert (np.abs(one.maps - other.maps) <= peak / 255).all()
        assert one.picture.shape == other.picture.shape
        assert abs(one.picture.mean() - other.picture.mean()) < 2
    assert [p.name for p in tmp_path.iterdir()] == ["record.npz"]


def test_a_picture_keeps_its_colours(tmp_path: Path) -> None:
    record, _ = make(shown=1)
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    replace(record, shown=(replace(record.shown[0], picture=red),)).write(tmp_path / "r.npz")
    assert np.abs(Record.read(tmp_path / "r.npz").shown[0].picture.astype(int) - red).max() < 8


def test_the_worst_and_the_median_are_chosen_once_each() -> None:
    oks = np.array([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8])
    labelled = np.full(7, 10)
    assert choose(oks, labelled, worst=2, median=3) == ([1, 5], [3, 0, 4])
    assert choose(oks, labelled, worst=9, median=9) == ([1, 5, 3, 0, 4, 6, 2], [])
    labelled[1] = 2  # says little
    assert choose(oks, labelled, worst=1, median=1)[0] == [5]
    assert choose(np.zeros(0), np.zeros(0)) == ([], [])


def test_damage_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="genloc test writes it"):
        Record.read(tmp_path / "record.npz")
    record, _ = make()
    path = tmp_path / "record.npz"
    record.write(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be read as the record of an evaluation"):
            Record.read(path)
    np.savez(path, facts=np.array('{"format": 99}'))
    with pytest.raises(ValueError, match="format 99"):
        Record.read(path)
    np.savez(path, facts=np.array({"a": 1}, dtype=object))  # a pickle inside
    with pytest.raises(ValueError, match="cannot be read"):
        Record.read(path)
