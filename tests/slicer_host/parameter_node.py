"""`slicer.parameterNodeWrapper`: typed attributes of a `vtkMRMLScriptedModuleNode`."""

from __future__ import annotations

import types
import typing
import weakref
from typing import Any

import qt
import vtk

from . import parameter_types
from .parameter_gui import Connector, make_connector
from .parameter_types import Parameter

_PROPERTY = "SlicerParameterName"
_LAST = -1.0
"""A priority below that of the module's observers."""


class _Wrapper:
    """The methods that `@parameterNodeWrapper` adds to a class."""

    allParameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._cache_observer = 0  # none before the stored values could be read
        self._connected: dict[int, tuple[dict[str, Connector], int]] = {}
        self._next_tag = 0
        self._writing_gui = False
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        self._values: dict[str, Any] = {}
        self._read_values()
        reference = weakref.ref(self)
        # nothing promises an order of observers: this one is last, so the module's see old copies
        self._cache_observer = parameterNode.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda *_: _read_values_of(reference), _LAST
        )

    def __del__(self) -> None:
        self.parameterNode.RemoveObserver(self._cache_observer)

    def getValue(self, name: str) -> Any:
        """Return the copy of a value; an observer renews the copies, as in Slicer."""
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        was_modifying = self.StartModify()
        try:
            self.allParameters[name].write(self.parameterNode, value)
            self._values[name] = self.allParameters[name].read(self.parameterNode)
        finally:
            self.EndModify(was_modifying)

    def dataType(self, name: str) -> type:
        return self.allParameters[name].type

    def _read_values(self) -> None:
        for name, parameter in self.allParameters.items():
            stored = parameter.is_in(self.parameterNode)  # not after the scene was cleared
            read = parameter.read(self.parameterNode) if stored else parameter.default
            self._values[name] = read

    def default(self, name: str) -> Any:
        return parameter_types.Default(self.allParameters[name].default)

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modifying: int) -> int:
        return self.parameterNode.EndModify(was_modifying)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def connectGui(self, gui: Any) -> int:
        """Connect each widget that names a parameter; return a tag for `disconnectGui`."""
        is_widget = hasattr(gui, "isWidgetType")
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        named = {widget.property(_PROPERTY): widget for widget in widgets}
        return self.connectParametersToGui({k: v for k, v in named.items() if k})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connectors = {}
        for name, widget in mapping.items():
            if name not in self.allParameters:
                raise ValueError(f"there is no parameter {name!r}; {widget.name} asks for it")
            connectors[name] = make_connector(widget, self.allParameters[name])
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(lambda name=name, c=connector: self._from_gui(name, c))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_gui(), _LAST)
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._connected[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag: int) -> None:
        if tag not in self._connected:
            return
        connectors, observer = self._connected.pop(tag)
        for connector in connectors.values():
            connector.disconnect()
        self.RemoveObserver(observer)

    def _from_gui(self, name: str, connector: Connector) -> None:
        if not self._writing_gui:
            self.setValue(name, connector.read())

    def _to_gui(self) -> None:
        if self._writing_gui:
            return
        self._writing_gui = True
        self._read_values()
        try:
            for connectors, _ in self._connected.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._writing_gui = False


def _read_values_of(reference: weakref.ref[Any]) -> None:
    wrapper = reference()
    if wrapper is not None:
        wrapper._read_values()


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    def wrap(cls: type) -> type:
        hints = typing.get_type_hints(cls, include_extras=True)
        parameters = {
            name: Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()
        }
        members = {name: value for name, value in vars(_Wrapper).items() if _is_own(name)}
        for name in set(members) & set(parameters):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        for name, value in members.items():
            setattr(cls, name, value)
        cls.allParameters = parameters  # type: ignore[attr-defined]
        for name in parameters:
            setattr(cls, name, _attribute_of(name))
        return cls

    return wrap if classtype is None else wrap(classtype)


def _is_own(name: str) -> bool:
    return name in ("__init__", "__del__") or not name.startswith("__")


def _attribute_of(name: str) -> property:
    return property(
        lambda self: self.getValue(name), lambda self, value: self.setValue(name, value)
    )


def make_package() -> types.ModuleType:
    package = types.ModuleType("slicer.parameterNodeWrapper", __doc__)
    package.parameterNodeWrapper = parameterNodeWrapper  # type: ignore[attr-defined]
    package.SlicerParameterNamePropertyName = _PROPERTY  # type: ignore[attr-defined]
    for name in ("Default", "Validator", "NotNone", "WithinRange", "Minimum", "Maximum", "Choice"):
        setattr(package, name, getattr(parameter_types, name))
    return package
