"""The objects of a video: one segment each, with name, colour, terminology and visibility."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from surgsam2.errors import InputError
from surgsam2.mrml import MaskNodes, ObjectStyle
from surgsam2.storage.palette import default_color
from SurgSAM2Lib.i18n import _


class Objects:
    """A view on the segments: nothing is kept here, so Slicer's own changes show at once.

    Iterates over `ObjectStyle`, in the order in which objects were added.
    """

    def __init__(self, masks: MaskNodes) -> None:
        self._masks = masks

    def __iter__(self) -> Iterator[ObjectStyle]:
        return iter(self._masks.objects)

    def __len__(self) -> int:
        return len(self._masks.objects)

    def __contains__(self, object_id: int) -> bool:
        return any(style.id == object_id for style in self)

    def __getitem__(self, object_id: int) -> ObjectStyle:
        """The object of this id; `InputError` when there is none."""
        for style in self:
            if style.id == object_id:
                return style
        ids = ", ".join(str(style.id) for style in self)
        advice = _("objects: {ids}").format(ids=ids) if ids else _("add an object first")
        raise InputError(_("there is no object {id}; {advice}").format(id=object_id, advice=advice))

    def add(
        self, name: str | None = None, color: str | None = None, terminology: str | None = None
    ) -> int:
        """A new object; its id, the smallest that is free. Raises `InputError`."""
        used = {style.id for style in self}
        object_id = next(i for i in range(1, len(used) + 2) if i not in used)
        name = name or _("Object {id}").format(id=object_id)
        self._masks.add_object(object_id, name, color or default_color(object_id), terminology)
        return object_id

    def remove(self, object_id: int) -> None:
        """Take an object and all its masks out of the scene."""
        self._masks.remove_object(self[object_id].id)

    def set_style(self, style: ObjectStyle) -> None:
        """Another name, colour or terminology, on every frame. Raises `InputError`."""
        segment_id = self.segment_id(style.id)
        style.apply(self._masks.proxy.GetSegmentation().GetSegment(segment_id))
        self._masks.copy_style_to_all_frames()

    def is_visible(self, object_id: int) -> bool:
        """Whether the object is shown in the views; not where the user deleted its segment."""
        segment_id = self.segment_id(object_id)
        return bool(segment_id) and bool(self._display.GetSegmentVisibility(segment_id))

    def set_visible(self, object_id: int, visible: bool) -> None:
        self._display.SetSegmentVisibility(self.segment_id(object_id), visible)

    def segment_id(self, object_id: int) -> str:
        """Id of the object's segment in the segmentation that is shown."""
        return self._masks.segment_id(self[object_id].id)

    @property
    def _display(self) -> Any:
        return self._masks.proxy.GetDisplayNode()
