"""What goes together and what does not, before anything is trained."""

from __future__ import annotations

import pytest

from genloc.conditions import TextCondition
from genloc.conditions.learned import LearnedCondition
from genloc.losses import HEL, HeatmapMSE
from genloc.models import GenLoc, Prior
from genloc.models.baselines import ConvHead, SimplePose
from genloc.training.parts import check_parts

CONDITION = LearnedCondition()


@pytest.mark.parametrize(
    ("model", "condition", "loss"),
    [
        (GenLoc(Prior()), CONDITION, HEL()),
        (GenLoc(Prior()), CONDITION, HeatmapMSE()),
        (ConvHead(Prior()), None, HEL()),
        (ConvHead(Prior()), None, HeatmapMSE()),
        (SimplePose(), None, HeatmapMSE()),
    ],
)
def test_these_go_together(model, condition, loss) -> None:
    check_parts(model, condition, loss)


@pytest.mark.parametrize(
    ("model", "condition", "loss", "message"),
    [
        (GenLoc(Prior()), None, HEL(), "must be told what to look for"),
        (ConvHead(Prior()), CONDITION, HEL(), "looks for no conditions"),
        (SimplePose(), CONDITION, HeatmapMSE(), "looks for no conditions"),
        (SimplePose(), None, HEL(), "HeatmapMSE"),
    ],
)
def test_these_do_not(model, condition, loss, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_parts(model, condition, loss)


def test_a_split_that_holds_keypoints_out_is_asked_by_words() -> None:
    words, null = TextCondition(held_out=["tail"]), GenLoc(Prior(), context="null")
    check_parts(null, words, HEL(), held_out=("tail",))
    with pytest.raises(ValueError, match="those of tail, which the split holds out"):
        check_parts(null, CONDITION, HEL(), held_out=("tail",))
    with pytest.raises(ValueError, match="held out, tail, are found"):
        check_parts(null, words, HEL(), held_out=("tail",), flip_test=True)
    with pytest.raises(ValueError, match='context to "null"'):
        check_parts(GenLoc(Prior()), words, HEL())


@pytest.mark.parametrize(
    ("words", "labels", "message"),
    [
        (["tail"], (), "does not speak of tail, but .* in train and val are none"),
        ([], ("tail",), "does not speak of none, but .* in train and val are tail"),
        (["tail", "nose"], ("tail",), "does not speak of tail, nose, but"),
    ],
)
def test_words_and_labels_hold_the_same_out(words: list, labels: tuple, message: str) -> None:
    null, condition = GenLoc(Prior(), context="null"), TextCondition(held_out=words)
    with pytest.raises(ValueError, match=rf"held_out: training {message}"):
        check_parts(null, condition, HEL(), held_out=labels)
    check_parts(null, condition, HEL())  # where the labels are not known
    check_parts(null, TextCondition(held_out=["nose", "tail"]), HEL(), held_out=("tail", "nose"))


def test_a_flip_test_would_show_what_is_held_out() -> None:
    words = TextCondition(held_out=["right_elbow"])
    model = GenLoc(Prior("tiny"), context="null")
    check_parts(model, words, HEL())
    with pytest.raises(ValueError, match=r"model\.flip_test: .*right_elbow.* set it to false"):
        check_parts(model, words, HEL(), flip_test=True)
    check_parts(model, TextCondition(), HEL(), flip_test=True)
