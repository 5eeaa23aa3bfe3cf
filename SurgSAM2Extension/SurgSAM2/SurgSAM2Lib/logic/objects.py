"""Objects of the video in use: adding, removing, locking, and their classes."""

from __future__ import annotations

from pathlib import Path

from surgsam2.errors import InputError
from surgsam2.prompts import ObjectClass, load_class_list
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.logic.workspace import Workspace


class ObjectActions:
    """Adds, removes, locks and classifies objects. A refused call changes nothing.

    Args:
        workspace: the scene, session and engine to work with.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(
        self,
        name: str | None = None,
        color: str | None = None,
        terminology: str | None = None,
        class_name: str | None = None,
    ) -> int:
        """Add an object and return its id.

        Args:
            name: one line; when None the name of the class, or "Object <id>" without a class.
            color: ``#rrggbb``; when None that of the class, or one that differs from the others'.
            terminology: Slicer's terminology entry, for a class that is not in the list.
            class_name: name of a class of the list in use; None for no class.

        Raises:
            InputError: a value cannot be used, or there is no such class.
        """
        session = self._workspace.current_session
        known = None if class_name is None else self._class(class_name)
        object_id = session.objects.add(name, color, terminology)
        if known is not None:
            session.classes.set(object_id, known)
        return object_id

    def remove(self, object_id: int) -> None:
        """Remove an object with its prompts and masks."""
        self._workspace.refuse_while_tracking()
        self._workspace.current_session.remove_object(object_id)
        self._workspace.withdraw_corrections(object_id)

    def lock(self, object_id: int, locked: bool = True) -> None:
        """Protect an object: nothing changes its masks and prompts until it is unlocked.

        Raises:
            InputError: there is no such object.
        """
        self._workspace.current_session.locks.set(object_id, locked)

    def set_class(self, object_id: int, class_name: str) -> None:
        """Give an object a class of the list in use; see `Classes.set`.

        Args:
            object_id: id of the object.
            class_name: name of the class; empty takes the object's class away.

        Raises:
            InputError: there is no such object or class.
        """
        known = self._class(class_name) if class_name else None
        self._workspace.current_session.classes.set(object_id, known)

    def choose_classes(self, source: str | Path) -> None:
        """Use another list of classes for this video and those without a list.

        Objects keep their classes.

        Args:
            source: what `surgsam2.prompts.load_class_list` takes.

        Raises:
            InputError: the list cannot be read, or no video is in use.
        """
        session = self._workspace.current_session
        session.classes.choices = self._workspace.class_list = load_class_list(source)

    def _class(self, name: str) -> ObjectClass:
        choices = self._workspace.current_session.classes.choices
        found = choices.by_name(name)
        if found is None:
            raise InputError(
                _("there is no class {name} in the list {list}; classes: {names}").format(
                    name=repr(name), list=choices.name, names=", ".join(c.name for c in choices)
                )
            )
        return found
