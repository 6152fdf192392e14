"""`CocoAP`: OKS average precision by pycocotools, the mean over species and over all instances.

AP-10K's own evaluator averages over its species, so a result must carry the species of the truth:
with one category for all, most species count as missed and the AP is about 0.05, and with ids that are
off by one it is 0. Such results are refused here. A single animal taken for another species is an error
like any other, and counts as COCO has it.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from genloc.metrics.oks import oks_nms
from genloc.metrics.results import check_result
from genloc.skeleton import Skeleton

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR")
_PLACES = (0, 1, 2, 3, 4, 5)  # of STATS in what COCOeval.summarize writes for keypoints


class CocoAP:
    """Collects results and scores them once.

    Args:
        ground_truth: COCO json object (`CocoKeypoints.ground_truth()`), keypoints as the skeleton
            has them.
        skeleton: K keypoints and their sigmas.
        sigmas: a name of `OKS_SIGMAS` instead of the skeleton's own.
        nms: OKS above which two detections of one image and species are the same animal, by the
            `area` or `bbox` that a result states, else the extent of its keypoints; None to keep
            all. Results with an `annotation_id` come from given boxes, one each, and are never
            removed by it.

    Attributes:
        results: what was added. duplicates: how many were dropped for a repeated annotation id.

    Raises:
        ValueError: unknown sigmas, an nms that is no OKS, or no annotations, or they do not fit the skeleton.
    """

    def __init__(
        self,
        ground_truth: dict[str, Any],
        skeleton: Skeleton,
        sigmas: str | None = None,
        nms: float | None = 0.9,
    ) -> None:
        self.sigmas = skeleton.scored_by(sigmas).sigmas
        if nms is not None and not 0 <= nms <= 1:
            raise ValueError(
                f"nms is {nms}, expected an OKS from 0 to 1, or None to keep all results"
            )
        if not ground_truth["annotations"]:
            raise ValueError("ground_truth has no annotations: there is nothing to score against")
        length = 3 * skeleton.num_keypoints
        for a in ground_truth["annotations"]:
            if len(a["keypoints"]) != length:
                raise ValueError(
                    f"ground_truth: annotation {a['id']} has {len(a['keypoints'])} numbers in "
                    f"keypoints, expected {length} for {skeleton.name!r}"
                )
        self.ground_truth = ground_truth
        self.skeleton = skeleton
        self.nms = nms
        self.results: list[dict[str, Any]] = []
        self.duplicates = 0
        self._given = 0
        self._ids: set[int] = set()
        self._truth = {a["id"]: a for a in ground_truth["annotations"]}
        self._images = {image["id"] for image in ground_truth["images"]}
        self._species: defaultdict[int, set[int]] = defaultdict(set)  # of each image
        for a in ground_truth["annotations"]:
            self._species[a["image_id"]].add(a["category_id"])
        names = [str(c.get("name", c["id"])) for c in ground_truth["categories"]]
        self._names = {
            c["id"]: name if names.count(name) == 1 else f"{name} ({c['id']})"
            for c, name in zip(ground_truth["categories"], names, strict=True)
        }

    def add(self, results: Iterable[dict[str, Any]]) -> None:
        """Add records of a COCO keypoint results file (`Keypoints.to_coco`).

        A second result for the same `annotation_id` (distributed samplers repeat some) is dropped.

        Raises:
            ValueError: names the record by its place among all that were added, from 1: it is not a keypoint
                result (`check_result`), belongs to no image, annotation or species of the
                truth, or names an annotation of another species.
        """
        for result in results:
            self._given += 1
            self._check(result)
            id_ = result.get("annotation_id")
            if id_ is not None:
                if id_ in self._ids:
                    self.duplicates += 1
                    continue
                self._ids.add(id_)
            self.results.append(result)

    def compute(self, *, part: bool = False) -> dict[str, Any]:
        """Score what was added.

        Args:
            part: the truth is a part of a set that was scored as a whole, where species were compared;
                in so few pictures they may differ by chance.

        Returns:
            AP, AP50, AP75, APM, APL, AR: mean over the species that have truth, 0 to 1;
            `AP pooled`: over all instances as one species; `per_species`: name -> AP. NaN where no
            truth falls under a number (no medium-sized instance, say).

        Raises:
            ValueError: the results without `annotation_id` are all of one species, and their images are not;
                or in most of their images no result has a species that is there.
        """
        if not part:
            self._refuse_other_species()
        results = self._without_copies()
        evaluation = _run(self.ground_truth, results, self.sigmas)
        precision = evaluation.eval["precision"]  # [OKS thresholds, recalls, species, areas, 1]
        per_species = {}
        for i, category in enumerate(evaluation.params.catIds):
            values = precision[:, :, i, 0, -1]
            if (values > -1).any():
                per_species[self._names[category]] = float(values[values > -1].mean())
        scores: dict[str, Any] = dict(zip(STATS, _stats(evaluation), strict=True))
        if len(per_species) > 1:
            # COCOeval(useCats=0) has no keypoints to compare (its OKS looks them up by category),
            # so the categories are made one instead.
            one = {**self.ground_truth, "categories": [{"id": 1, "name": "any"}]}
            one["annotations"] = [{**a, "category_id": 1} for a in one["annotations"]]
            same = [{**r, "category_id": 1} for r in results]
            scores["AP pooled"] = _stats(_run(one, same, self.sigmas))[0]
        else:
            scores["AP pooled"] = scores["AP"]
        scores["per_species"] = per_species
        return scores

    def _check(self, result: dict[str, Any]) -> None:
        where = check_result(result, self._given, self.skeleton)
        if result["image_id"] not in self._images:
            raise ValueError(f"{where}: the annotations have no such image; is it another split?")
        id_ = result.get("annotation_id")
        truth = None if id_ is None else self._truth.get(id_)
        if id_ is not None and (truth is None or truth["image_id"] != result["image_id"]):
            raise ValueError(f"{where}: it has no annotation {id_}; is it another split?")
        listed = set(self._names) if truth is None else {truth["category_id"]}
        if result["category_id"] not in listed:
            raise ValueError(_other_species(where, result["category_id"], listed))

    def _refuse_other_species(self) -> None:
        free = [r for r in self.results if r.get("annotation_id") is None]
        found = {r["category_id"] for r in free}
        there = {species for r in free for species in self._species[r["image_id"]]}
        if len(found) == 1 and there - found:
            raise ValueError(_other_species("every result", found.pop(), there))
        said: defaultdict[int, set[int]] = defaultdict(set)  # of each image that has truth
        for r in free:
            if self._species[r["image_id"]]:
                said[r["image_id"]].add(r["category_id"])
        # By image: a detector that names several species for each animal has the right one among them.
        wrong = [i for i, species in said.items() if not species & self._species[i]]
        if 2 * len(wrong) > len(said):
            what = f"in {len(wrong)} of {len(said)} images no result is of a species there: one in image {wrong[0]}"
            raise ValueError(_other_species(what, min(said[wrong[0]]), self._species[wrong[0]]))

    def _without_copies(self) -> list[dict[str, Any]]:
        if self.nms is None:
            return self.results
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for i, r in enumerate(self.results):
            if r.get("annotation_id") is None:
                groups[r["image_id"], r["category_id"]].append(i)
        removed: set[int] = set()
        for group in groups.values():
            xy = np.array([self.results[i]["keypoints"] for i in group]).reshape(len(group), -1, 3)
            extent = np.ptp(xy[..., :2], axis=1).prod(axis=-1)
            area = [_area(self.results[i], extent[j]) for j, i in enumerate(group)]
            scores = np.array([self.results[i]["score"] for i in group])
            keep = oks_nms(xy, scores, np.array(area), self.sigmas, self.nms)
            removed.update(i for i, kept in zip(group, keep, strict=True) if not kept)
        return [r for i, r in enumerate(self.results) if i not in removed]


def _other_species(what: str, category: int, truth: set[int]) -> str:
    return (
        f"{what} has category_id {category}, but the truth there is {sorted(truth)}. AP is the mean over species, "
        "so a result must carry the species of its box; with one category for all of AP-10K the AP falls to "
        "about 0.05"
    )


def _area(result: dict[str, Any], extent: float) -> float:
    """Square pixels of the result's object, as it states them; else the extent of its keypoints."""
    if result.get("area"):
        return float(result["area"])
    return result["bbox"][2] * result["bbox"][3] if result.get("bbox") else extent


def _run(truth: dict[str, Any], results: list[dict[str, Any]], sigmas: tuple[float, ...]) -> Any:
    """A COCOeval after accumulate and summarize. Neither argument is changed."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports to stdout
        gt = COCO()
        # Numbered from 1: COCOeval takes a match with annotation 0 for no match.
        numbered = [{**a, "id": i} for i, a in enumerate(truth["annotations"], 1)]
        gt.dataset = {**truth, "annotations": numbered}
        gt.createIndex()
        if results:
            # It takes what the first one has for what all have.
            boxed = all(r.get("bbox") for r in results)
            left = () if boxed else ("bbox",)
            dt = gt.loadRes([{k: v for k, v in r.items() if k not in left} for r in results])
        else:
            dt = COCO()
            dt.dataset = {**truth, "annotations": []}
            dt.createIndex()
        evaluation = COCOeval(gt, dt, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _stats(evaluation: Any) -> list[float]:
    """STATS, with NaN for COCOeval's -1."""
    values = [float(evaluation.stats[i]) for i in _PLACES]
    return [math.nan if v < 0 else v for v in values]
