"""Which labels are for training and which for testing: files of ids, made from the standard library alone."""

from genloc.splits.few_shot import SHOTS, few_shot, listed
from genloc.splits.source import Label, Source, read_source
from genloc.splits.split import Part, Split, read_split, write_split
from genloc.splits.zero_shot import TABLE_6, groups, leave_one_out, pairs, zero_shot

__all__ = [
    "SHOTS",
    "TABLE_6",
    "Label",
    "Part",
    "Source",
    "Split",
    "few_shot",
    "groups",
    "leave_one_out",
    "listed",
    "pairs",
    "read_source",
    "read_split",
    "write_split",
    "zero_shot",
]
