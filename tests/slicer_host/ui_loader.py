"""Reads `.ui` files and makes widgets of the classes in `qt`, `ctk` and `slicer`."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtWidgets

from . import pythonqt


def make_loader(base: type, qt: Any) -> type:
    """Return the class `qt.QUiLoader`."""

    class QUiLoader(base):  # type: ignore[misc, valid-type]
        def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
            widget = _class_named(class_name, qt)(parent)
            widget.setObjectName(name)
            return widget

        def createLayout(self, class_name: str, parent: Any = None, name: str = "") -> Any:
            # a layout within a layout gets its parent from Qt's reader
            inside_widget = isinstance(parent, QtWidgets.QWidget)
            layout = _class_named(class_name, qt)(*([parent] if inside_widget else []))
            layout.setObjectName(name)
            return layout

        def createAction(self, parent: Any = None, name: str = "") -> Any:
            action = qt.QAction(parent)
            action.setObjectName(name)
            return action

        def load(self, device: QtCore.QIODevice, parent: Any = None) -> Any:
            text, connections = _without_scene_connections(bytes(device.readAll().data()))
            buffer = QtCore.QBuffer()
            buffer.setData(text)
            buffer.open(QtCore.QIODevice.ReadOnly)
            widget = super().load(buffer, parent)
            for sender, signal, receiver, slot in connections:
                _connect(widget, sender, signal, receiver, slot)
            return widget

    return pythonqt.wrap(QUiLoader, {"__qualname__": "QUiLoader"})


def _class_named(name: str, qt: Any) -> type:
    import ctk
    import slicer

    for module in (ctk, slicer, qt):
        found = getattr(module, name, None)
        if found is not None:
            return found
    raise AttributeError(f"the .ui file uses {name}, which this host does not have")


Connection = tuple[str, str, str, str]


def _without_scene_connections(text: bytes) -> tuple[bytes, list[Connection]]:
    """Return the file without its connections of MRML pointers, and these connections.

    PySide6 registers signals with such arguments under another type, so that Qt's reader
    would not find them.
    """
    root = ElementTree.fromstring(text)
    taken: list[Connection] = []
    for group in root.iter("connections"):
        for item in list(group):
            parts = [item.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot")]
            if "vtk" in parts[1]:
                taken.append((parts[0], parts[1], parts[2], parts[3]))
                group.remove(item)
    return ElementTree.tostring(root, encoding="utf-8"), taken


def _connect(root: Any, sender: str, signal: str, receiver: str, slot: str) -> None:
    def named(name: str) -> Any:
        found = root if root.objectName == name else root.findChild(QtCore.QObject, name)
        if found is None:
            raise ValueError(f"the .ui file connects {name}, which it does not have")
        return found

    named(sender).connect(signal, getattr(named(receiver), slot.partition("(")[0]))
