"""What a set of keypoints is, by name or from a file. Standard library only, PyYAML for yaml files."""

from genloc.skeleton.definition import (
    ANIMALPOSE,
    AP10K,
    COCO,
    DEFAULT_SIGMA,
    HUMAN_ART,
    OKS_SIGMAS,
    Side,
    Skeleton,
)
from genloc.skeleton.files import coco_edges, load_skeleton, mirror_pairs, read_coco_json

__all__ = [
    "ANIMALPOSE",
    "AP10K",
    "COCO",
    "DEFAULT_SIGMA",
    "HUMAN_ART",
    "OKS_SIGMAS",
    "Side",
    "Skeleton",
    "coco_edges",
    "load_skeleton",
    "mirror_pairs",
    "read_coco_json",
]
