"""Locked objects: nothing may change their masks and prompts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from surgsam2.errors import InputError
from surgsam2.mrml import MaskNodes
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.objects import Objects

LOCKED = "SurgSAM2.lockedObjects"
"""Attribute of the mask sequence with the ids of the objects that nothing may change."""


class Locks:
    """The locked objects of a video, which are saved with the scene.

    Args:
        masks: the nodes of the masks.
        objects: the objects of the video.
    """

    def __init__(self, masks: MaskNodes, objects: Objects) -> None:
        self._masks, self._objects = masks, objects

    def __contains__(self, object_id: int) -> bool:
        return str(object_id) in (self._masks.sequence.GetAttribute(LOCKED) or "").split()

    def set(self, object_id: int, locked: bool) -> None:
        """Protect an object from changes, or unlock it.

        Raises:
            InputError: there is no such object.
        """
        self._objects[object_id]  # raises when there is no such object
        ids = {style.id for style in self._objects if style.id in self} - {object_id}
        text = " ".join(map(str, sorted(ids | {object_id} if locked else ids)))
        self._masks.sequence.SetAttribute(LOCKED, text or None)

    def unlocked(self, objects: Collection[int] | None = None) -> list[int]:
        """Return those of some objects, or of all, that are not locked.

        Raises:
            InputError: all of them are locked.
        """
        ids = [style.id for style in self._objects] if objects is None else list(objects)
        free = [object_id for object_id in ids if object_id not in self]
        if ids and not free:
            raise InputError(
                _("all these objects are locked; unlock one in the table of objects to change it")
            )
        return free

    def refuse(self, objects: Iterable[int]) -> None:
        """Raise `InputError` when one of these objects is locked or does not exist."""
        for object_id in objects:
            style = self._objects[object_id]  # raises when there is no such object
            if object_id in self:
                raise InputError(
                    _("{name} is locked; unlock it in the table of objects to change it").format(
                        name=style.name
                    )
                )
