"""Between points and heatmaps."""
