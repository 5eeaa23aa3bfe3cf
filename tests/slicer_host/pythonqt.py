"""Qt classes with the behaviour of PythonQt, made from those of PySide6.

What PythonQt does and PySide6 does not:
- a Qt property is an attribute (`button.text = "Go"`), and reading it is no call;
- `obj.connect("clicked(bool)", f)` and `obj.disconnect(...)` take C++ signatures;
- `obj.name` is the object name, `obj.className()` the C++ class.
Methods that are no property getters stay as they are (`setText`, `isChecked`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

_NODE_POINTER = re.compile(r"\bvtk\w+\s*\*")


class QtProperty:
    """A Qt property as an attribute. On the class it gives the method of that name."""

    def __init__(self, base: type, name: str, writable: bool) -> None:
        self._base, self._name, self._writable = base, name, writable
        capital = name[0].upper() + name[1:]
        self._getter = _method(base, name) or _method(base, f"is{capital}")
        self._setter = _method(base, f"set{capital}")

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return getattr(self._base, self._name, self)
        if self._getter is not None:
            return self._getter(instance)
        return QtCore.QObject.property(instance, self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        if not self._writable:
            raise AttributeError(f"{self._base.__name__}.{self._name} cannot be written")
        if self._setter is not None:
            self._setter(instance, value)
        else:
            QtCore.QObject.setProperty(instance, self._name, value)


def _method(base: type, name: str) -> Callable[..., Any] | None:
    """Return the C++ method of that name, unless it is static, as QTimer.singleShot is."""
    found = getattr(base, name, None)
    is_method = type(found).__name__ in ("method_descriptor", "wrapper_descriptor")
    return found if is_method else None


class PythonQtNames:
    """The names that PythonQt gives to every object; `wrap` copies them into each class."""

    @property
    def name(self: Any) -> str:
        return QtCore.QObject.objectName(self)

    @name.setter
    def name(self: Any, value: str) -> None:
        QtCore.QObject.setObjectName(self, value)

    def className(self: Any) -> str:
        return self.metaObject().className()

    def delete(self: Any) -> None:
        self.deleteLater()

    def connect(self: Any, *arguments: Any) -> Any:
        """Connect `(signature, callable)` as PythonQt does; pass PySide6's own calls on."""
        if len(arguments) == 2 and isinstance(arguments[0], str):
            signature = signal_signature(self, arguments[0])
            return bool(QtCore.QObject.connect(self, "2" + signature, arguments[1]))
        return QtCore.QObject.connect(self, *arguments)

    def disconnect(self: Any, *arguments: Any) -> Any:
        if len(arguments) == 2 and isinstance(arguments[0], str):
            signature = signal_signature(self, arguments[0])
            return QtCore.QObject.disconnect(self, "2" + signature, arguments[1])
        return QtCore.QObject.disconnect(self, *arguments)

    def __init_subclass__(cls, **options: Any) -> None:
        """Copy two methods that PySide6 looks for only in the class of the object itself."""
        super(QtCore.QObject, cls).__init_subclass__(**options)
        for name in ("connect", "disconnect"):
            if name not in vars(cls):
                setattr(cls, name, vars(PythonQtNames)[name])


_SHARED = {
    name: value
    for name, value in vars(PythonQtNames).items()
    if not name.startswith("__") or name == "__init_subclass__"
}


def signal_signature(sender: QtCore.QObject, signature: str) -> str:
    """Return the signature as PySide6 knows it. Raise ValueError without such a signal."""
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    known = _NODE_POINTER.sub("PyObject", normalized)
    if sender.metaObject().indexOfSignal(known) < 0:
        raise ValueError(f"{sender.metaObject().className()} has no signal {signature!r}")
    return known


def wrap(base: type, namespace: dict[str, Any] | None = None) -> type:
    """Return a subclass of a PySide6 class with the same name and PythonQt's behaviour.

    `namespace` adds attributes; the module name is set to `qt`.
    """
    members: dict[str, Any] = {"__module__": "qt", **_SHARED}
    meta = base.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.propertyCount()):
        found = meta.property(index)
        members[found.name()] = QtProperty(base, found.name(), found.isWritable())
    members.update(namespace or {})
    return type(base.__name__, (base,), members)
