"""The frames of a dataset's sequence as a video that a tracker can read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from surgsam2.errors import VideoError
from surgsam2.video.base import DEFAULT_FPS, Video


class FramesVideo(Video):
    """Frames that a function reads by index, all of the first one's size.

    read: index -> (H, W, 3) uint8 RGB; called from several threads.
    """

    def __init__(self, name: str, count: int, read: Callable[[int], np.ndarray]) -> None:
        height, width = read(0).shape[:2]
        super().__init__(name, width=width, height=height, fps=DEFAULT_FPS, frame_count=count)
        self._read_frame = read

    def _read(self, index: int) -> np.ndarray:
        frame = self._read_frame(index)
        if frame.shape[:2] != (self.height, self.width):
            raise VideoError(
                f"{self.source}: frame {index} has {frame.shape[1]}x{frame.shape[0]} pixels, "
                f"the first one {self.width}x{self.height}"
            )
        return np.array(frame, order="C")
