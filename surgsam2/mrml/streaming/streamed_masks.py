"""Masks in files; the scene has those of the shown frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from surgsam2.errors import InputError, OutputError
from surgsam2.mrml.attribute_text import attribute_text
from surgsam2.mrml.mask_nodes import MaskNodes
from surgsam2.mrml.segments import add_segment
from surgsam2.mrml.streaming.label_folder import LabelFolder
from surgsam2.mrml.streaming.shown_masks import SEGMENTATION_ROLE, ShownMasks
from surgsam2.mrml.streaming.streamed_video import StreamedVideo
from surgsam2.mrml.styles import ObjectStyle
from surgsam2.storage.json_text import parse_json

EDITED_ATTRIBUTE = "surgsam2.edited"
"""Attribute of the video's sequence: JSON rows of a frame and the ids painted there."""


class StreamedMasks(MaskNodes):
    """Masks of a streamed video; each is in its file as soon as it is written.

    What is painted by hand goes to the file after each stroke. A file holds one object a
    pixel: where masks overlap, the object that was added later is on top. Segments that are
    added in Segment Editor become objects when another frame is shown. A frame counts as
    tracked when it has a file, also when all of it was painted by hand. `of` gives the masks
    of a browser.

    Args:
        video: the video.

    Raises:
        OutputError: the folder of masks cannot be written.
    """

    video: StreamedVideo

    def __init__(self, video: StreamedVideo) -> None:
        """Use `of`."""
        super().__init__(ShownMasks(video, video.sequence))
        self._stream = video.stream
        self._labels = LabelFolder(Path(self._stream.record.masks), video.width, video.height)
        self._filed = np.zeros((video.height, video.width), np.uint16)  # of the shown frame
        self._painted = False  # something on the shown frame may not be in its file
        self._edits = _edits_from_text(video.sequence.GetAttribute(EDITED_ATTRIBUTE))
        self._stream.masks = self
        self._stream.before_change = self._leave
        self._stream.after_change = self._show
        self._show(video.current_frame)
        self._stream.ends.append(self.on_edit(self._on_edit))

    @classmethod
    def of(cls, browser: Any) -> StreamedMasks:
        """Return the masks of a streamed video, always the same object.

        Raises:
            InputError: the video is not streamed.
            OutputError: the folder of masks cannot be written.
        """
        video = StreamedVideo(browser)
        masks = video.stream.masks
        return masks if isinstance(masks, cls) else cls(video)

    @property
    def folder(self) -> Path:
        """The output folder; the label images are in its ``masks``."""
        return Path(self._stream.record.masks)

    def prepare(self) -> None:
        """Make the segmentation ready for views; done once, for a new node."""
        self._masks.prepare_proxy()

    # objects

    def add_object(
        self, object_id: int, name: str, color: str, terminology: str | None = None
    ) -> ObjectStyle:
        """Add an object; see `MaskNodes.add_object`. Files of an earlier run may have its masks."""
        style = super().add_object(object_id, name, color, terminology)
        self._show(self.video.current_frame)  # files of an earlier run may have it
        return style

    def remove_object(self, object_id: int) -> None:
        """Remove the object from the scene and from every file.

        That takes a millisecond or two for each file.

        Raises:
            OutputError: a file cannot be written; the object stays, and it can be tried again.
        """
        self._check_object(object_id)
        self.keep_edits()
        rest = [style for style in self.objects if style.id != object_id]
        self._labels.remove_object(object_id, rest)
        for frame in list(self._edits):
            self._note(frame, set(self._edits[frame]) - {object_id})
        self._filed[self._filed == object_id] = 0
        super().remove_object(object_id)

    def adopt(self, segment_id: str) -> int:
        """Make a new segment an object; see `MaskNodes.adopt`.

        Raises:
            OutputError: a file cannot be written.
        """
        object_id = super().adopt(segment_id)
        self._painted = True
        self.keep_edits()
        return object_id

    # masks

    def write(self, frame: int, masks: Mapping[int, np.ndarray]) -> None:
        """Set masks of one frame; see `MaskNodes.write`.

        Raises:
            OutputError: the file cannot be written.
        """
        self._check_masks(frame, masks)
        shown = frame == self.video.current_frame
        if shown:
            self.keep_edits()
        labels = self._filed.copy() if shown else self._labels.read(frame)
        labels[np.isin(labels, list(masks))] = 0
        for style in self.objects:
            if style.id in masks:
                labels[masks[style.id]] = style.id
        self._labels.write(frame, labels, self.objects)
        self._note(frame, set(self._edits.get(frame, ())) - set(masks))
        if shown:
            self._refill(frame, labels)

    def clear(self, frame: int) -> None:
        """Delete a frame's masks, as if it had never been tracked.

        Raises:
            OutputError: the file cannot be deleted.
        """
        self._labels.remove(self.video.check_frame(frame))
        self._note(frame, ())
        if frame == self.video.current_frame:
            self._refill(frame, np.zeros_like(self._filed))

    def mask(self, frame: int, object_id: int) -> np.ndarray:
        """Return the mask of an object, (H, W) bool, whoever painted it.

        Raises:
            InputError: the file is damaged.
        """
        if self.video.check_frame(frame) == self.video.current_frame:
            return super().mask(frame, object_id)
        self._check_object(object_id)
        return np.equal(self._labels.read(frame), object_id)

    def has_masks(self, frame: int) -> bool:
        """Return whether any object has a pixel on this frame; quick for a frame without a file."""
        return self._labels.has(self.video.check_frame(frame)) and super().has_masks(frame)

    @property
    def tracked_frames(self) -> list[int]:
        """Frames that have a file."""
        return [frame for frame in self._labels.frames if frame < self.video.frame_count]

    def edited(self, frame: int) -> tuple[int, ...]:
        """Return the objects that were painted by hand since `write` wrote them last."""
        found = set(self._edits.get(self.video.check_frame(frame), ()))
        if frame == self.video.current_frame:
            found.update(super().edited(frame))
        return tuple(style.id for style in self.objects if style.id in found)

    def keep_edits(self) -> None:
        """Write what was painted on the shown frame into its file.

        Raises:
            OutputError: the file cannot be written.
        """
        frame = self._stream.shown
        if not self._painted or frame is None or self._masks.find_proxy() is None:
            return
        known = {style.id for style in self.objects}
        # objects of an earlier run that the scene does not have stay in the file
        labels = np.where(np.isin(self._filed, list(known)), 0, self._filed).astype(np.uint16)
        for style in self.objects:
            labels[super().mask(frame, style.id)] = style.id
        changed = labels != self._filed
        if changed.any():
            painted = {*np.unique(labels[changed]), *np.unique(self._filed[changed])}
            self._labels.write(frame, labels, self.objects)
            self._filed = labels
            self._note(frame, {*self._edits.get(frame, ()), *(painted & known)})
        self._painted = False

    # helpers

    def _leave(self) -> None:
        """Make segments that the user added objects, and keep edits, before another frame is shown.

        Otherwise their masks would lie on the next frame, and count as that frame's own.
        """
        for segment_id in self.new_segments() if self._masks.find_proxy() is not None else ():
            self.adopt(segment_id)
            self.proxy.InvokeEvent(slicer.vtkSegmentation.SegmentModified)  # here it is an edit
        self.keep_edits()

    def _on_edit(self, frame: int) -> None:
        self._painted = True
        try:
            self.keep_edits()
        except OutputError as error:  # tried again before another frame is shown
            self._stream.on_problem(str(error))

    def _show(self, frame: int) -> None:
        """Fill the segmentation with a frame's masks."""
        try:
            labels = self._labels.read(frame)
        except InputError as error:  # the picture can be looked at nevertheless
            self._stream.on_problem(str(error))
            labels = np.zeros_like(self._filed)
        if self._masks.find_proxy() is None:  # the user deleted it
            self._new_node()
        self._refill(frame, labels)

    def _refill(self, frame: int, labels: np.ndarray) -> None:
        self._filed = labels
        super().write(frame, {style.id: labels == style.id for style in self.objects})

    def _new_node(self) -> None:
        browser = self.video.browser
        name = f"{self.video.name} segmentation"
        node = self.video.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        browser.SetNodeReferenceID(SEGMENTATION_ROLE, node.GetID())
        self.prepare()
        for style in self.objects:
            add_segment(node.GetSegmentation(), style, self.video.ijk_to_ras)

    def _note(self, frame: int, ids: Iterable[int]) -> None:
        """Store which objects were painted on a frame; without any, the frame is removed."""
        known = tuple(sorted(map(int, ids)))
        if known == self._edits.get(frame, ()):
            return
        self._edits[frame] = known
        if not known:
            del self._edits[frame]
        text = attribute_text([[k, *ids] for k, ids in sorted(self._edits.items())])
        self.video.sequence.SetAttribute(EDITED_ATTRIBUTE, text)


def _edits_from_text(text: str | None) -> dict[int, tuple[int, ...]]:
    try:
        rows = parse_json(text or "[]")
        if not all(type(number) is int for row in rows for number in row):
            return {}
        return {frame: tuple(ids) for frame, *ids in rows}
    except (ValueError, TypeError):
        return {}
