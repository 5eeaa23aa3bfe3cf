"""Every n-th frame of a video, as a video."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np

from surgsam2.video.base import Frames, Video
from surgsam2.video.prefetch import Cancelled


class StridedVideo(Video):
    """The frames 0, n, 2 n and so on of another video, counted from 0 on without gaps.

    Closing it closes the other video.

    Args:
        video: the other video, which is open.
        stride: n, at least 1.
    """

    def __init__(self, video: Video, stride: int) -> None:
        super().__init__(
            video.source,
            width=video.width,
            height=video.height,
            fps=video.fps / stride,
            frame_count=-(-video.frame_count // stride),
        )
        self._video = video
        self._stride = stride

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the other video."""
        return self._video.files

    @property
    def stream(self) -> int | None:
        """The stream of the other video."""
        return self._video.stream

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel as it is shown, divided by its height."""
        return self._video.pixel_aspect

    @property
    def frame_count(self) -> int:
        """Number of frames that can be read; it may become smaller as the other video's does."""
        return -(-self._video.frame_count // self._stride)

    @property
    def timestamps(self) -> np.ndarray:
        """Presentation time of each frame in seconds, (frame_count,) float64."""
        return self._video.timestamps[:: self._stride]

    @property
    def warnings(self) -> list[str]:
        """The warnings of the other video."""
        return self._video.warnings

    def _read(self, index: int) -> np.ndarray:
        return self._video[index * self._stride]

    def _forward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        return self._every(start, stop, False, cancelled)

    def _backward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        return self._every(start, stop, True, cancelled)

    def _every(self, start: int, stop: int, reverse: bool, cancelled: Cancelled) -> Frames:
        first, last = start * self._stride, (stop - 1) * self._stride + 1
        if stop <= start:
            return
        with closing(self._video.frames(first, last, reverse=reverse)) as frames:
            for index, frame in frames:
                if cancelled():
                    return
                if index % self._stride == 0:
                    yield index // self._stride, frame

    def _release(self) -> None:
        self._video.close()
