"""Keys that work while the module is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

_TYPING = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox", "QComboBox")
"""Classes of widgets that take every key themselves."""
_NAVIGABLE = ("QAbstractItemView", "QAbstractSlider")
"""Classes of widgets that take the arrow keys, Home and End themselves."""
_NAVIGATION = ("Left", "Right", "Home", "End")


class Shortcuts:
    """Keys of the main window, from `activate` to `deactivate`.

    A key does nothing while a widget that needs the key itself has the focus.

    Args:
        actions: what each key, such as ``"T"`` or ``"Shift+D"``, does.

    Attributes:
        actions: the same.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self.actions = dict(actions)
        self._shortcuts: dict[str, Any] = {}

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
            self._shortcuts[key] = shortcut
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._focus_changed(None, slicer.app.focusWidget())

    def deactivate(self) -> None:
        """Give the keys back to the application."""
        if not self._shortcuts:
            return
        slicer.app.disconnect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        for shortcut in self._shortcuts.values():
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()

    def _focus_changed(self, _before: Any, focused: Any) -> None:
        types = _is_one_of(focused, _TYPING)
        navigates = _is_one_of(focused, _NAVIGABLE)
        for key, shortcut in self._shortcuts.items():
            needed = types or (navigates and key.rpartition("+")[2] in _NAVIGATION)
            shortcut.setEnabled(not needed)


def disable_shortcuts_of(widget: Any) -> None:
    """Disable the keys that a widget of Slicer registers for itself."""
    for shortcut in widget.findChildren(qt.QShortcut):
        shortcut.setEnabled(False)


def _is_one_of(widget: Any, classes: tuple[str, ...]) -> bool:
    return widget is not None and any(widget.inherits(name) for name in classes)
