"""Labels of other tools to COCO keypoints, and what is wrong or odd in an annotation file."""
