"""What a localizer answers to names, those it was trained on and others, scored against labels.

Letters: N crops, K names.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.cells import Recipe
from benchmarks.crops import Crops
from benchmarks.learner import Learner
from genloc.codecs.heatmap import to_cells
from genloc.conditions.descriptions import load_descriptions
from genloc.conditions.text import TextCondition
from genloc.data.coco import CocoKeypoints, Instance
from genloc.inference import localize
from genloc.keypoints import Keypoints
from genloc.metrics.coco import CocoAP
from genloc.metrics.pck import pck
from genloc.skeleton import ANIMALPOSE, DEFAULT_SIGMA, Skeleton

THRESHOLD = 0.1  # of PCK, in parts of the box's longer side
ELSEWHERE = ("withers", "throat", "left_ear", "right_ear")  # Animal Pose's, not AP-10K's


def cut(skeleton: Skeleton, names: Sequence[str]) -> Skeleton:
    """Some of a skeleton's keypoints."""
    sigmas = tuple(skeleton.sigmas[skeleton.index(name)] for name in names)
    return Skeleton(f"{len(names)} of {skeleton.name}", tuple(names), (), (), sigmas)


def shuffled_words(phrases: Sequence[str], draws: int = 8, seed: int = 0) -> list[tuple[str, ...]]:
    """The same words dealt out anew among the phrases, of which none keeps all of its own.

    Each phrase keeps its number of words, and all together keep the words they have. Fewer draws, or none, where
    the words allow no more: one phrase alone cannot be shuffled.
    """
    words = [phrase.split() for phrase in phrases]
    pool = [word for own in words for word in own]
    ends = list(itertools.accumulate(len(own) for own in words))
    rng = np.random.default_rng([seed, 5])
    found: list[tuple[str, ...]] = []
    for _ in range(1000 * draws):
        dealt = rng.permutation(pool).tolist()
        new = [dealt[end - len(own) : end] for end, own in zip(ends, words, strict=True)]
        if all(sorted(a) != sorted(b) for a, b in zip(new, words, strict=True)):
            found.append(tuple(" ".join(own) for own in new))
        if len(found) == draws:
            break
    return found


def nearest_by_words(embedded: Tensor, asked: Sequence[int], among: Sequence[int]) -> list[int]:
    """For each asked name the one among others that the text encoder thinks nearest (cosine, centred)."""
    unit = torch.nn.functional.normalize(embedded - embedded[list(among)].mean(0), dim=1)
    near = unit[list(asked)] @ unit[list(among)].T
    return [among[i] for i in near.argmax(1).tolist()]


def nearest_place(
    pose: np.ndarray, instances: Sequence[Instance], rows: Sequence[int]
) -> np.ndarray:
    """For some keypoints of each instance the candidate whose mean place is nearest, int [N, n].

    Args:
        pose: [C, 2], the candidates' mean places in box units.
        instances: N. rows: which n of their keypoints.
    """
    boxes = np.array([instance.box for instance in instances])[:, None]
    placed = boxes[..., :2] + pose * boxes[..., 2:]  # [N, C, 2]
    at = np.array([instance.keypoints[list(rows), :2] for instance in instances])
    return np.linalg.norm(at[:, :, None] - placed[:, None], axis=-1).argmin(-1)


