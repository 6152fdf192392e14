"""Which labels are for training and which for testing: files of ids, made from the standard library alone."""

from genloc.splits.cross_domain import cross_domain
from genloc.splits.few_shot import SHOTS, few_shot, few_shot_name, listed
from genloc.splits.fraction import fraction
from genloc.splits.held_out import LOCLLM, held_out
from genloc.splits.merge import merge
from genloc.splits.published import TEST, TRAIN, VAL, published
from genloc.splits.source import Label, Source, read_source
from genloc.splits.split import Part, Split, read_split, write_split
from genloc.splits.zero_shot import (
    TABLE_6,
    groups,
    leave_one_out,
    pairs,
    zero_shot,
    zero_shot_name,
)

__all__ = [
    "LOCLLM",
    "SHOTS",
    "TABLE_6",
    "TEST",
    "TRAIN",
    "VAL",
    "Label",
    "Part",
    "Source",
    "Split",
    "cross_domain",
    "few_shot",
    "few_shot_name",
    "fraction",
    "groups",
    "held_out",
    "leave_one_out",
    "listed",
    "merge",
    "pairs",
    "published",
    "read_source",
    "read_split",
    "write_split",
    "zero_shot",
    "zero_shot_name",
]
