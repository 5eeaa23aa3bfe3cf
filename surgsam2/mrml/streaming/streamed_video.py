"""A video whose frames stay in its file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import vtk

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml.streaming.frame_window import FrameWindow
from surgsam2.mrml.streaming.stream import Stream
from surgsam2.mrml.video_nodes import VideoNodes


class StreamedVideo(VideoNodes):
    """A video that `stream_video` put into a scene; its frames stay in the file.

    One volume shows the current frame; the sequence only counts frames. `current_frame` is
    the frame in that volume: while a distant frame is being decoded it is still the one
    before, so that picture, masks and prompts always belong together. Setting it waits.

    Args:
        browser: the video's browser.

    Raises:
        FilesMovedError: the file is not where it was; `relocate` helps.
        VideoError: the file cannot be read.
    """

    def __init__(self, browser: Any) -> None:
        self._stream = Stream.of(browser)
        super().__init__(browser)
        if self._stream.shown is None:
            self._stream.update()

    @property
    def file(self) -> Path:
        """The video's file, or its folder of images."""
        return Path(self._stream.record.video)

    @property
    def window(self) -> FrameWindow:
        """The frames that are in memory."""
        return self._stream.window

    @property
    def stream(self) -> Stream:
        """The stream that fills the volume."""
        return self._stream

    @property
    def volume(self) -> Any:
        """The volume node that shows the current frame."""
        return self._stream.volume

    @property
    def current_frame(self) -> int:
        """The frame that is shown; may be set. Raises `InputError` outside the video."""
        return self._stream.shown or 0

    @current_frame.setter
    def current_frame(self, frame: int) -> None:
        self.check_frame(frame)
        before = self._stream.shown
        self.browser.SetSelectedItemNumber(frame)
        try:
            self._stream.update()
        except SurgSAM2Error:
            if before is not None:
                self.browser.SetSelectedItemNumber(before)
            raise

    def time_of(self, frame: int) -> float:
        """Return the seconds of a frame after the start of its file."""
        return self._stream.video.time_of(self.check_frame(frame))

    @cached_property
    def ijk_to_ras(self) -> Any:
        """``vtkMatrix4x4`` of the frames, without transforms they lie under."""
        matrix = vtk.vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(matrix)
        return matrix

    def _find_sequence(self) -> Any:
        return self.browser.GetMasterSequenceNode()

    def _size(self) -> tuple[int, int]:
        return self._stream.video.height, self._stream.video.width

    def _pixels(self, frame: int) -> np.ndarray:
        pixels = self._stream.window.get(frame)
        assert pixels is not None  # there was no timeout
        return pixels.view()  # callers mark theirs as read-only
