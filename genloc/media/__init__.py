"""Picture and video files: `find_media` reads them frame by frame, `VideoSegments` writes a video.

Videos go through PyAV (FFmpeg's libraries): it raises where a packet is broken, where OpenCV's reader
just ends, it states presentation times, and its wheels write H.264, which browsers play and OpenCV's
wheels cannot write.
"""

from genloc.media.read import Frame, Pictures, Video, find_media, name_in
from genloc.media.write import VideoSegments

__all__ = ["Frame", "Pictures", "Video", "VideoSegments", "find_media", "name_in"]
