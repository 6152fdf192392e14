"""The zoo: procedural quadrupeds with AP-10K's keypoints, species and file layout."""

from genloc.data.zoo.picture import Labelled, Picture, draw_picture
from genloc.data.zoo.scene import STYLES
from genloc.data.zoo.species import FAMILIES, SPECIES
from genloc.data.zoo.write import SEED_PRIOR, SEED_ZOO, picture_rng, write_zoo

__all__ = [
    "FAMILIES",
    "SEED_PRIOR",
    "SEED_ZOO",
    "SPECIES",
    "STYLES",
    "Labelled",
    "Picture",
    "draw_picture",
    "picture_rng",
    "write_zoo",
]
