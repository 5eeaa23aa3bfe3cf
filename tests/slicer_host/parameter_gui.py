"""The pairs of widgets and parameter types that `connectGui` connects."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ctk
import qt
import slicer

from .parameter_types import Choice, Maximum, Minimum, Parameter, WithinRange


@dataclass
class Connector:
    """Reads and writes a widget. `signal` reports changes; a read-only widget has None."""

    widget: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]
    signal: Any

    def connect(self, callback: Callable[[], None]) -> None:
        self._slot = lambda *_: callback()
        if self.signal is not None:
            self.signal.connect(self._slot)

    def disconnect(self) -> None:
        if self.signal is not None:
            self.signal.disconnect(self._slot)
            self._slot = None  # it refers to the wrapper, which would live on with its observers


def make_connector(widget: Any, parameter: Parameter) -> Connector:
    """Return a connector. Raise RuntimeError where Slicer does, also for subclasses of widgets."""
    kind, shown = parameter.type, type(widget)
    makers = (_number, _text, _combo_box, _path, _node, _check_box)
    connector = next((made for make in makers if (made := make(widget, parameter))), None)
    if connector is None:
        raise RuntimeError(f"no connector from {kind.__name__} to {shown.__name__}")
    return connector


def _check_box(widget: Any, parameter: Parameter) -> Connector | None:
    if parameter.type is bool and type(widget) in (qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton):
        return _attribute(widget, "checked", widget.toggled)
    return None


def _number(widget: Any, parameter: Parameter) -> Connector | None:
    kind, shown = parameter.type, type(widget)
    sliders = (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget)
    if kind is int and shown in (qt.QSlider, qt.QSpinBox):
        low, high = _bounds(parameter, needed=shown is qt.QSlider)
        widget.setRange(-(2**31) if low is None else low, 2**31 - 1 if high is None else high)
        return _attribute(widget, "value", widget.valueChanged)
    if kind in (int, float) and shown in (qt.QDoubleSpinBox, ctk.ctkDoubleSpinBox, *sliders):
        if kind is int:
            widget.decimals = 0
        low, high = _bounds(parameter, needed=shown in sliders)
        widget.minimum = float("-inf") if low is None else float(low)
        widget.maximum = float("inf") if high is None else float(high)
        return _attribute(widget, "value", widget.valueChanged, kind)
    return None


def _text(widget: Any, parameter: Parameter) -> Connector | None:
    shown = type(widget)
    if parameter.type is str and shown in (qt.QLineEdit, qt.QLabel):
        return _attribute(widget, "text", getattr(widget, "textChanged", None))
    if parameter.type is str and shown is qt.QTextEdit:
        return Connector(widget, widget.toPlainText, widget.setPlainText, widget.textChanged)
    return None


def _path(widget: Any, parameter: Parameter) -> Connector | None:
    if not issubclass(parameter.type, pathlib.PurePath):
        return None
    names = {ctk.ctkPathLineEdit: "currentPath", ctk.ctkDirectoryButton: "directory"}
    name = names.get(type(widget))
    if name is None:
        return None

    def write(value: Any) -> None:
        setattr(widget, name, str(value))

    signal = getattr(widget, f"{name}Changed")
    return Connector(widget, lambda: parameter.type(getattr(widget, name)), write, signal)


def _node(widget: Any, parameter: Parameter) -> Connector | None:
    if not (parameter.is_node and type(widget) is slicer.qMRMLNodeComboBox):
        return None
    widget.nodeTypes = [parameter.type.__name__]
    return Connector(widget, widget.currentNode, widget.setCurrentNode, widget.currentNodeIDChanged)


def _attribute(widget: Any, name: str, signal: Any, kind: type | None = None) -> Connector:
    def read() -> Any:
        value = getattr(widget, name)
        return kind(value) if kind else value

    def write(value: Any) -> None:
        if read() != value:
            setattr(widget, name, value)

    return Connector(widget, read, write, signal)


def _bounds(parameter: Parameter, needed: bool) -> tuple[Any, Any]:
    both = parameter.first(WithinRange)
    low, high = both or parameter.first(Minimum), both or parameter.first(Maximum)
    if needed and (low is None or high is None):
        raise RuntimeError(f"{parameter.name}: a slider needs a bounded type")
    return low and low.minimum, high and high.maximum


def _combo_box(widget: Any, parameter: Parameter) -> Connector | None:
    """Connect a combo box; the choices replace the items of the .ui file, as in Slicer."""
    if type(widget) not in (qt.QComboBox, ctk.ctkComboBox):
        return None
    if issubclass(parameter.type, enum.Enum):
        values = list(parameter.type)
        label = getattr(parameter.type, "label", lambda value: value.name)
        texts = [label(value) for value in values]
    else:
        choice = parameter.first(Choice)
        if choice is None:
            raise RuntimeError(f"{parameter.name}: a combo box needs the Choice annotation")
        values = list(choice.choices)
        texts = [str(value) for value in values]
    widget.clear()
    for text in texts:
        widget.addItem(text)

    def write(value: Any) -> None:
        widget.currentIndex = values.index(value)

    return Connector(widget, lambda: values[widget.currentIndex], write, widget.currentIndexChanged)
