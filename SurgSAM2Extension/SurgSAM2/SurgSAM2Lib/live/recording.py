"""Recording a live session as a video with masks, which can be corrected and tracked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

import surgsam2
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.mrml import MaskNodes, ObjectStyle, load_video, memory_needed
from surgsam2.mrml.free_memory import free_memory
from surgsam2.mrml.loading import append_frame
from surgsam2.mrml.video_nodes import TIMES_ATTRIBUTE, times_to_text
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.source import LivePicture

GIGABYTE = 10**9


class LiveRecording:
    """Adds segmented pictures and their masks to sequences, up to a limit of memory.

    The sequences are the same as `load_video` and `MaskNodes` make, with the time of each
    picture. Pictures that were dropped are not in them.

    Args:
        scene: the ``vtkMRMLScene``, in which the first picture makes the sequences.
        limit: bytes that pictures and masks may take.

    Raises:
        InputError: so much memory is not free.

    Attributes:
        limit: bytes that pictures and masks may take.
        bytes: bytes that they take now, with masks counted as one byte per pixel.
    """

    def __init__(self, scene: Any, limit: int) -> None:
        free = free_memory()
        if limit <= 0 or (free is not None and limit > free):
            raise InputError(
                _("a recording of {limit:.1f} GB does not fit: {free:.1f} GB are free").format(
                    limit=limit / GIGABYTE, free=(free or 0) / GIGABYTE
                )
            )
        self._scene = scene
        self.limit = limit
        self.bytes = 0
        self._masks: MaskNodes | None = None
        self._stamps: list[float] = []

    @property
    def frames(self) -> int:
        """Number of pictures so far."""
        return len(self._stamps)

    @property
    def browser(self) -> Any:
        """The ``vtkMRMLSequenceBrowserNode``; None before the first picture."""
        return None if self._masks is None else self._masks.video.browser

    def has_room(self, size: tuple[int, int]) -> bool:
        """Return whether another picture of this width and height stays within the limit."""
        return self.bytes + _bytes_of(size) <= self.limit

    def add(
        self, picture: LivePicture, masks: Mapping[int, np.ndarray], styles: Iterable[ObjectStyle]
    ) -> None:
        """Add a frame.

        Args:
            picture: the picture.
            masks: its masks, (H, W) bool by object id.
            styles: the objects; new ones are added to all frames.

        Raises:
            InputError: the nodes of the recording were deleted.
        """
        if self.lost:
            raise InputError(_("its nodes were deleted"))
        if self._masks is None:
            self._masks, frame = self._begin(picture), 0
        else:
            frame = append_frame(self._masks.video, picture.pixels)
        self._stamps.append(picture.stamp)
        self.bytes += _bytes_of(picture.size)
        known = {style.id for style in self._masks.objects}
        for style in styles:
            if style.id not in known:
                self._masks.add_object(style.id, style.name, style.color, style.terminology)
                known.add(style.id)
        self._masks.write(frame, {i: mask for i, mask in masks.items() if i in known})

    def finish(self) -> None:
        """Store the times and the frame rate, unless the nodes were deleted."""
        if self._masks is None or self.lost:
            return
        times = [stamp - self._stamps[0] for stamp in self._stamps]
        self._masks.video.sequence.SetAttribute(TIMES_ATTRIBUTE, times_to_text(times))
        if times[-1] > 0:
            self.browser.SetPlaybackRateFps((len(times) - 1) / times[-1])

    @property
    def lost(self) -> bool:
        """Whether nodes of the recording were deleted from the scene."""
        if self._masks is None:
            return False
        video = self._masks.video
        try:
            return not (video.browser and video.sequence and self._masks.sequence)
        except InputError:
            return True

    def _begin(self, picture: LivePicture) -> MaskNodes:
        video = surgsam2.open_video(picture.pixels[None])
        nodes = load_video(self._scene, video, name=_("Live recording"))
        assert nodes is not None
        masks = MaskNodes.create(self._scene, nodes, _("Live recording masks"))
        masks.proxy.SetDisplayVisibility(False)  # the live masks are at the same place
        return masks


class Recorder:
    """Holds at most one recording, and reports when it ends by itself.

    Args:
        scene: the ``vtkMRMLScene`` in which recordings are made.
        on_end: called with a text when the limit is reached or nodes were deleted.

    Attributes:
        recording: the recording in progress; None when there is none.
    """

    def __init__(self, scene: Any, on_end: Callable[[str], None]) -> None:
        self._scene = scene
        self._on_end = on_end
        self.recording: LiveRecording | None = None

    def start(self, limit: int) -> None:
        """Begin a recording of at most `limit` bytes; see `LiveRecording` for the errors."""
        recording = LiveRecording(self._scene, limit)
        self.stop()
        self.recording = recording

    def stop(self) -> Any:
        """End the recording; return its ``vtkMRMLSequenceBrowserNode``, None without one."""
        recording, self.recording = self.recording, None
        if recording is None:
            return None
        recording.finish()
        return None if recording.lost else recording.browser

    def add(
        self, picture: LivePicture, masks: Mapping[int, np.ndarray], styles: Iterable[ObjectStyle]
    ) -> None:
        """Add a frame to the recording, if there is one; see `LiveRecording.add`."""
        recording = self.recording
        if recording is None:
            return
        reason = ""
        if recording.has_room(picture.size):
            try:
                recording.add(picture, masks, styles)
            except SurgSAM2Error as error:  # the nodes of the recording were deleted
                reason = _("The recording has ended: {reason}").format(reason=error)
        else:
            reason = _(
                "The recording has reached its limit of {limit:.1f} GB ({frames} frames)."
            ).format(limit=recording.limit / GIGABYTE, frames=recording.frames)
        if reason:
            self.stop()
            self._on_end(reason)


def _bytes_of(size: tuple[int, int]) -> int:
    width, height = size
    return memory_needed(width, height, 1) + width * height
