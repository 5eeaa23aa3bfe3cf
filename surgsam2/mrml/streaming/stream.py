"""Fills the volume of a streamed video with the frame that its browser selects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml.loading import image_of
from surgsam2.mrml.nodes import checked_node, observe
from surgsam2.mrml.streaming.frame_window import WINDOW_BYTES, FrameWindow
from surgsam2.mrml.streaming.record import Record
from surgsam2.video import Video, open_video

VOLUME_ROLE = "surgsam2.volume"
"""Role of the browser's reference to the volume that is refilled."""
_SHOW_SECONDS = 0.08
"""Seconds that a change of the frame may take; a later frame is shown by `Stream.poll`."""


class Stream:
    """The open file of one streamed video; a browser has one at most.

    It observes the browser and ends with it: when the browser is removed from its scene,
    or the scene is cleared. Until then it also keeps the scene alive.

    Args:
        browser: a browser with a `Record`.
        limit: bytes of pixels to hold.
        video: the file, when it is open already.

    Raises:
        FilesMovedError: the video or the folder of masks is not there.
        VideoError: the file cannot be read.
    """

    def __init__(self, browser: Any, limit: int = WINDOW_BYTES, video: Video | None = None) -> None:
        record = Record.of(browser)
        assert record is not None  # callers have checked
        self.record = record.found(browser.GetScene())
        if self.record != record:
            self.record.store(browser)
        self.browser = browser
        self.video = video or open_video(Path(self.record.video))
        self.window = FrameWindow(self.video, limit)
        self.shown: int | None = None
        """The frame in the volume; None before the first."""
        self.waiting = False
        """Whether the browser is at a frame that is still being decoded."""
        self.on_waiting: Callable[[], None] = lambda: None
        """Called when a frame has to be waited for: `poll` should be called from a timer."""
        self.on_problem: Callable[[str], None] = lambda text: None
        """Called with a text when a frame cannot be shown while browsing."""
        self.before_change: Callable[[], None] = lambda: None
        """Called before another frame is shown; an error keeps the present one."""
        self.masks: object | None = None
        """The masks that are shown with the frames; they share `shown` and exist once."""
        self.after_change: Callable[[int], None] = lambda frame: None
        """Called with the frame when its picture is shown."""
        scene = browser.GetScene()
        self.ends = [
            observe(browser, vtk.vtkCommand.ModifiedEvent, self._on_browser),
            observe(scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._on_removed),
        ]
        """Called when the stream is closed."""
        _STREAMS[browser] = self

    @staticmethod
    def of(browser: Any) -> Stream:
        """Return the stream of a browser; it is opened at the first call."""
        return _STREAMS.get(browser) or Stream(browser)

    @staticmethod
    def is_open(browser: Any) -> bool:
        """Return whether a browser has a stream."""
        return browser in _STREAMS

    @staticmethod
    def close_of(browser: Any) -> None:
        """Close the stream of a browser, if there is one."""
        stream = _STREAMS.get(browser)
        if stream is not None:
            stream.close()

    @property
    def volume(self) -> Any:
        """The volume that shows the current frame; `InputError` when it was deleted."""
        node = self.browser.GetNodeReference(VOLUME_ROLE)
        return checked_node(node, "vtkMRMLVectorVolumeNode", "video volume")

    def update(self, timeout: float | None = None) -> bool:
        """Show the browser's frame.

        Args:
            timeout: seconds that it may take; None waits without limit.

        Returns:
            False when it takes longer.

        Raises:
            VideoError: the frame cannot be read.
            OutputError: edits of the present frame cannot be written.
            InputError: the masks of the new frame cannot be read.
        """
        wanted = max(0, self.browser.GetSelectedItemNumber())
        if wanted == self.shown:
            self.waiting = False
            return True
        pixels = self.window.get(wanted, timeout)
        if pixels is None:
            self.waiting = True
            self.on_waiting()
            return False
        self.waiting = False
        self._show(wanted, pixels)
        return True

    def poll(self, timeout: float = 0.0) -> bool:
        """Show a frame that was waited for, if it has been decoded.

        The browser reports a change then, as for any frame.

        Args:
            timeout: seconds to wait for it.

        Returns:
            Whether no frame is waited for.
        """
        if self.waiting and self._updated(timeout):
            self.browser.Modified()
        return not self.waiting

    def close(self) -> None:
        """Drop the frames and release the file. May be called more than once."""
        if _STREAMS.pop(self.browser, None) is None:
            return
        for end in self.ends:
            end()
        self.waiting = False
        self.window.close()
        self.video.close()

    def _show(self, frame: int, pixels: np.ndarray) -> None:
        volume = self.volume
        self.before_change()
        image = volume.GetImageData()
        if image is None or image.GetDimensions() != (self.video.width, self.video.height, 1):
            volume.SetAndObserveImageData(image_of(pixels))
        else:
            scalars = image.GetPointData().GetScalars()
            vtk_to_numpy(scalars).reshape(pixels.shape)[:] = pixels
            scalars.Modified()
            volume.Modified()
        self.shown = frame
        self.after_change(frame)

    def _updated(self, timeout: float) -> bool:
        """Call `update` where an error cannot be raised; it is reported by `on_problem`."""
        try:
            return self.update(timeout)
        except SurgSAM2Error as error:
            self.waiting = False
            self.on_problem(str(error))
            return False

    def _on_browser(self) -> None:
        # while a scene is being read, nodes are not complete yet
        scene = self.browser.GetScene()
        if scene is not None and not scene.IsBatchProcessing():
            self._updated(_SHOW_SECONDS)

    def _on_removed(self) -> None:
        if self.browser.GetScene() is None:
            self.close()


_STREAMS: dict[Any, Stream] = {}  # by browser
