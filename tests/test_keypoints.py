from __future__ import annotations

import numpy as np
import pytest

from genloc.keypoints import Keypoints
from genloc.skeleton import AP10K, COCO, Skeleton

TWO = Skeleton("two", ("a", "b"), (), (), (0.1, 0.1))


def some(n: int = 3, **change: object) -> Keypoints:
    rng = np.random.default_rng(n)
    values: dict = {
        "xy": rng.random((n, 2, 2)) * 100,
        "scores": rng.random((n, 2)),
        "boxes": rng.random((n, 4)) * 50,
        "box_scores": rng.random(n),
        "skeleton": TWO,
    }
    return Keypoints(**{**values, **change})


def test_score_is_box_times_mean_without_a_threshold() -> None:
    found = some(2, scores=[[0.01, 0.03], [0.5, 0.1]], box_scores=[1.0, 0.5])
    assert found.instance_scores() == pytest.approx([0.02, 0.15])


def test_to_coco() -> None:
    found = some(2)
    rows = found.to_coco([7, 2000000001648], [1, 1], [5, 6])
    assert [r["image_id"] for r in rows] == [7, 2000000001648]
    assert [r["annotation_id"] for r in rows] == [5, 6]
    expected = np.concatenate([found.xy, found.scores[..., None]], axis=2).reshape(2, -1)
    assert np.array_equal([r["keypoints"] for r in rows], expected)
    assert "annotation_id" not in found.to_coco([1, 2], [1, 1])[0]
    with pytest.raises(ValueError, match="image_ids: got 1, expected 2"):
        found.to_coco([7], [1, 1])


def test_concatenate_keeps_maps_only_if_all_have_them() -> None:
    with_maps = [some(n, heatmaps=np.ones((n, 2, 4, 4)), crops=np.ones((n, 2, 3))) for n in (1, 2)]
    joined = Keypoints.concatenate(with_maps)
    assert len(joined) == 3
    assert joined.heatmaps is not None
    assert joined.heatmaps.shape == (3, 2, 4, 4)
    assert np.array_equal(joined.xy[1:], with_maps[1].xy)
    assert Keypoints.concatenate([*with_maps, some(1)]).heatmaps is None
    assert len(Keypoints.concatenate([some(0), some(0)])) == 0


def test_concatenate_refuses_nothing_and_strangers() -> None:
    with pytest.raises(ValueError, match="parts is empty"):
        Keypoints.concatenate([])
    people = Keypoints(np.zeros((1, 17, 2)), np.zeros((1, 17)), np.zeros((1, 4)), np.ones(1), COCO)
    animals = Keypoints(
        np.zeros((1, 17, 2)), np.zeros((1, 17)), np.zeros((1, 4)), np.ones(1), AP10K
    )
    with pytest.raises(ValueError, match=r"different skeletons: \['ap10k', 'coco'\]"):
        Keypoints.concatenate([people, animals])


@pytest.mark.parametrize(
    ("name", "shape"),
    [("xy", (3, 3, 2)), ("scores", (2, 2)), ("boxes", (3, 5)), ("box_scores", (3, 1))],
)
def test_shapes_that_do_not_fit_are_named(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{name} has shape"):
        some(3, **{name: np.zeros(shape)})


def several() -> Keypoints:
    rng = np.random.default_rng(0)
    return Keypoints(
        xy=rng.random((3, 17, 2)),
        scores=rng.random((3, 17)),
        boxes=rng.random((3, 4)),
        box_scores=np.ones(3),
        skeleton=AP10K,
        image_index=np.array([0, 2, 2]),
    )


def test_instances_are_taken_by_index_by_mask_and_by_picture() -> None:
    found = several()
    assert len(found.of_image(1)) == 0
    np.testing.assert_array_equal(found.of_image(2).xy, found.xy[1:])
    np.testing.assert_array_equal(found[[2, 0]].scores, found.scores[[2, 0]])
    np.testing.assert_array_equal(found[:1].boxes, found.boxes[:1])
    assert len(found[[]]) == 0
    joined = Keypoints.concatenate([found[:1], found[1:]])
    assert joined.image_index is not None
    assert joined.image_index.tolist() == [0, 2, 2]
    found.image_index = None
    with pytest.raises(ValueError, match="image_index is None"):
        found.of_image(0)


def test_pandas_has_a_row_for_each_keypoint() -> None:
    pytest.importorskip("pandas")
    found = several()
    table = found.to_pandas()
    assert list(table.columns) == ["image", "instance", "keypoint", "x", "y", "score"]
    assert len(table) == 3 * 17
    row = table[(table.image == 2) & (table.instance == 1) & (table.keypoint == "nose")]
    assert row.x.item() == found.xy[2, 2, 0]
    assert row.score.item() == found.scores[2, 2]
    assert found[[]].to_pandas().empty


def test_supervision_takes_it_and_draws_it() -> None:
    supervision = pytest.importorskip("supervision")
    found = several()
    found.xy = found.xy * 90
    points = found.to_supervision()
    assert len(points) == 3
    np.testing.assert_array_equal(points.xy, found.xy)
    np.testing.assert_array_equal(points.keypoint_confidence, found.scores)
    np.testing.assert_array_equal(points[points.data["image_index"] == 2].xy, found.xy[1:])
    scene = np.zeros((100, 100, 3), np.uint8)
    edges = [(a + 1, b + 1) for a, b in found.skeleton.edges]
    assert supervision.EdgeAnnotator(edges=edges).annotate(scene, points).any()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        several().to_pandas()
