"""The one segmentation of a streamed video: the masks of the frame that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from surgsam2.errors import InputError
from surgsam2.mrml.mask_sequence import MaskSequence

SEGMENTATION_ROLE = "surgsam2.segmentation"
"""Reference of the browser to the segmentation that is refilled."""


class ShownMasks(MaskSequence):
    """As `MaskSequence`, with a segmentation for the current frame alone.

    The list of objects is an attribute of the video's own sequence.
    """

    def find_proxy(self) -> Any | None:
        return self.video.browser.GetNodeReference(SEGMENTATION_ROLE)

    def segmentation(self, frame: int) -> Any:
        """The ``vtkSegmentation`` when this frame is shown; else `InputError`."""
        if self.video.check_frame(frame) != self.video.current_frame:
            raise InputError(f"frame {frame} is not shown; only the shown frame has segments")
        return self.proxy.GetSegmentation()

    def segmentations(self) -> Iterator[Any]:
        yield self.proxy.GetSegmentation()

    @property
    def current(self) -> Any:
        return self.proxy.GetSegmentation()

    def _share(self) -> None:
        """Nothing is in a sequence."""
