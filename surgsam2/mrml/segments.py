"""The segments of objects within one ``vtkSegmentation``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer

from surgsam2.mrml.labelmaps import REPRESENTATION, empty_image
from surgsam2.mrml.styles import ObjectStyle, object_of


def segment_id_of(object_id: int) -> str:
    """What we call the segment of an object, if the user has not called one so."""
    return f"Object_{object_id}"


def add_segment(segmentation: Any, style: ObjectStyle, ijk_to_ras: Any) -> Any:
    """An empty segment for an object; returns the ``vtkSegment``.

    Args:
        segmentation: where it is added.
        style: of the object.
        ijk_to_ras: of the frame.
    """
    segment = slicer.vtkSegment()
    style.apply(segment)
    segment.SetLabelValue(1)
    # of its own, never shared between frames: Segment Editor paints into it
    segment.AddRepresentation(REPRESENTATION, empty_image(ijk_to_ras))
    segmentation.AddSegment(segment, _new_id(segmentation, style.id))
    return segment


def first_segment_of(segmentation: Any, object_id: int) -> str:
    """Id of the object's segment; empty when the user deleted it.

    A copy that the user made of a segment has its tags too: the one with our id counts.
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
    """Ids of the segments of these objects."""
    return {first_segment_of(segmentation, object_id) for object_id in object_ids} - {""}


def remove_segment(segmentation: Any, object_id: int) -> None:
    """Removes the object's segment, if it is there."""
    segment_id = first_segment_of(segmentation, object_id)
    if segment_id:
        segmentation.RemoveSegment(segment_id)


def renamed_segment(segmentation: Any, segment_id: str, object_id: int) -> Any:
    """The same segment under the id of an object."""
    segment = segmentation.GetSegment(segment_id)
    segmentation.RemoveSegment(segment_id)
    segmentation.AddSegment(segment, _new_id(segmentation, object_id))
    return segment


def _new_id(segmentation: Any, object_id: int) -> str:
    """Adding a segment under an id that is in use would replace the other one."""
    return str(segmentation.GenerateUniqueSegmentID(segment_id_of(object_id)))
