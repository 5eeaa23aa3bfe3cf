"""Masks in a scene: one segmentation per frame, in a sequence beside the video."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from surgsam2.errors import InputError
from surgsam2.mrml.edit_observer import EditObserver
from surgsam2.mrml.labelmaps import REPRESENTATION, checksum, to_labels, to_mask
from surgsam2.mrml.mask_sequence import MaskSequence, mask_sequence_node
from surgsam2.mrml.nodes import checked_node, describe
from surgsam2.mrml.segments import (
    add_segment,
    first_segment_of,
    own_segments,
    remove_segment,
    renamed_segment,
)
from surgsam2.mrml.styles import ObjectStyle, free_id, tag
from surgsam2.mrml.video_nodes import VideoNodes

WRITTEN_TAG = "surgsam2.written"
"""Segment tag that holds the `checksum` of the mask that `write` wrote."""


class MaskNodes:
    """The objects of a video and their masks, as segments that Slicer shows and edits.

    Segments have the id ``Object_<object id>``, unless the user has a segment of that id.
    `create` makes them for a video; `surgsam2.mrml.open_mask_nodes` finds them again.

    Args:
        masks: the sequence of segmentations.

    Raises:
        InputError: by every method, when nodes were deleted or a frame or object does not exist.
    """

    def __init__(self, masks: MaskSequence) -> None:
        """Use `create` or `of`."""
        self.video = masks.video
        self._masks = masks

    @classmethod
    def create(cls, scene: Any, video: VideoNodes, name: str = "Segmentation") -> MaskNodes:
        """Create an empty segmentation for a video that has none.

        Raises:
            InputError: the video is in another scene, or has masks already.
        """
        if video.scene is not scene:
            raise InputError(f"the video {video.name!r} is not in this scene; load it there")
        if cls.exists(video.browser):
            raise InputError(f"the video {video.name!r} has masks already; use those")
        return cls(MaskSequence.create(video, name))

    @staticmethod
    def exists(browser: Any) -> bool:
        """Return whether a browser has masks of this program."""
        node = checked_node(browser, "vtkMRMLSequenceBrowserNode", "sequence browser")
        return mask_sequence_node(node) is not None

    @property
    def sequence(self) -> Any:
        """The ``vtkMRMLSequenceNode`` of the segmentations."""
        return self._masks.node

    @property
    def proxy(self) -> Any:
        """The ``vtkMRMLSegmentationNode`` that shows the current frame."""
        return self._masks.proxy

    # objects

    @property
    def objects(self) -> tuple[ObjectStyle, ...]:
        """Every object, in the order they were added."""
        return self._masks.styles

    def add_object(
        self, object_id: int, name: str, color: str, terminology: str | None = None
    ) -> ObjectStyle:
        """Add an object with an empty segment on every frame, and return it as Slicer shows it.

        Args:
            object_id: 1 to 65535, not in use yet.
            name: one line of text.
            color: ``#rrggbb``.
            terminology: see `ObjectStyle`; None leaves Slicer's default.
        """
        style = ObjectStyle(object_id, name, color, terminology)
        if any(known.id == style.id for known in self.objects):
            raise InputError(f"there is an object {object_id} already; choose another id")
        with self._masks.changing():
            for segmentation in self._masks.segmentations():
                style = ObjectStyle.of(self._add(segmentation, style), style.id)
            self._masks.styles = (*self.objects, style)
        return style

    def remove_object(self, object_id: int) -> None:
        """Remove an object and its masks from every frame."""
        self._check_object(object_id)
        with self._masks.changing():
            for segmentation in self._masks.segmentations():
                remove_segment(segmentation, object_id)
            self._masks.styles = tuple(s for s in self.objects if s.id != object_id)

    def segment_id(self, object_id: int) -> str:
        """Return the id of the object's segment on the current frame.

        It is empty when the user deleted the segment there.
        """
        self._check_object(object_id)
        return first_segment_of(self._masks.current, object_id)

    def style_changed(self) -> bool:
        """Return whether the current frame shows a style that is not the stored one."""
        return self._shown_styles() != list(self.objects)

    def copy_style_to_all_frames(self) -> None:
        """Give every frame the names, colours and terminology of the current one."""
        styles = self._shown_styles()
        with self._masks.changing():
            self._masks.styles = tuple(styles)
            for segmentation in self._masks.segmentations():
                for style in styles:
                    segment = segmentation.GetSegment(first_segment_of(segmentation, style.id))
                    if segment is not None and ObjectStyle.of(segment, style.id) != style:
                        style.apply(segment)

    def new_segments(self) -> list[str]:
        """Return ids of segments on the current frame that the user added and are no object yet."""
        segmentation = self._masks.current
        ours = own_segments(segmentation, [style.id for style in self.objects])
        return [name for name in segmentation.GetSegmentIDs() if name not in ours]

    def adopt(self, segment_id: str) -> int:
        """Make a segment of `new_segments` an object on every frame, and return the object id."""
        if segment_id not in self.new_segments():
            raise InputError(
                f"{segment_id!r} is not a new segment on frame {self.video.current_frame}; "
                f"new are: {', '.join(self.new_segments()) or 'none'}"
            )
        object_id = free_id(style.id for style in self.objects)
        current = self._masks.current
        style = ObjectStyle.of(current.GetSegment(segment_id), object_id)
        with self._masks.changing():
            segment = renamed_segment(current, segment_id, object_id)
            segment.RemoveTag(WRITTEN_TAG)  # a copy of an object's segment has it too
            style.apply(segment)
            for segmentation in self._masks.segmentations():
                if segmentation is not current:
                    self._add(segmentation, style)
            self._masks.styles = (*self.objects, style)
        return object_id

    # masks

    def write(self, frame: int, masks: Mapping[int, np.ndarray]) -> None:
        """Set masks of one frame.

        Args:
            frame: index of the frame.
            masks: (H, W) bool masks by object id; they may overlap. Other objects keep theirs.
        """
        self._check_masks(frame, masks)
        styles = self.objects
        segmentation = self._masks.segmentation(frame)
        with self._masks.changing():
            segments = [self._segment_for(segmentation, style) for style in styles]
            pixels = [
                masks[style.id] if style.id in masks else self._pixels(segment)
                for style, segment in zip(styles, segments, strict=True)
            ]
            labels = to_labels(pixels, self.video.ijk_to_ras) if styles else []
            for style, segment, label in zip(styles, segments, labels, strict=True):
                segment.SetLabelValue(label.value)
                segment.AddRepresentation(REPRESENTATION, label.image)
                if style.id in masks:
                    segment.SetTag(WRITTEN_TAG, checksum(masks[style.id]))
            # removes surfaces that the user made of the earlier masks
            segmentation.InvalidateNonSourceRepresentations()

    def clear(self, frame: int) -> None:
        """Empty all masks of a frame, as if it had never been tracked."""
        height, width = self.video.height, self.video.width
        nothing = np.zeros((height, width), bool)
        self.write(frame, {style.id: nothing for style in self.objects})
        segmentation = self._masks.segmentation(frame)
        with self._masks.changing():
            for style in self.objects:
                self._segment_for(segmentation, style).RemoveTag(WRITTEN_TAG)

    def mask(self, frame: int, object_id: int) -> np.ndarray:
        """Return the mask of an object, (H, W) bool, whoever painted it.

        It is empty when the user deleted the segment there.
        """
        self._check_object(object_id)
        segmentation = self._masks.segmentation(frame)
        return self._pixels(segmentation.GetSegment(first_segment_of(segmentation, object_id)))

    def has_masks(self, frame: int) -> bool:
        """Return whether any object has a pixel on this frame."""
        return any(self.mask(frame, style.id).any() for style in self.objects)

    @property
    def tracked_frames(self) -> list[int]:
        """Frames that `write` wrote, also when every object is absent there."""
        return [k for k, each in enumerate(self._masks.segmentations()) if _is_written(each)]

    def edited(self, frame: int) -> tuple[int, ...]:
        """Return the objects whose mask is not the one that `write` put there last.

        Pixels are compared, so this holds after saving and loading, and for masks that were
        painted on frames without a written mask.
        """
        found = []
        segmentation = self._masks.segmentation(frame)
        for style in self.objects:
            segment = segmentation.GetSegment(first_segment_of(segmentation, style.id))
            written = "" if segment is None else tag(segment, WRITTEN_TAG)
            if checksum(self._pixels(segment)) != (written or "empty"):
                found.append(style.id)
        return tuple(found)

    def on_edit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Call a function when the user or another module changes a segment on the current frame.

        The function may be called several times for one stroke, and for a change of style;
        `edited` tells about pixels.

        Args:
            callback: called with the index of the current frame.

        Returns:
            A function that ends the calls.
        """
        return EditObserver(self._masks, callback).end

    # helpers

    def _add(self, segmentation: Any, style: ObjectStyle) -> Any:
        return add_segment(segmentation, style, self.video.ijk_to_ras)

    def _segment_for(self, segmentation: Any, style: ObjectStyle) -> Any:
        """Return the object's segment; it is added again when the user deleted it on this frame."""
        segment_id = first_segment_of(segmentation, style.id)
        return segmentation.GetSegment(segment_id) or self._add(segmentation, style)

    def _pixels(self, segment: Any) -> np.ndarray:
        video = self.video
        if segment is None:
            return np.zeros((video.height, video.width), bool)
        return to_mask(segment, video.height, video.width, video.ijk_to_ras)

    def _shown_styles(self) -> list[ObjectStyle]:
        """Return the styles on the current frame; the stored one where a segment is missing."""
        segmentation = self._masks.current
        styles = []
        for style in self.objects:
            segment = segmentation.GetSegment(first_segment_of(segmentation, style.id))
            styles.append(style if segment is None else ObjectStyle.of(segment, style.id))
        return styles

    def _check_object(self, object_id: int) -> None:
        known = [style.id for style in self.objects]
        if object_id not in known:
            raise InputError(
                f"there is no object {object_id!r}; objects are: "
                f"{', '.join(map(str, known)) or 'none'}"
            )

    def _check_masks(self, frame: int, masks: Mapping[int, np.ndarray]) -> None:
        size = (self.video.height, self.video.width)
        self.video.check_frame(frame)
        for object_id, mask in masks.items():
            self._check_object(object_id)
            if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != size:
                kind = (
                    f"{mask.shape} {mask.dtype}" if isinstance(mask, np.ndarray) else describe(mask)
                )
                raise InputError(
                    f"frame {frame}, object {object_id}: the mask must be {size} bool, got {kind}"
                )


def _is_written(segmentation: Any) -> bool:
    segments = (segmentation.GetNthSegment(i) for i in range(segmentation.GetNumberOfSegments()))
    # in segments, because attributes of the shown node overwrite those of the item
    return any(segment.HasTag(WRITTEN_TAG) for segment in segments)
