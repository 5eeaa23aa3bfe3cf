"""The segmentation of a live volume: one segment per object, for the newest picture only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import vtk

from surgsam2.errors import InputError
from surgsam2.mrml import ObjectStyle
from surgsam2.mrml.labelmaps import REPRESENTATION, frame_geometry, to_labels, to_mask
from surgsam2.mrml.nodes import checked_node
from surgsam2.mrml.segments import add_segment, first_segment_of, remove_segment
from surgsam2.mrml.styles import object_of


class LiveMasks:
    """One segmentation node. It has the methods of `MaskNodes` that `Objects` needs.

    Names, colours and the list of objects are those of the segments.

    Args:
        scene: the ``vtkMRMLScene`` in which the ``vtkMRMLSegmentationNode`` is made.
        name: name of the node.
    """

    def __init__(self, scene: Any, name: str) -> None:
        unique = scene.GenerateUniqueName(name)
        self._node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", unique)
        self._node.CreateDefaultDisplayNodes()
        # making a surface of a flat mask is slow, and the surface shows nothing
        self._node.GetDisplayNode().SetVisibility3D(False)
        self._size = (1, 1)
        self._ijk_to_ras = vtk.vtkMatrix4x4()

    @property
    def proxy(self) -> Any:
        """The ``vtkMRMLSegmentationNode``. Raises `InputError` when it was deleted."""
        return checked_node(self._node, "vtkMRMLSegmentationNode", "live segmentation")

    @property
    def lost(self) -> bool:
        """Whether the segmentation was deleted."""
        return self._node.GetScene() is None

    @property
    def objects(self) -> tuple[ObjectStyle, ...]:
        """All objects, in the order of the segments."""
        segmentation = self.proxy.GetSegmentation()
        segments = [segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs()]
        ours = ((segment, object_of(segment)) for segment in segments)
        return tuple(ObjectStyle.of(segment, i) for segment, i in ours if i is not None)

    def add_object(
        self, object_id: int, name: str, color: str, terminology: str | None = None
    ) -> ObjectStyle:
        """Add an object with an empty segment. Raises `InputError` for unusable values."""
        style = ObjectStyle(object_id, name, color, terminology)
        segment = add_segment(self.proxy.GetSegmentation(), style, self._ijk_to_ras)
        return ObjectStyle.of(segment, object_id)

    def remove_object(self, object_id: int) -> None:
        """Remove the object's segment, if there is one."""
        remove_segment(self.proxy.GetSegmentation(), object_id)

    def segment_id(self, object_id: int) -> str:
        """Return the id of the object's segment."""
        return first_segment_of(self.proxy.GetSegmentation(), object_id)

    def copy_style_to_all_frames(self) -> None:
        """Do nothing: there is only one frame."""

    def lie_over(self, volume: Any, size: tuple[int, int]) -> None:
        """Move to a volume's place in space.

        Args:
            volume: the ``vtkMRMLVolumeNode``.
            size: width and height of its picture in pixels.
        """
        self._size = size
        volume.GetIJKToRASMatrix(self._ijk_to_ras)
        node = self.proxy
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)

    def show(self, masks: Mapping[int, np.ndarray], ijk_to_ras: Any) -> None:
        """Show these masks and no others.

        Args:
            masks: (H, W) bool by object id; ids that are no objects are left out.
            ijk_to_ras: ``vtkMatrix4x4`` of the picture that the masks belong to.
        """
        node = self.proxy
        styles = self.objects
        if not styles:
            return
        self._ijk_to_ras.DeepCopy(ijk_to_ras)
        width, height = self._size
        nothing = np.zeros((height, width), bool)
        labels = to_labels([masks.get(style.id, nothing) for style in styles], ijk_to_ras)
        segmentation = node.GetSegmentation()
        with slicer.util.NodeModify(node):
            segmentation.SetConversionParameter(
                slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
                frame_geometry(height, width, ijk_to_ras),
            )
            for style, label in zip(styles, labels, strict=True):
                segment = segmentation.GetSegment(self.segment_id(style.id))
                segment.SetLabelValue(label.value)
                segment.AddRepresentation(REPRESENTATION, label.image)
            # surfaces that the user has made show the masks of an earlier picture
            segmentation.InvalidateNonSourceRepresentations()

    def clear(self) -> None:
        """Empty all segments."""
        self.show({}, self._ijk_to_ras)

    def mask(self, object_id: int) -> np.ndarray:
        """Return the mask that is shown, (H, W) bool. Raises `InputError`."""
        segment = self.proxy.GetSegmentation().GetSegment(self.segment_id(object_id))
        if segment is None:
            raise InputError(f"there is no live object {object_id}")
        width, height = self._size
        return to_mask(segment, height, width, self._ijk_to_ras)
