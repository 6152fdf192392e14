from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from genloc.data.batch import KeypointBatch, KeypointDataset, collate, sample_generator
from genloc.data.coco import CocoKeypoints, read_image
from genloc.data.transforms import Augmentation, square_crop
from genloc.skeleton import AP10K
from tests.make_coco import write_coco

SIZE = 32


def source(folder: Path, **options: int) -> CocoKeypoints:
    path = write_coco(folder, **options)  # type: ignore[arg-type]
    return CocoKeypoints(path, folder / "images", skeleton=AP10K)


def equal(a: KeypointBatch, b: KeypointBatch) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)  # type: ignore[literal-required]


def test_shapes_types_and_ranges(tmp_path: Path) -> None:
    crops = KeypointDataset(source(tmp_path), crop_size=SIZE)
    batch = collate([crops[i] for i in range(4)])
    expected = {
        "image": ((4, 3, SIZE, SIZE), torch.float32),
        "points": ((4, 17, 2), torch.float32),
        "visible": ((4, 17), torch.bool),
        "annotation_id": ((4,), torch.int64),
        "image_id": ((4,), torch.int64),
        "category_id": ((4,), torch.int64),
        "to_image": ((4, 2, 3), torch.float64),
        "box": ((4, 4), torch.float32),
    }
    assert {k: (tuple(v.shape), v.dtype) for k, v in batch.items()} == expected  # type: ignore[attr-defined]
    assert batch["annotation_id"].tolist() == [101, 102, 103, 104]
    assert batch["category_id"].tolist() == [1, 8, 1, 8]
    assert -1 <= batch["image"].min() < -0.4
    assert 0.4 < batch["image"].max() <= 1


def test_a_plain_crop_by_hand(tmp_path: Path) -> None:
    labels = source(tmp_path)
    sample = KeypointDataset(labels, crop_size=SIZE, padding=1.0)[2]
    instance = labels.instances[2]
    crop = square_crop(instance.box, SIZE, padding=1.0)
    pixels = crop.image(read_image(instance.file))
    assert torch.allclose(
        sample["image"], torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1, atol=1e-6
    )
    seen = instance.keypoints[:, 2] > 0
    assert np.array_equal(sample["visible"], seen)  # boxes hold all their keypoints here
    assert np.allclose(sample["points"][seen], crop.points(instance.keypoints[seen, :2]), atol=1e-4)
    assert not sample["points"][~seen].any()
    assert np.array_equal(sample["to_image"], crop.inverse)


def test_points_outside_the_crop_are_not_visible(tmp_path: Path) -> None:
    labels = source(tmp_path)
    crops = KeypointDataset(labels, crop_size=SIZE, padding=0.5)
    hidden = 0
    for i, instance in enumerate(labels.instances):
        sample = crops[i]
        points = sample["points"].numpy()
        inside = ((points >= -0.5) & (points <= SIZE - 0.5)).all(axis=1)
        labelled = instance.keypoints[:, 2] > 0
        assert np.array_equal(sample["visible"], inside & labelled)
        hidden += int((labelled & ~inside).sum())
    assert hidden > 5


def test_a_mirrored_crop_shows_the_left_eye_where_the_right_eye_was(tmp_path: Path) -> None:
    labels = source(tmp_path)
    only_flip = Augmentation(flip=1, rotation=0, scale=0, half_body=0, colour=0)
    plain = KeypointDataset(labels, crop_size=SIZE)[0]
    mirrored = KeypointDataset(labels, crop_size=SIZE, augmentation=only_flip)[0]
    # warpAffine's fixed-point weights may round the other way in a mirror.
    assert (plain["image"].flip(-1) - mirrored["image"]).abs().max() < 0.05
    index = list(AP10K.flip_index)
    assert torch.equal(mirrored["visible"], plain["visible"][index])
    seen = mirrored["visible"]
    expected = plain["points"][index] * torch.tensor([-1.0, 1.0]) + torch.tensor([SIZE - 1.0, 0.0])
    assert torch.allclose(mirrored["points"][seen], expected[seen], atol=1e-4)


def test_mirroring_gives_no_labels_to_keypoints_that_do_not_count(tmp_path: Path) -> None:
    counted = {name: name for name in AP10K.keypoints if name != "right_elbow"}
    path = write_coco(tmp_path)
    labels = CocoKeypoints(path, tmp_path / "images", skeleton=AP10K, keypoints=counted)
    only_flip = Augmentation(flip=1, rotation=0, scale=0, half_body=0, colour=0)
    mirrored = KeypointDataset(labels, crop_size=SIZE, augmentation=only_flip)
    held, partner = (AP10K.keypoints.index(f"{side}_elbow") for side in ("right", "left"))
    for i in range(len(mirrored)):
        assert not mirrored[i]["visible"][[held, partner]].any()
        assert mirrored[i]["visible"].any()


