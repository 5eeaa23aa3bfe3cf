"""The objects of a video, one segment each, with name, colour, terminology and visibility."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from typing import Any, Protocol

from surgsam2.errors import InputError
from surgsam2.mrml import ObjectStyle
from surgsam2.storage.palette import default_color
from SurgSAM2Lib.i18n import _


class ObjectNodes(Protocol):
    """Nodes with one segment per object: `MaskNodes` or `LiveMasks`."""

    @property
    def proxy(self) -> Any:
        """The ``vtkMRMLSegmentationNode`` that is shown."""

    @property
    def objects(self) -> tuple[ObjectStyle, ...]:
        """All objects, in the order of the segments."""

    def add_object(
        self, object_id: int, name: str, color: str, terminology: str | None = None
    ) -> Any:
        """Add an object with an empty segment."""

    def remove_object(self, object_id: int) -> None:
        """Remove an object's segment."""

    def segment_id(self, object_id: int) -> str:
        """Return the id of an object's segment."""

    def copy_style_to_all_frames(self) -> None:
        """Copy names and colours of the segments that are shown to all frames."""


class Objects:
    """A view of the segments. It stores nothing, so changes by other modules show at once.

    Iterating gives an `ObjectStyle` for each object, in the order in which they were added.

    Args:
        masks: the nodes whose segments are the objects.
    """

    def __init__(self, masks: ObjectNodes) -> None:
        self._masks = masks

    def __iter__(self) -> Iterator[ObjectStyle]:
        return iter(self._masks.objects)

    def __len__(self) -> int:
        return len(self._masks.objects)

    def __contains__(self, object_id: int) -> bool:
        return any(style.id == object_id for style in self)

    def __getitem__(self, object_id: int) -> ObjectStyle:
        """Return the object with this id. Raises `InputError` when there is none."""
        for style in self:
            if style.id == object_id:
                return style
        ids = ", ".join(str(style.id) for style in self)
        advice = _("objects: {ids}").format(ids=ids) if ids else _("add an object first")
        raise InputError(_("there is no object {id}; {advice}").format(id=object_id, advice=advice))

    def add(
        self, name: str | None = None, color: str | None = None, terminology: str | None = None
    ) -> int:
        """Add an object.

        Args:
            name: one line; "Object <id>" when None.
            color: ``#rrggbb``; one that differs from the others' when None.
            terminology: Slicer's terminology entry as text.

        Returns:
            The object's id, the smallest that is free.

        Raises:
            InputError: a value cannot be used.
        """
        used = {style.id for style in self}
        object_id = next(i for i in range(1, len(used) + 2) if i not in used)
        name = name or automatic_name(object_id)
        self._masks.add_object(object_id, name, color or self.unused_color(object_id), terminology)
        return object_id

    def unused_color(self, object_id: int) -> str:
        """Return the usual colour of an object, or another one if an object has it already."""
        used = {style.color for style in self if style.id != object_id}
        usual = (default_color(number) for number in chain([object_id], count(1)))
        return next(color for color in usual if color not in used)

    def remove(self, object_id: int) -> None:
        """Remove an object and all its masks from the scene. Raises `InputError`."""
        self._masks.remove_object(self[object_id].id)

    def set_style(self, style: ObjectStyle) -> None:
        """Give an object another name, colour or terminology. Raises `InputError`."""
        segment_id = self.segment_id(style.id)
        style.apply(self._masks.proxy.GetSegmentation().GetSegment(segment_id))
        self._masks.copy_style_to_all_frames()

    def is_visible(self, object_id: int) -> bool:
        """Return whether the object is shown in the views; False when its segment was deleted."""
        segment_id = self.segment_id(object_id)
        return bool(segment_id) and bool(self._display.GetSegmentVisibility(segment_id))

    def set_visible(self, object_id: int, visible: bool) -> None:
        """Show or hide an object in the views. Raises `InputError`."""
        self._display.SetSegmentVisibility(self.segment_id(object_id), visible)

    def segment_id(self, object_id: int) -> str:
        """Return the id of the object's segment in the segmentation that is shown."""
        return self._masks.segment_id(self[object_id].id)

    @property
    def _display(self) -> Any:
        return self._masks.proxy.GetDisplayNode()


def automatic_name(object_id: int) -> str:
    """Return the name of an object that the user has not named."""
    return _("Object {id}").format(id=object_id)
