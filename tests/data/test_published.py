"""Published sets, as they are: each loads, or says in one sentence why not."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO as PyCoco

from genloc.data.batch import KeypointDataset
from genloc.data.coco import CocoKeypoints, Instance
from genloc.data.transforms import Augmentation
from genloc.skeleton import ANIMALPOSE, COCO, HUMAN_ART, load_skeleton

# Published files, as they are. In each: instances, keypoints, left out, words of the notes.
PUBLISHED: dict[str, tuple[int, int, dict[str, int], list[str]]] = {
    "300w/test_300w.json": (2, 68, {}, []),
    "ak/test_animalkingdom.json": (2, 23, {}, ["2 annotations have category_id 4"]),
    "animalpose/test_animalpose.json": (2, 20, {}, []),
    "ap10k/test_ap10k.json": (2, 17, {}, []),
    "atrw/test_atrw.json": (2, 15, {}, []),
    "coco/test_coco.json": (12, 17, {"no labelled keypoint": 2}, []),
    "cofw/test_cofw.json": (2, 29, {}, []),
    "crowdpose/test_crowdpose.json": (
        4, 14, {"no labelled keypoint": 1}, ["4 annotations state another", "5 annotations have no area"],
    ),
    "fly/test_fly.json": (2, 32, {}, []),
    "horse10/test_horse10.json": (3, 22, {}, []),
    "humanart/test_humanart.json": (4, 21, {}, []),
    "locust/test_locust.json": (2, 35, {}, []),
    "macaque/test_macaque.json": (2, 17, {}, []),
    "mpii/test_mpii_trb.json": (5, 40, {}, ["5 annotations have no box", "5 annotations have no area"]),
    "ochuman/test_ochuman.json": (5, 17, {}, []),
    "wflw/test_wflw.json": (4, 98, {}, []),
    "zebra/test_zebra.json": (2, 9, {}, []),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*edges left out")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets_load(real_data: Path, name: str) -> None:
    path = real_data / "mmpose_samples" / name
    instances, keypoints, dropped, notes = PUBLISHED[name]
    source = CocoKeypoints(path, path.parent, skeleton=load_skeleton(path))
    assert (len(source), source.skeleton.num_keypoints) == (instances, keypoints)
    assert source.dropped == dropped
    assert len(source.notes) == len(notes)
    for note, words in zip(sorted(source.notes), sorted(notes), strict=True):
        assert note.startswith(words)

    # pycocotools reads the same numbers.
    with contextlib.redirect_stdout(io.StringIO()):
        coco = PyCoco(str(path))
    for instance in source.instances:
        a = coco.loadAnns([instance.annotation_id])[0]
        raw = np.reshape(
            a[f"keypoints_{keypoints}"] if keypoints == 21 else a["keypoints"], (-1, 3)
        )
        assert np.array_equal(instance.keypoints[:, 2], raw[:, 2])
        seen = raw[:, 2] > 0
        assert np.allclose(instance.keypoints[seen, :2], raw[seen, :2], atol=1e-4)

    # Every picture becomes crops whose labels are where the picture has them.
    crops = KeypointDataset(source, crop_size=64, augmentation=Augmentation())
    for i, instance in enumerate(source.instances):
        sample = crops[i]
        assert sample["image"].shape == (3, 64, 64)
        assert sample["image"].std() > 0.05
        back = sample["to_image"][:, :2] @ sample["points"].double().T + sample["to_image"][:, 2:]
        seen = sample["visible"].numpy()
        index = source.skeleton.flip_index
        flipped = sample["to_image"][:, :2].det() < 0
        rows = instance.keypoints[list(index)] if flipped else instance.keypoints
        assert np.allclose(back.T.numpy()[seen], rows[seen, :2], atol=0.02)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpii/test_mpii.json", "not in COCO keypoints format: it is a list of 5 records with"),
        ("coco/test_coco_det_AP_H_56.json", "a list of 118 records with"),
        (
            "coco/test_keypoint_partition_metric.json",
            "names 17 keypoints but an annotation has 133",
        ),
        ("crowdpose/test_crowdpose.json", "needs keypoints .*which category 1 does not have"),
        ("wflw/test_wflw.json", "category 1 names no keypoints and its annotations have 98"),
    ],
)
def test_published_files_that_do_not_fit_say_why(real_data: Path, name: str, message: str) -> None:
    path = real_data / "mmpose_samples" / name
    with pytest.raises(ValueError, match=message):
        CocoKeypoints(path, path.parent, skeleton=COCO)


def test_human_art_gives_17_or_21(real_data: Path) -> None:
    path = real_data / "mmpose_samples/humanart/test_humanart.json"
    people = CocoKeypoints(path, path.parent, skeleton=HUMAN_ART)
    whole = CocoKeypoints(path, path.parent, skeleton=load_skeleton(path))
    assert len(people) == len(whole) == 4
    for a, b in zip(people.instances, whole.instances, strict=True):
        assert np.array_equal(a.keypoints, b.keypoints[:17])
    assert any(i.keypoints[17:, 2].any() for i in whole.instances)
    with pytest.raises(FileNotFoundError, match=r"file_name \('HumanArt/images/"):
        CocoKeypoints(path, path.parent / "HumanArt", skeleton=HUMAN_ART)


def test_animal_pose_in_its_own_form_equals_its_conversion(real_data: Path) -> None:
    folder = real_data / "animalpose"
    own = CocoKeypoints(
        folder / "annotations/keypoints_subset.json", folder / "images", skeleton=ANIMALPOSE
    )
    made = CocoKeypoints(folder / "annotations/coco_keypoints.json", folder, skeleton=ANIMALPOSE)
    assert len(own) == len(made) == 839
    assert own.dropped == made.dropped == {"no labelled keypoint": 11}
    inside = 0

    def by_label(source: CocoKeypoints) -> list[Instance]:
        return sorted(
            source.instances, key=lambda i: (i.image_id, i.keypoints[:, :2].ravel().tolist())
        )

    for a, b in zip(by_label(own), by_label(made), strict=True):
        assert (a.image_id, a.category_id, a.file.name) == (b.image_id, b.category_id, b.file.name)
        assert np.array_equal(a.keypoints[:, :2], b.keypoints[:, :2])
        assert np.array_equal(a.keypoints[:, 2] > 0, b.keypoints[:, 2] > 0)
        inside += a.box == b.box  # the conversion clips boxes to the picture
    assert inside > 800
    assert set(np.concatenate([i.keypoints[:, 2] for i in own.instances])) == {0, 1}


def test_animal_pose_with_most_pictures_absent(real_data: Path) -> None:
    folder = real_data / "animalpose"
    with pytest.raises(FileNotFoundError, match=r"of the 4605 images of .* are not there"):
        CocoKeypoints(folder / "keypoints.json", folder / "images", skeleton=ANIMALPOSE)
    source = CocoKeypoints(
        folder / "keypoints.json", folder / "images", skeleton=ANIMALPOSE, missing_images="drop"
    )
    assert len(source) == 839
    assert len(source) + sum(source.dropped.values()) == 6117


def test_animal_pose_synonyms_by_mmpose(real_data: Path) -> None:
    path = real_data / "mmpose_samples/animalpose/test_animalpose.json"
    own = CocoKeypoints(path, path.parent, skeleton=load_skeleton(path))
    ours = CocoKeypoints(path, path.parent, skeleton=ANIMALPOSE)
    for theirs, name in (("L_EarBase", "left_ear"), ("TailBase", "tailbase"),
                         ("R_B_Knee", "right_back_knee")):  # fmt: skip
        for a, b in zip(own.instances, ours.instances, strict=True):
            i, j = own.skeleton.index(theirs), ANIMALPOSE.index(name)
            assert np.array_equal(a.keypoints[i], b.keypoints[j])


def test_coco_with_crowds_and_people_without_keypoints(real_data: Path) -> None:
    folder = real_data / "coco_mini"
    count: Counter[str] = Counter()
    for split in ("train2017", "val2017"):
        path = folder / f"annotations/person_keypoints_{split}.json"
        source = CocoKeypoints(path, folder / split, skeleton=COCO)
        count.update(source.dropped)
        count["kept"] += len(source)
    assert count == {"iscrowd": 6, "no labelled keypoint": 80, "kept": 154}


@pytest.mark.parametrize("name", ["mirror_mouse", "openfield_mouse"])
def test_the_mice(real_data: Path, name: str) -> None:
    path = real_data / name / "annotations/coco_keypoints.json"
    source = CocoKeypoints(path, path.parent.parent, skeleton=load_skeleton(path))
    assert len(source) == {"mirror_mouse": 90, "openfield_mouse": 58}[name]
    assert ("never mirrored" in source.summary()) == (name == "mirror_mouse")


def test_few_shot_lists_of_animal_pose_are_annotation_ids(real_data: Path) -> None:
    folder = real_data / "animalpose"
    shots = json.loads((folder / "annotations/few_shot.json").read_text())["shots"]["5"]
    ids = [i for species in shots.values() for i in species]
    source = CocoKeypoints(
        folder / "annotations/coco_keypoints.json", folder, skeleton=ANIMALPOSE, annotation_ids=ids
    )
    assert sorted(i.annotation_id for i in source.instances) == sorted(ids)
    names = Counter(source.species(i.category_id) for i in source.instances)
    assert names == {"dog": 5, "cat": 5, "sheep": 5, "horse": 5, "cow": 5}
