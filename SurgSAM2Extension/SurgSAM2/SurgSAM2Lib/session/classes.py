"""The classes that objects of a video can have, and the class of each object."""

from __future__ import annotations

from dataclasses import astuple, replace

from surgsam2.errors import PromptError
from surgsam2.mrml import MaskNodes, ObjectStyle
from surgsam2.mrml.attribute_text import attribute_text
from surgsam2.mrml.terminology import classes_of, entry_of
from surgsam2.prompts import ClassList, ObjectClass, load_class_list
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.palette import default_color
from SurgSAM2Lib.session.objects import Objects, automatic_name

CLASSES = "SurgSAM2.classes"
"""Attribute of the mask sequence with the list: its name, and rows of the values of each class."""
DEFAULT_LIST = "general"
"""The list of a video for which none was chosen; see `load_class_list`."""


class Classes:
    """The list is saved with the scene; the class of an object is its terminology.

    So a class that another module of Slicer gives to a segment counts, too.

    Args:
        masks: the masks of the video.
        objects: its objects.
    """

    def __init__(self, masks: MaskNodes, objects: Objects) -> None:
        self._masks, self._objects = masks, objects
        self._read: tuple[str | None, ClassList] = ("", load_class_list(DEFAULT_LIST))

    @property
    def chosen(self) -> bool:
        """Whether a list was chosen for this video."""
        return bool(self._text)

    @property
    def choices(self) -> ClassList:
        """The classes to choose from. Setting it leaves the classes of objects as they are."""
        if self._read[0] != self._text:
            self._read = (self._text, _from_text(self._text))
        return self._read[1]

    @choices.setter
    def choices(self, classes: ClassList) -> None:
        rows = [classes.name, [astuple(item) for item in classes]]
        self._masks.sequence.SetAttribute(CLASSES, attribute_text(rows))

    def of_objects(self) -> dict[ObjectStyle, ObjectClass | None]:
        """Return all objects with their classes; None for one that nobody has classified."""
        styles = list(self._objects)
        found = classes_of((style.terminology for style in styles), self.choices)
        return dict(zip(styles, found, strict=True))

    def of(self, object_id: int) -> ObjectClass | None:
        """Return the class of an object; None when nobody has classified it."""
        self._objects[object_id]  # raises when there is no such object
        return next(found for style, found in self.of_objects().items() if style.id == object_id)

    def set(self, object_id: int, object_class: ObjectClass | None) -> None:
        """Give an object a class, or with None take its class away.

        A name that the user did not choose becomes that of the class, with a number from the
        second object of a class on. A colour that the user did not choose becomes that of the
        class, unless another object has it.

        Raises:
            InputError: there is no such object.
        """
        style, present = self._objects[object_id], self.of_objects()
        changed = replace(style, terminology=entry_of(object_class))
        own = present[style]
        names = {automatic_name(object_id), *_numbered(own.name if own else "", len(present))}
        if style.name in names:
            changed = replace(changed, name=self._free_name(object_id, object_class))
        others = {known.color for known in present if known.id != object_id}
        if (
            object_class is not None
            and object_class.color not in others
            and style.color in (default_color(object_id), own.color if own else "")
        ):
            changed = replace(changed, color=object_class.color)
        self._objects.set_style(changed)

    def _free_name(self, object_id: int, object_class: ObjectClass | None) -> str:
        if object_class is None:
            return automatic_name(object_id)
        taken = {known.name for known in self._objects if known.id != object_id}
        names = _numbered(object_class.name, len(taken) + 1)
        return next(name for name in names if name not in taken)

    @property
    def _text(self) -> str | None:
        return self._masks.sequence.GetAttribute(CLASSES)


def _numbered(name: str, most: int) -> list[str]:
    """Return the names of objects of a class: "Hook", "Hook 2", "Hook 3", ..."""
    return [name, *(f"{name} {number}" for number in range(2, most + 1))] if name else []


def _from_text(text: str | None) -> ClassList:
    """Return the list of a scene; the default one when there is none or it is damaged."""
    try:
        name, rows = parse_json(text or "")
        return ClassList(str(name), [ObjectClass(*row) for row in rows])
    except (ValueError, TypeError, PromptError):
        return load_class_list(DEFAULT_LIST)
