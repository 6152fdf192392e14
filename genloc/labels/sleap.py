"""SLEAP's labels, `.slp` and `.pkg.slp`, through sleap-io."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genloc.labels.labelled import Animal, Labelled, Picture, Pictures, no_labels


def read_sleap(path: Path, images: Path | None = None) -> Labelled:
    """Read the labels a person made; predictions in the file are left out.

    Frames of videos, and pictures inside a package, are given as pixels, to be written as files.

    Args:
        path: the `.slp`.
        images: folder to look for pictures and videos in; by default beside the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, holds several skeletons, or no labels.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.absolute()}")
    try:
        import sleap_io
    except ImportError:
        raise ValueError(
            f"{path}: reading SLEAP files needs sleap-io; pip install 'genloc[labels]'"
        ) from None
    try:
        labels = sleap_io.load_slp(str(path), open_videos=False)
    except Exception as error:  # h5py, json and sleap-io raise of every kind
        raise ValueError(f"{path} cannot be read as a SLEAP file: {error}") from None
    used = {id(i.skeleton): i.skeleton for f in labels.labeled_frames for i in f.user_instances}
    if len(used) > 1:
        raise ValueError(
            f"{path} holds instances of {len(used)} skeletons "
            f"({[s.name for s in used.values()]}); save one of them at a time"
        )
    if not used:
        raise no_labels(path, "no instance was labelled by a person")
    (skeleton,) = used.values()
    finder = Pictures([p for p in (images, path.absolute().parent) if p is not None])
    pictures, predicted, empty = [], 0, 0
    for frame in labels.labeled_frames:
        predicted += len(frame.predicted_instances)
        if frame.user_instances:
            every = [_animal(instance) for instance in frame.user_instances]
            animals = tuple(animal for animal in every if animal.keypoints[:, 2].any())
            empty += len(every) - len(animals)
            pictures.append(_picture(frame, animals, finder, labels.videos.index(frame.video)))
    if not any(picture.animals for picture in pictures):
        raise no_labels(path, "no point of an instance was placed by a person")
    remarks = [f"{predicted} predicted instances are left out"] if predicted else []
    remarks += [f"{empty} instances without a placed point are left out"] if empty else []
    return Labelled(
        tool="SLEAP",
        keypoints=tuple(str(name) for name in skeleton.node_names),
        edges=tuple((int(a), int(b)) for a, b in skeleton.edge_inds),
        pictures=pictures,
        remarks=remarks,
    )


def _animal(instance: Any) -> Animal:
    xy = np.asarray(instance.numpy(invisible_as_nan=False), np.float64)
    seen = np.asarray(instance.points["visible"], bool)
    v = np.where(np.isfinite(xy).all(axis=1), np.where(seen, 2.0, 1.0), 0.0)
    return Animal(np.column_stack([np.where(v[:, None] > 0, xy, 0), v]))


def _picture(frame: Any, animals: tuple[Animal, ...], finder: Pictures, number: int) -> Picture:
    video, index = frame.video, int(frame.frame_idx)
    if isinstance(video.filename, list):
        name = str(video.filename[index])
        return Picture(name, Path(name) if Path(name).is_file() else finder.find(name), animals)
    name = str(video.filename)
    if not Path(name).is_file():
        found = finder.find(name)
        if found is None:
            return Picture(f"{name}, frame {index}", None, animals)
        video.replace_filename(str(found), open=False)

    def pixels() -> np.ndarray:
        video.open()
        return np.asarray(video[index])

    stem = f"{number:02d}-{Path(name).name.split('.')[0]}-{index:06d}.png"
    return Picture(stem, None, animals, pixels=pixels)
