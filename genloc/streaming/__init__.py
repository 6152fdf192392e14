"""Keypoints of folders and videos into files, one frame after the other, whatever interrupts it.

`boxes` and `tracking` say where to look in a frame, `journal` keeps every finished frame at once, `tables`
turns the journal into what other tools read, `overlays` draws, and `run` goes through the frames.
"""
