"""The segments of objects within one ``vtkSegmentation``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer

from surgsam2.mrml.labelmaps import REPRESENTATION, empty_image
from surgsam2.mrml.styles import ObjectStyle, object_of


def segment_id_of(object_id: int) -> str:
    """Return the id of an object's segment, unless the user has given this id to another."""
    return f"Object_{object_id}"


def add_segment(segmentation: Any, style: ObjectStyle, ijk_to_ras: Any) -> Any:
    """Add an empty segment for an object, and return the ``vtkSegment``.

    Args:
        segmentation: the ``vtkSegmentation``.
        style: the object.
        ijk_to_ras: ``vtkMatrix4x4`` of the frame.
    """
    segment = slicer.vtkSegment()
    style.apply(segment)
    segment.SetLabelValue(1)
    # each segment has an image of its own, because Segment Editor paints into it
    segment.AddRepresentation(REPRESENTATION, empty_image(ijk_to_ras))
    segmentation.AddSegment(segment, _new_id(segmentation, style.id))
    return segment


def first_segment_of(segmentation: Any, object_id: int) -> str:
    """Return the id of the object's segment; it is empty when the user deleted the segment.

    A copy that the user made of a segment has its tags too; the one with the usual id counts.
    """
    usual = segment_id_of(object_id)
    segment = segmentation.GetSegment(usual)
    if segment is not None and object_of(segment) == object_id:
        return usual
    for segment_id in segmentation.GetSegmentIDs():
        if object_of(segmentation.GetSegment(segment_id)) == object_id:
            return str(segment_id)
    return ""


def own_segments(segmentation: Any, object_ids: Iterable[int]) -> set[str]:
    """Return the ids of the segments of these objects."""
    return {first_segment_of(segmentation, object_id) for object_id in object_ids} - {""}


def remove_segment(segmentation: Any, object_id: int) -> None:
    """Remove the object's segment, if it is there."""
    segment_id = first_segment_of(segmentation, object_id)
    if segment_id:
        segmentation.RemoveSegment(segment_id)


def renamed_segment(segmentation: Any, segment_id: str, object_id: int) -> Any:
    """Give a segment the id of an object, and return the ``vtkSegment``."""
    segment = segmentation.GetSegment(segment_id)
    segmentation.RemoveSegment(segment_id)
    segmentation.AddSegment(segment, _new_id(segmentation, object_id))
    return segment


def _new_id(segmentation: Any, object_id: int) -> str:
    """Return a free id; adding a segment under an id in use would replace the other one."""
    return str(segmentation.GenerateUniqueSegmentID(segment_id_of(object_id)))
