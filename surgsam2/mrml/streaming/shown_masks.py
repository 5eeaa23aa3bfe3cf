"""The one segmentation of a streamed video, with the masks of the shown frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from surgsam2.errors import InputError
from surgsam2.mrml.mask_sequence import MaskSequence

SEGMENTATION_ROLE = "surgsam2.segmentation"
"""Role of the browser's reference to the segmentation that is refilled."""


class ShownMasks(MaskSequence):
    """A `MaskSequence` with a segmentation for the current frame alone.

    The list of objects is an attribute of the video's own sequence.
    """

    def find_proxy(self) -> Any | None:
        """Return the segmentation node; None when it was deleted."""
        return self.video.browser.GetNodeReference(SEGMENTATION_ROLE)

    def segmentation(self, frame: int) -> Any:
        """Return the ``vtkSegmentation`` of the shown frame.

        Raises:
            InputError: another frame is shown.
        """
        if self.video.check_frame(frame) != self.video.current_frame:
            raise InputError(f"frame {frame} is not shown; only the shown frame has segments")
        return self.proxy.GetSegmentation()

    def segmentations(self) -> Iterator[Any]:
        """Yield the ``vtkSegmentation`` of the shown frame alone."""
        yield self.proxy.GetSegmentation()

    @property
    def current(self) -> Any:
        """The ``vtkSegmentation`` of the shown frame."""
        return self.proxy.GetSegmentation()

    def _share(self) -> None:
        """Do nothing: there are no items in a sequence."""
