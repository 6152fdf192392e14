"""The one place that draws: keypoints on pictures, heatmaps over them, and sheets of both.

Orange is the animal's or person's own left, blue the right, white what has no side. Every line and
dot lies on a dark outline, so that it reads on snow as well as at night. Nothing here needs torch.

Letters: H, W picture pixels, K keypoints, h, w heatmap cells. Pictures are uint8 [H, W, 3] RGB.
Coordinates follow the package: the centre of the top-left pixel is (0, 0), a heatmap covers the
picture that it was made from.
"""

from genloc.visualize.heat import draw_heatmaps, draw_map
from genloc.visualize.marks import COLOURS
from genloc.visualize.overlay import draw_box, draw_instances, draw_keypoints
from genloc.visualize.sheet import maps_figure, overlay_sheet, sheet, write_png

__all__ = [
    "COLOURS",
    "draw_box",
    "draw_heatmaps",
    "draw_instances",
    "draw_keypoints",
    "draw_map",
    "maps_figure",
    "overlay_sheet",
    "sheet",
    "write_png",
]
