"""The module `qt`: all classes of Qt in one namespace, as in PythonQt."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from . import pythonqt
from .ui_loader import make_loader

_LIBRARIES = (QtCore, QtGui, QtWidgets, QtNetwork)

_KEEP_PYSIDE = {"Signal", "Slot", "Property", "ClassInfo", "QEnum", "QFlag"}
"""PySide6's own additions; PythonQt has no such names."""


def _dialog_names() -> dict[str, Any]:
    """Return `exec_`, PythonQt's name of `exec` on dialogs, menus and event loops."""
    return {"exec_": lambda self, *arguments: self.exec(*arguments)}


def _without_waiting(wrapped: type) -> type:
    if wrapped.__name__ not in ("QFileDialog", "QColorDialog"):
        return wrapped
    from .dialogs import make_choosing

    return make_choosing(wrapped)


class QtModule(types.ModuleType):
    """A module that finds a name in Qt's libraries when it is first used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _KEEP_PYSIDE:
            raise AttributeError(f"module 'qt' has no attribute {name!r}")
        if name == "QUiLoader":
            value: Any = make_loader(QtUiTools.QUiLoader, self)
        else:
            value = self._find(name)
        setattr(self, name, value)
        return value

    def _find(self, name: str) -> Any:
        for library in _LIBRARIES:
            found = getattr(library, name, None)
            if found is None:
                continue
            if isinstance(found, type) and issubclass(found, QtCore.QObject):
                extra = _dialog_names() if hasattr(found, "exec") else {}
                return _without_waiting(pythonqt.wrap(found, extra))
            return found
        raise AttributeError(f"module 'qt' has no attribute {name!r}")


def make_qt() -> QtModule:
    return QtModule("qt", "Qt as PythonQt shows it. A stand-in for tests.")
