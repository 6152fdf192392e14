"""The package's own operations on attention logits: a leaf that needs nothing but torch.

* :func:`correlation_map`: softmax over image tokens, one map per keypoint.
* :func:`heatmap_log_expectation`: log of the expectation of a target under that map, without the
  map.
* :func:`gaussian_log_target`: the target of a layer, in logarithms.

Each has its own folder with ``reference.py``, the truth in a few lines of plain torch.
"""

from __future__ import annotations

from genloc.ops.correlation_map import correlation_map
from genloc.ops.gaussian_log_target import gaussian_log_target
from genloc.ops.heatmap_log_expectation import heatmap_log_expectation

__all__ = ["correlation_map", "gaussian_log_target", "heatmap_log_expectation"]
