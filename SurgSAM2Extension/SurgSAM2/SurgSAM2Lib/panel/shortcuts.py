"""Keys that work while the module is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer


class Shortcuts:
    """Keys of the main window, from `activate` to `deactivate`.

    Args:
        actions: what each key, such as ``"T"`` or ``"Shift+D"``, does.

    Attributes:
        actions: the same.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self.actions = dict(actions)
        self._shortcuts: list[Any] = []

    @property
    def active(self) -> bool:
        """Whether the keys work now."""
        return bool(self._shortcuts)

    def activate(self) -> None:
        """Make the keys work. Does nothing without a main window."""
        window = slicer.util.mainWindow()
        if self._shortcuts or window is None:
            return
        for key, action in self.actions.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def deactivate(self) -> None:
        """Give the keys back to the application."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()
