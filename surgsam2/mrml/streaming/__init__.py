"""Videos that do not fit in memory: frames stay in their file, masks in files of their own.

    video = stream_video(scene, "operation.mkv")     # beside it: operation_segmented/masks/
    masks = open_mask_nodes(video.browser)
    masks.add_object(1, "gallbladder", "#e8c468")
    masks.write(90_000, {1: mask})                   # a label image on disk

The scene holds one volume and one segmentation, both of the shown frame, and a sequence
without pixels, by which Slicer's browser counts and plays. `open_video_nodes` and
`open_mask_nodes` find the video and the masks again in a scene that was saved and opened.
"""

from __future__ import annotations

from surgsam2.mrml.streaming.frame_window import WINDOW_BYTES, FrameWindow
from surgsam2.mrml.streaming.opening import new_folder_for, relocate, stream_video
from surgsam2.mrml.streaming.record import FilesMovedError
from surgsam2.mrml.streaming.streamed_masks import StreamedMasks
from surgsam2.mrml.streaming.streamed_video import StreamedVideo

__all__ = [
    "WINDOW_BYTES",
    "FilesMovedError",
    "FrameWindow",
    "StreamedMasks",
    "StreamedVideo",
    "new_folder_for",
    "relocate",
    "stream_video",
]
