"""Helpers that declare properties of stand-in widgets for .ui files and Python."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore


def with_properties(base: type, **defaults: Any) -> type:
    """Return a subclass of `base` with one stored Qt property per keyword.

    Each gets the setter that C++ has (`setNoneEnabled`), and writing a new value calls
    `self.propertyWritten(name)` where the widget has that method.
    """
    members: dict[str, Any] = {}
    for name, default in defaults.items():
        members[name] = _stored(name, default)
        members[_setter_name(name)] = _setter(name)
    return type(base.__name__, (base,), members)


def _setter_name(name: str) -> str:
    return f"set{name[0].upper()}{name[1:]}"


def _stored(name: str, default: Any) -> QtCore.Property:
    kind = "QStringList" if isinstance(default, list) else type(default)
    key = f"_{name}"

    def read(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        if isinstance(default, float) and not isinstance(default, bool):
            value = float(value)
        elif isinstance(default, list):
            value = list(value)
        elif type(value) is not type(default):
            raise TypeError(f"{name} is a {type(default).__name__}, got {value!r}")
        if value == read(self):
            return
        self.__dict__[key] = value
        written = getattr(self, "propertyWritten", None)
        if written is not None:
            written(name)

    return QtCore.Property(kind, read, write)


def _setter(name: str) -> Callable[[Any, Any], None]:
    return lambda self, value: setattr(self, name, value)


class Observers:
    """VTK observers of a widget that do nothing after Qt has deleted the widget.

    They are removed with this object: VTK would go on calling a function that the garbage
    collector has already emptied, which ends the process.
    """

    def __init__(self, owner: QtCore.QObject) -> None:
        self._owner = weakref.ref(owner)
        self._tags: list[tuple[Any, int]] = []

    def add(self, subject: Any, event: Any, method: str) -> None:
        owner_of = self._owner

        def call(*_: Any) -> None:
            owner = owner_of()
            if owner is not None and shiboken6.isValid(owner):
                getattr(owner, method)()

        self._tags.append((subject, subject.AddObserver(event, call)))

    def __del__(self) -> None:
        self.clear()

    def clear(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()
