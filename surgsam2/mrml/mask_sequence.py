"""The sequence of segmentations beside a video: one item per frame, and the list of objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import slicer
import vtk

from surgsam2.mrml.labelmaps import frame_geometry
from surgsam2.mrml.nodes import NewNodes, checked_node
from surgsam2.mrml.segments import add_segment
from surgsam2.mrml.styles import ObjectStyle, styles_from_text, styles_to_text
from surgsam2.mrml.video_nodes import VideoNodes

OBJECTS_ATTRIBUTE = "surgsam2.objects"
"""Attribute of a mask sequence: JSON list of `ObjectStyle`; it marks the sequence."""

# the sequences that this program is changing now, for the observers of edits
_CHANGING: WeakSet[Any] = WeakSet()


class MaskSequence:
    """One segmentation per frame, each with one segment per object, empty until written.

    So browsing never carries a mask to another frame, and the list of objects is the same
    everywhere. The browser shares each item with the node that is shown: what Segment Editor
    changes is changed in the item. `create` makes a sequence; `of` finds it again.

    Args:
        video: the video.
        node: the ``vtkMRMLSequenceNode`` of the segmentations.
    """

    def __init__(self, video: VideoNodes, node: Any) -> None:
        """Use `create` or `of`."""
        self.video = video
        self._node = node

    @classmethod
    def create(cls, video: VideoNodes, name: str) -> MaskSequence:
        """Create a sequence without objects, shown with the video."""
        with NewNodes(video.scene) as new:
            node = new.add("vtkMRMLSequenceNode", name)
            frames = video.sequence
            node.SetIndexName(frames.GetIndexName())
            node.SetIndexUnit(frames.GetIndexUnit())
            node.SetIndexType(frames.GetIndexType())
            node.SetNumericIndexValueTolerance(frames.GetNumericIndexValueTolerance())
            node.SetAttribute(OBJECTS_ATTRIBUTE, styles_to_text(()))
            sequence = cls(video, node)
            template = sequence._template()
            for frame in range(video.frame_count):
                node.SetDataNodeAtValue(template, frames.GetNthIndexValue(frame))
            video.browser.AddSynchronizedSequenceNode(node)
            sequence._share()
            sequence.prepare_proxy()
            return sequence

    @classmethod
    def of(cls, video: VideoNodes) -> MaskSequence | None:
        """Return the sequence that was created for a video; None when there is none."""
        node = mask_sequence_node(video.browser)
        if node is None:
            return None
        sequence = cls(video, node)
        sequence._share()
        return sequence

    @property
    def node(self) -> Any:
        """The ``vtkMRMLSequenceNode``; `InputError` when it was deleted."""
        return checked_node(self._node, "vtkMRMLSequenceNode", "mask sequence")

    @property
    def proxy(self) -> Any:
        """The ``vtkMRMLSegmentationNode`` that shows the current frame.

        The browser makes another one when the user deletes it.
        """
        return checked_node(self.find_proxy(), "vtkMRMLSegmentationNode", "segmentation")

    def find_proxy(self) -> Any | None:
        """Return what `proxy` is; None when there is no such node at the moment."""
        return self.video.browser.GetProxyNode(self.node)

    def prepare_proxy(self) -> None:
        """Show masks in slices only, and tell modules which volume they belong to."""
        proxy = self.proxy
        proxy.CreateDefaultDisplayNodes()
        # a surface of a flat mask is slow to make and shows nothing
        proxy.GetDisplayNode().SetVisibility3D(False)
        proxy.SetReferenceImageGeometryParameterFromVolumeNode(self.video.volume)

    @property
    def styles(self) -> tuple[ObjectStyle, ...]:
        """Every object, in the order they were added."""
        return tuple(styles_from_text(self.node.GetAttribute(OBJECTS_ATTRIBUTE)))

    @styles.setter
    def styles(self, styles: Iterable[ObjectStyle]) -> None:
        self.node.SetAttribute(OBJECTS_ATTRIBUTE, styles_to_text(styles))

    def segmentation(self, frame: int) -> Any:
        """Return the ``vtkSegmentation`` of a frame; it is made anew if its item was removed."""
        frames, node = self.video.sequence, self.node
        value = frames.GetNthIndexValue(self.video.check_frame(frame))
        # this holds unless the sequence was edited by hand, or the video has grown
        if frame < node.GetNumberOfDataNodes() and node.GetNthIndexValue(frame) == value:
            item = node.GetNthDataNode(frame)
        else:
            item = node.GetDataNodeAtValue(value)
            item = item or node.SetDataNodeAtValue(self._template(), value)
        return item.GetSegmentation()

    def segmentations(self) -> Iterator[Any]:
        """Yield the ``vtkSegmentation`` of each frame."""
        return (self.segmentation(frame) for frame in range(self.video.frame_count))

    @property
    def current(self) -> Any:
        """The ``vtkSegmentation`` of the frame that is shown."""
        return self.segmentation(self.video.current_frame)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Mark changes in a ``with`` block as made by this program: edit observers ignore them."""
        node = self.node
        nested = node in _CHANGING
        _CHANGING.add(node)
        try:
            yield
        finally:
            if not nested:
                _CHANGING.discard(node)

    @property
    def is_changing(self) -> bool:
        """Whether this program is making the present change."""
        return self._node in _CHANGING

    def _template(self) -> Any:
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(self.node.GetName())
        video = self.video
        node.GetSegmentation().SetConversionParameter(
            slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
            frame_geometry(video.height, video.width, video.ijk_to_ras),
        )
        for style in self.styles:
            add_segment(node.GetSegmentation(), style, video.ijk_to_ras)
        return node

    def _share(self) -> None:
        browser = self.video.browser
        browser.SetSaveChanges(self.node, True)
        # an item that was removed must not become a copy of another frame's masks
        browser.SetMissingItemMode(self.node, browser.MissingItemSetToDefault)


def mask_sequence_node(browser: Any) -> Any | None:
    """Return the sequence node of a browser that has masks of this program; None without."""
    sequences = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(sequences, True)
    for i in range(sequences.GetNumberOfItems()):
        sequence = sequences.GetItemAsObject(i)
        if sequence.GetAttribute(OBJECTS_ATTRIBUTE) is not None:
            return sequence
    return None
