"""Rivals of GenLoc, trained and evaluated by the same code."""

from genloc.models.baselines.conv_head import ConvHead
from genloc.models.baselines.simple_pose import SimplePose
from genloc.models.baselines.vit_pose import ViTPose

__all__ = ["ConvHead", "SimplePose", "ViTPose"]
