"""Animal Pose's 20 keypoints for the pictures of a zoo: another skeleton on the very same animals.

The pictures are drawn again, from the seeds they were drawn from, with eight further joints; pixels
stay the same. What was trained on AP-10K's 17 can so be asked for withers, throat, ears and hocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from genloc.data.zoo.animal import Animal, make_animal
from genloc.data.zoo.capsules import EAR, Vector
from genloc.data.zoo.picture import Labelled, draw_picture
from genloc.data.zoo.scene import STYLES
from genloc.data.zoo.write import SEED_ZOO, annotation, in_processes, picture_rng, write_json
from genloc.skeleton import ANIMALPOSE

# Where Animal Pose's keypoints are among AP-10K's 17 and the eight joints after them. Its "elbows"
# and "knees" are the upper and lower joint of each leg: behind, AP-10K's knee and the hock.
_ORDER = (0, 1, 2, 17, 18, 6, 9, 12, 15, 19, 20, 21, 22, 7, 10, 13, 16, 23, 24, 4)


def with_further_joints(animal: Animal) -> Animal:
    """A quadruped with 25 joints: AP-10K's 17, then base of the left and right ear (not a number
    where it has none), front knees, hocks, throat, withers."""
    body, joints = animal.capsules, animal.joints
    hip, chest = body.a[0], body.b[0]
    spine = (chest - hip) / np.linalg.norm(chest - hip)
    left = joints[5] - joints[8]
    left /= np.linalg.norm(left)
    up = np.cross(spine, left)
    ears = [i for i, material in enumerate(body.material) if material == EAR][:2]
    # An ear's capsule starts on the skull; the membrane of a wing does not.
    near = [np.linalg.norm(body.a[i] - joints[0]) < 1.0 for i in ears]
    gone = np.full(3, np.nan)
    bases = [body.a[i] for i in ears] if len(ears) == 2 and all(near) else [gone, gone]
    lower = [body.b[_start(animal, joints[k])] for k in (6, 9, 12, 15)]
    neck = _neck(animal)
    along = (body.b[neck] - body.a[neck]) / np.linalg.norm(body.b[neck] - body.a[neck])
    throat = body.b[neck] - body.rb[neck] * np.cross(along, left)
    withers = chest + body.rb[0] * up
    more = np.array([*bases, *lower, throat, withers])
    radius = animal.joint_radius
    wide = np.array([0.06, 0.06, *radius[[6, 9, 12, 15]], 0.08, 0.08])
    return replace(
        animal,
        joints=np.concatenate([joints, more]),
        joint_radius=np.concatenate([radius, wide]),
    )


def _start(animal: Animal, joint: Vector) -> int:
    """The capsule that begins in a joint: of an elbow the forearm, of a knee the shank."""
    gaps = [float(np.abs(a - joint).max()) for a in animal.capsules.a]
    return int(np.argmin(gaps))


def _neck(animal: Animal) -> int:
    """The capsule along which AP-10K's neck lies, a tenth of the way up."""
    body = animal.capsules
    gaps = [
        float(np.abs(0.9 * a + 0.1 * b - animal.joints[3]).max())
        for a, b in zip(body.a, body.b, strict=True)
    ]
    return int(np.argmin(gaps))


def _make(category_id: int, rng: np.random.Generator) -> Animal:
    return with_further_joints(make_animal(category_id, rng))


def _label_one(job: tuple[int, int, int, int, str]) -> list[Labelled]:
    seed, category_id, index, size, style = job
    cv2.setNumThreads(1)
    attempt = 0
    while True:  # as the zoo itself is drawn
        rng = picture_rng(SEED_ZOO, seed, category_id, index + 1_000_000 * attempt)
        chosen = str(rng.choice(list(STYLES))) if style == "mixed" else style
        picture = draw_picture(category_id, rng, size=size, style=chosen, make=_make)
        if picture.animals:
            break
        attempt += 1
    return [replace(a, keypoints=a.keypoints[list(_ORDER)]) for a in picture.animals]


def label_zoo(
    zoo: Path | str,
    split: str = "test",
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `annotations/animalpose-{split}.json` beside a zoo's own labels, for the same pictures.

    Args:
        zoo: folder of `write_zoo`.
        split: train, val or test.
        workers: processes; the number of cores by default.
        progress: called with (pictures done, pictures in all).

    Raises:
        FileNotFoundError: no zoo there.
    """
    file = Path(zoo) / "annotations" / f"ap10k-{split}-split1.json"
    if not file.is_file():
        raise FileNotFoundError(f"no zoo in {zoo}: no {file}; draw one with `genloc zoo {zoo}`")
    content = json.loads(file.read_text(encoding="utf-8"))
    drawn = content["info"]
    jobs = [
        (drawn["seed"], image["id"] // 10_000, image["id"] % 10_000, drawn["size"], drawn["style"])
        for image in content["images"]
    ]
    results = in_processes(_label_one, jobs, workers, progress)
    content["annotations"] = [
        annotation(image["id"], n, animal)
        for image, animals in zip(content["images"], results, strict=True)
        for n, animal in enumerate(animals)
        if (animal.keypoints[:, 2] > 0).any()
    ]
    for category in content["categories"]:
        category["keypoints"] = list(ANIMALPOSE.keypoints)
        category["skeleton"] = [[a + 1, b + 1] for a, b in ANIMALPOSE.edges]
    out = file.with_name(f"animalpose-{split}.json")
    write_json(out, content)
    return out
