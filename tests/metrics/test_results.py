"""Files that somebody else wrote: what is no keypoint result is refused in a line that names it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloc.metrics.coco import CocoAP
from genloc.skeleton import AP10K
from tests.metrics.test_coco import answers, score, truth_of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "0.9"}, r"result 1 .*: score is '0.9', expected a number"),
        ({"score": True}, "score is True, expected a number"),
        ({"score": 10**400}, "not finite"),
        ({"score": math.inf}, "not finite"),
        (
            {"keypoints": [1.0, None, 1.0] * 17},
            r"result 1 .*: keypoints\[1\] is None, expected a number",
        ),
        ({"keypoints": ["1"] * 51}, r"keypoints\[0\] is '1', expected a number"),
        ({"keypoints": [[1, 2, 3]] * 51}, r"keypoints\[0\] is \[1, 2, 3\], expected a number"),
        ({"keypoints": [1, 10**400, 1] * 17}, "not finite"),
        ({"keypoints": 7}, "keypoints is 7, expected a list of 51 numbers"),
        ({"keypoints": "1" * 51}, "keypoints is '111.*expected a list of 51 numbers"),
        ({"keypoints": {"nose": 1}}, "keypoints is {'nose': 1}, expected a list"),
        ({"image_id": [1]}, r"image_id is \[1\], expected a number"),
        ({"image_id": "1"}, "image_id is '1', expected a number"),
        ({"category_id": {}}, "category_id is {}, expected a number"),
        ({"annotation_id": [101]}, r"annotation_id is \[101\], expected a number"),
        ({"bbox": [1, 2]}, r"bbox is \[1, 2\], expected a list of 4 numbers"),
        ({"bbox": 5}, "bbox is 5, expected a list of 4 numbers"),
        ({"bbox": [1, 2, None, 4]}, r"bbox\[2\] is None, expected a number"),
        ({"bbox": [1, 2, math.nan, 4]}, "not finite"),
        ({"area": "large"}, "area is 'large', expected a number"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    truth = truth_of(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        score(truth, [{**answers(truth, 0)[0], **change}])
    assert len(str(caught.value)) < 250


def test_a_wrong_result_is_named_by_its_place(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 0)
    ap = CocoAP(truth, AP10K)
    ap.add(results[:3])
    ap.add(results[:2])  # dropped, and counted all the same
    with pytest.raises(ValueError, match=r"result 7 \(image 1\): score is 'x'"):
        ap.add([results[3], {**results[0], "score": "x"}])
    with pytest.raises(ValueError, match="result 1 is 5, expected an object"):
        CocoAP(truth, AP10K).add([5])  # type: ignore[list-item]


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    results = answers(truth, 3)
    same_ = [
        {**r, "score": np.float64(r["score"]), "image_id": np.int64(r["image_id"]), "bbox": [],
         "keypoints": tuple(np.array(r["keypoints"]))}
        for r in results
    ]  # fmt: skip
    assert score(truth, same_) == score(truth, results)


@pytest.mark.parametrize("nms", [-1, 1.5, math.nan])
def test_an_nms_that_is_no_oks_is_refused(tmp_path: Path, nms: float) -> None:
    with pytest.raises(ValueError, match=rf"nms is {nms}, expected an OKS from 0 to 1"):
        CocoAP(truth_of(tmp_path), AP10K, nms=nms)