@dataclass
class Asker:
    """Scores a learner on names: trained ones, held-out ones, and another skeleton's.

    Args:
        skeleton: of the training labels.
        held: names that were not trained.
        nearest: name -> trained name that stands for it in baseline (a), by words.
        zoo: folder whose `annotations/animalpose-test.json` labels the test pictures, too; None for none.
        pose: [K, 2] `mean_pose` of the training pictures, also of the names held out; None for no such baseline.
    """

    skeleton: Skeleton
    held: tuple[str, ...]
    nearest: dict[str, str]
    zoo: Path | None = None
    pose: np.ndarray | None = None
    _sources: dict[tuple[str, ...], CocoKeypoints] = field(default_factory=dict)

    @property
    def seen(self) -> tuple[str, ...]:
        return tuple(name for name in self.skeleton.keypoints if name not in self.held)

    @torch.no_grad()
    def __call__(self, learner: Learner, crops: Crops, recipe: Recipe) -> dict[str, float]:
        """Scores, 0 to 1; "AP" is of the trained names alone, so it may choose."""
        condition = learner.condition
        words = isinstance(condition, TextCondition)
        asked: list[str] = list(self.skeleton.keypoints)
        phrases = dict(zip(asked, condition.phrases if words else asked, strict=True))
        mixed: list[tuple[str, ...]] = []
        away: dict[str, tuple[str, str]] = {}
        if words:
            mixed = shuffled_words([phrases[name] for name in self.held])
            away = {
                name: (said.names[0], said.full)
                for name, said in load_descriptions(None, ANIMALPOSE).items()
                if name in ELSEWHERE
            }
            every = [*phrases.values(), *(p for dealt in mixed for p in dealt)]
            every += [p for pair in away.values() for p in pair]
            every = list(dict.fromkeys(every))
            asked_of = condition.asking(every)
        else:
            every, asked_of = asked, condition
        xy, scores = _locate(learner, asked_of(), every, crops, recipe)
        at = {phrase: i for i, phrase in enumerate(every)}

        def found(names: Sequence[str], said: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
            columns = [at[said[name]] for name in names]
            return xy[:, columns], scores[:, columns]

        held, seen = self.held, self.seen
        result = {"AP": self._ap(crops, seen, *found(seen, phrases))}
        result["PCK"] = self._pck(crops, seen, found(seen, phrases)[0])
        mirror = {
            name: self.skeleton.keypoints[self.skeleton.flip_index[self.skeleton.index(name)]]
            for name in held
        }
        best = {}
        for name in held:  # chosen on these very pictures: no copying of one keypoint can do better
            score = {s: self._pck(crops, [name], found([s], phrases)[0]) for s in seen}
            best[name] = max(score, key=score.__getitem__)
        rows = {"held out": {name: name for name in held}} if words else {}
        rows |= {
            "nearest": {name: self.nearest[name] for name in held},
            "mirror": mirror,
            "best seen": best,
        }
        for title, stands in rows.items():
            own = found([stands[name] for name in held], phrases)
            result[f"AP {title}"] = self._ap(crops, held, *own)
            result[f"PCK {title}"] = self._pck(crops, held, own[0])
        if words:
            own_pck = {name: self._pck(crops, [name], found([name], phrases)[0]) for name in held}
            result |= {f"PCK {name}": value for name, value in own_pck.items()}
            dealt = [found(held, dict(zip(held, said, strict=True))) for said in mixed]
            result["AP shuffled"] = float(np.mean([self._ap(crops, held, *own) for own in dealt]))
            result["PCK shuffled"] = float(
                np.mean([self._pck(crops, held, own[0]) for own in dealt])
            )
        # Conditions of its own that were never trained are no candidates: they would be noise among the others.
        among = [i for i, name in enumerate(self.skeleton.keypoints) if words or name in seen]
        result |= self._identified(learner, condition()[:, among], among, crops, recipe)
        return result | self._elsewhere(crops, away, at, xy, found, phrases)

    def _identified(
        self,
        learner: Learner,
        condition: Tensor,
        among: Sequence[int],
        crops: Crops,
        recipe: Recipe,
    ) -> dict[str, float]:
        """Share of labelled places that are given their own name among the candidates.

        Args:
            condition: [1, n, C] of the candidates. among: which keypoints they are.

        Returns:
            "identified" for trained names and "identified held out"; of both what the nearest mean place alone
            gives ("... by place"), which never looks at a picture; and "identified by chance", 1 / n.
        """
        parts = []
        for batch in _batches(crops, recipe):
            w = learner.model.map_size(torch.empty(0, 3, crops.size, crops.size))[1]
            points = to_cells(batch["points"][:, among], crops.size / w)
            named = learner.model.identify(None, points, condition, latent=batch["latent"])
            parts.append(named.argmax(-1).cpu().numpy())
        ways = {"": np.concatenate(parts)}
        if self.pose is not None:
            ways[" by place"] = nearest_place(self.pose[among], crops.source.instances, among)
        right = {way: found == np.arange(len(among)) for way, found in ways.items()}
        out = np.array([self.skeleton.keypoints[i] in self.held for i in among])
        result = {"identified by chance": 1 / len(among)}
        for title, group in (("identified", ~out), ("identified held out", out)):
            shown = crops.labels["visible"][:, 0, among].numpy() & group
            if shown.any():
                result |= {title + way: float(own[shown].mean()) for way, own in right.items()}
        return result

    def _elsewhere(self, crops, away, at, xy, found, phrases) -> dict[str, float]:  # type: ignore[no-untyped-def]
        """PCK of Animal Pose's keypoints by name, by full description, and by the best trained keypoint."""
        file = None if self.zoo is None else self.zoo / "annotations" / "animalpose-test.json"
        if file is None or "test" not in crops.source.annotations.name or not file.is_file():
            return {}
        ids = [instance.annotation_id for instance in crops.source.instances]
        other = CocoKeypoints(file, None, skeleton=ANIMALPOSE, require_keypoints=False)
        labelled = {instance.annotation_id: instance for instance in other.instances}
        rows = [i for i, annotation in enumerate(ids) if annotation in labelled]
        boxes = np.array([crops.source.instances[i].box for i in rows])
        result = {}
        for name in ELSEWHERE:
            truth = np.array([labelled[ids[i]].keypoints[[ANIMALPOSE.index(name)]] for i in rows])

            def score(columns: np.ndarray, truth: np.ndarray = truth) -> float:
                return pck(columns[rows], truth, boxes, THRESHOLD)

            if away:
                for title, phrase in zip(("by name", "described"), away[name], strict=True):
                    result[f"{name} {title}"] = score(xy[:, [at[phrase]]])
            copies = {s: score(found([s], phrases)[0]) for s in self.seen}
            result[f"{name} best seen"] = max(copies.values())
            result[f"{name} nearest"] = copies[self.nearest[name]]
        return result

    def _pck(self, crops: Crops, names: Sequence[str], xy: np.ndarray) -> float:
        columns = [self.skeleton.index(name) for name in names]
        truth = np.array([instance.keypoints[columns] for instance in crops.source.instances])
        boxes = np.array([instance.box for instance in crops.source.instances])
        return pck(xy, truth, boxes, THRESHOLD)

    def _ap(self, crops: Crops, names: Sequence[str], xy: np.ndarray, scores: np.ndarray) -> float:
        skeleton = cut(self.skeleton, names)
        key = (crops.key, *names)
        if key not in self._sources:
            own = [instance.annotation_id for instance in crops.source.instances]
            annotations = crops.source.annotations
            self._sources[key] = CocoKeypoints(
                annotations, None, skeleton=skeleton, annotation_ids=own
            )
        source = self._sources[key]
        labelled = {instance.annotation_id for instance in source.instances}
        instances = crops.source.instances
        rows = [i for i, one in enumerate(instances) if one.annotation_id in labelled]
        found = Keypoints(
            xy=xy[rows],
            scores=scores[rows],
            boxes=np.array([instances[i].box for i in rows], np.float32),
            box_scores=np.ones(len(rows), np.float32),
            skeleton=skeleton,
        )
        ap = CocoAP(source.ground_truth(), skeleton)
        ap.add(
            found.to_coco(
                [instances[i].image_id for i in rows],
                [instances[i].category_id for i in rows],
                [instances[i].annotation_id for i in rows],
            )
        )
        return float(ap.compute()["AP"])


def _locate(
    learner: Learner, condition: Tensor, names: Sequence[str], crops: Crops, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """xy [N, K, 2] in image pixels and scores [N, K]."""
    skeleton = Skeleton("asked", tuple(names), (), (), (DEFAULT_SIGMA,) * len(names))
    parts = []
    for batch in _batches(crops, recipe):
        maps = learner.model(None, condition, latent=batch["latent"])
        parts.append(
            localize(
                maps, batch["to_image"], batch["box"], crop_size=crops.size, skeleton=skeleton,
                decoding=recipe.decoding,
            )
        )  # fmt: skip
    return np.concatenate([p.xy for p in parts]), np.concatenate([p.scores for p in parts])


def _batches(crops: Crops, recipe: Recipe):  # type: ignore[no-untyped-def]
    for start in range(0, len(crops), 32):
        items = np.arange(start, min(start + 32, len(crops)))
        yield crops.batch(items, np.zeros_like(items), recipe.device, latent=True)


def only_seen(crops: Crops, names: Sequence[str]) -> Crops:
    """The same crops with the labels of some keypoints alone.

    Cut after the crops are mirrored: else a mirrored left elbow would teach what a right one is.
    """
    columns = [crops.source.skeleton.index(name) for name in names]
    kept = torch.zeros(crops.source.skeleton.num_keypoints, dtype=torch.bool)
    kept[columns] = True
    other = copy.copy(crops)
    other.labels = {**crops.labels, "visible": crops.labels["visible"] & kept}
    other.key = f"{crops.key}-{len(columns)}of{len(kept)}"
    return other
