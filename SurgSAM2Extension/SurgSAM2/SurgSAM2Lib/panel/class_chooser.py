"""The choice of an object's class, and of the list of classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from surgsam2.prompts import CLASS_LISTS, ClassList
from SurgSAM2Lib.i18n import _


class ClassChooser:
    """A combo box of classes whose last entries choose another list.

    Args:
        combo: the ``QComboBox``.
        on_class: called with the name of the class that the user chose; empty for no class.
        on_list: called with the name of a list of the package; empty to ask for a file.
    """

    def __init__(
        self, combo: Any, on_class: Callable[[str], Any], on_list: Callable[[str], Any]
    ) -> None:
        self._combo = combo
        self._on_class, self._on_list = on_class, on_list
        self._classes: ClassList | None = None
        self._actions: list[Callable[[], Any]] = []
        combo.connect("activated(int)", self._chosen)

    def show(self, classes: ClassList, name: str) -> None:
        """Show the classes, and the name of the selected object's class; empty for no class."""
        if classes != self._classes:
            self._fill(classes)
        names = ["", *(item.name for item in classes)]
        if name in names:
            self._combo.setItemText(0, _("No class"))
            self._combo.currentIndex = names.index(name)
        else:  # a class that is not in the list
            self._combo.setItemText(0, name)
            self._combo.currentIndex = 0

    def _fill(self, classes: ClassList) -> None:
        self._classes, self._actions = classes, []
        self._combo.clear()
        self._add(_("No class"), lambda: self._on_class(""))
        for item in classes:
            self._add(item.name, partial(self._on_class, item.name))
        for name, title in CLASS_LISTS.items():
            text = _("Classes: {title}").format(title=title)
            self._add(text, partial(self._on_list, name))
        self._add(_("Classes from a file..."), lambda: self._on_list(""))

    def _add(self, text: str, action: Callable[[], Any]) -> None:
        self._combo.addItem(text)
        self._actions.append(action)

    def _chosen(self, index: int) -> None:
        self._actions[index]()
