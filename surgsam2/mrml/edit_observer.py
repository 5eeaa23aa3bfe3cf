"""Observes changes of the shown segmentation that the user or other modules make."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk

from surgsam2.mrml.mask_sequence import MaskSequence
from surgsam2.mrml.nodes import observe

_EVENTS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
)


class EditObserver:
    """Calls a function when the segments on the current frame change other than by `MaskSequence`.

    It follows the segmentation when its node is deleted and the browser makes another.

    Args:
        masks: the masks to observe.
        callback: called with the index of the current frame.
    """

    def __init__(self, masks: MaskSequence, callback: Callable[[int], None]) -> None:
        self._masks = masks
        self._callback = callback
        self._browser, self._sequence = masks.video.browser, masks.node
        self._proxy = masks.proxy
        self._ends = self._observed()
        self._end_following = observe(self._browser, vtk.vtkCommand.ModifiedEvent, self._follow)

    def end(self) -> None:
        """Stop observing."""
        self._end_following()
        self._release()

    def _observed(self) -> list[Callable[[], None]]:
        return [observe(self._proxy, event, self._changed) for event in _EVENTS]

    def _release(self) -> None:
        for end in self._ends:
            end()
        self._ends = []

    def _changed(self) -> None:
        # a scene that is being closed changes its nodes too
        if not self._masks.is_changing and self._proxy.GetScene() is not None:
            self._callback(self._masks.video.current_frame)

    def _follow(self) -> None:
        if self._browser.GetScene() is None or self._sequence.GetScene() is None:
            return
        proxy = self._masks.find_proxy()
        if proxy is None or proxy is self._proxy:
            return
        self._release()
        self._proxy = proxy
        self._masks.prepare_proxy()
        self._ends = self._observed()