def test_mirroring_shows_no_side_that_has_no_partner(tmp_path: Path) -> None:
    own = dataclasses.replace(AP10K, flip_pairs=AP10K.flip_pairs[1:])  # no longer the eyes
    labels = CocoKeypoints(write_coco(tmp_path), tmp_path / "images", skeleton=own)
    only_flip = Augmentation(flip=1, rotation=0, scale=0, half_body=0, colour=0)
    mirrored = KeypointDataset(labels, crop_size=SIZE, augmentation=only_flip)
    plain = KeypointDataset(labels, crop_size=SIZE)
    eyes = [AP10K.keypoints.index(f"{side}_eye") for side in ("left", "right")]
    assert any(plain[i]["visible"][eyes].any() for i in range(len(plain)))
    assert not any(mirrored[i]["visible"][eyes].any() for i in range(len(plain)))
    assert "no partners are known of ['left_eye', 'right_eye']" in labels.summary()


def test_draws_are_a_function_of_seed_epoch_and_annotation(tmp_path: Path) -> None:
    labels = source(tmp_path)

    def sample(index: int, seed: int = 0, epoch: int = 0, only: list[int] | None = None):
        chosen = labels if only is None else CocoKeypoints(
            labels.annotations, labels.images, skeleton=AP10K, annotation_ids=only
        )  # fmt: skip
        crops = KeypointDataset(chosen, crop_size=SIZE, augmentation=Augmentation(), seed=seed)
        crops.set_epoch(epoch)
        return crops[index]

    assert equal(sample(3), sample(3))
    assert equal(sample(3), sample(1, only=[102, 104]))  # its place in the set does not matter
    assert not torch.equal(sample(3)["to_image"], sample(3, seed=1)["to_image"])
    assert not torch.equal(sample(3)["to_image"], sample(3, epoch=1)["to_image"])
    draws = {sample_generator(*key).random() for key in [(0, 0, 1), (0, 1, 0), (1, 0, 0)]}
    draws |= {sample_generator(0, 0, 1, purpose=1).random(), sample_generator(0, 0, -1).random()}
    assert len(draws) == 5


@pytest.mark.parametrize("persistent", [False, True])
def test_the_number_of_workers_changes_nothing(tmp_path: Path, persistent: bool) -> None:
    crops = KeypointDataset(source(tmp_path), crop_size=SIZE, augmentation=Augmentation())
    here = DataLoader(crops, batch_size=4, collate_fn=collate)
    there = DataLoader(
        crops, batch_size=4, collate_fn=collate, num_workers=2, persistent_workers=persistent
    )
    epochs = []
    for epoch in (0, 3):
        crops.set_epoch(epoch)  # reaches workers that live on
        expected = list(here)
        assert all(equal(a, b) for a, b in zip(expected, there, strict=True))
        epochs.append(expected)
    assert not equal(epochs[0][0], epochs[1][0])


def test_a_large_picture_is_reduced_while_decoding_and_lands_in_the_same_place(
    tmp_path: Path,
) -> None:
    labels = source(tmp_path, size=(400, 300), images=2)  # type: ignore[arg-type]
    for i, instance in enumerate(labels.instances):
        sample = KeypointDataset(labels, crop_size=16)[i]
        crop = square_crop(instance.box, 16)
        assert crop.scale < 0.5
        whole = crop.image(read_image(instance.file)).astype(float) / 127.5 - 1
        assert np.abs(sample["image"].permute(1, 2, 0).numpy() - whole).mean() < 0.03


def test_sets_that_cannot_work_are_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path, change=lambda c: [a.update(iscrowd=1) for a in c["annotations"]])
    with pytest.raises(
        ValueError, match=r"no instances to make crops of(.|\n)*left out: 6 \(iscrowd"
    ):
        KeypointDataset(CocoKeypoints(path, tmp_path / "images", skeleton=AP10K))
    path = write_coco(tmp_path)
    with pytest.raises(ValueError, match="read without its `images` folder"):
        KeypointDataset(CocoKeypoints(path, None, skeleton=AP10K))


def test_a_picture_that_breaks_later_names_itself(tmp_path: Path) -> None:
    crops = KeypointDataset(source(tmp_path), crop_size=SIZE)
    file = tmp_path / "images" / "0002.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(OSError, match=r"0002\.png"):
        crops[1]
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"0002\.png"):
        crops[1]
