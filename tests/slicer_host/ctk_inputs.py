"""Stand-ins for CTK's sliders, ranges and path editors."""

from __future__ import annotations

from typing import Any

import qt
from PySide6.QtCore import Property, Signal

from .declare import with_properties


class ctkDoubleSpinBox(qt.QDoubleSpinBox):
    pass


class ctkSliderWidget(
    with_properties(
        qt.QWidget,
        decimals=2,
        singleStep=1.0,
        pageStep=10.0,
        tickInterval=0.0,
        suffix="",
        prefix="",
        tracking=True,
        spinBoxVisible=True,
    )
):
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._low, self._high, self._current = 0.0, 99.0, 0.0
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider, self._box = qt.QSlider(qt.Qt.Horizontal), qt.QDoubleSpinBox()
        for part in (self._slider, self._box):
            row.addWidget(part)
        self._show()
        self._slider.connect("sliderMoved(int)", self.setValue)
        self._box.connect("valueChanged(double)", self.setValue)

    def setValue(self, value: float) -> None:
        value = min(max(float(value), self._low), self._high)
        if value != self._current:
            self._current = value
            self._show()
            self.valueChanged.emit(value)

    def setRange(self, low: float, high: float) -> None:
        self._low, self._high = float(low), float(high)
        self._show()
        self.setValue(self._current)

    def propertyWritten(self, name: str) -> None:
        if "_box" in self.__dict__:
            self._show()

    def _show(self) -> None:
        for part in (self._slider, self._box):
            part.blockSignals(True)
        self._box.setDecimals(self.decimals)
        self._box.setSingleStep(self.singleStep)
        self._box.setSuffix(self.suffix)
        self._box.setPrefix(self.prefix)
        self._box.setVisible(self.spinBoxVisible)
        self._box.setRange(max(self._low, -1e9), min(self._high, 1e9))
        self._box.setValue(self._current)
        self._slider.setRange(int(max(self._low, -1e9)), int(min(self._high, 1e9)))
        self._slider.setValue(int(self._current))
        for part in (self._slider, self._box):
            part.blockSignals(False)

    value = Property(float, lambda self: self._current, setValue)
    minimum = Property(float, lambda self: self._low, lambda self, v: self.setRange(v, self._high))
    maximum = Property(float, lambda self: self._high, lambda self, v: self.setRange(self._low, v))


class ctkRangeWidget(
    with_properties(qt.QWidget, decimals=2, singleStep=1.0, suffix="", tracking=True)
):
    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)
    rangeChanged = Signal(float, float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._range, self._values = (0.0, 99.0), (0.0, 99.0)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._boxes = (qt.QDoubleSpinBox(), qt.QDoubleSpinBox())
        for box in self._boxes:
            row.addWidget(box)
            box.connect("valueChanged(double)", self._box_changed)
        self._show()

    def setValues(self, low: float, high: float) -> None:
        first, last = self._range
        low, high = sorted(min(max(float(v), first), last) for v in (low, high))
        before, self._values = self._values, (low, high)
        self._show()
        if low != before[0]:
            self.minimumValueChanged.emit(low)
        if high != before[1]:
            self.maximumValueChanged.emit(high)
        if (low, high) != before:
            self.valuesChanged.emit(low, high)

    def setRange(self, low: float, high: float) -> None:
        if (low, high) != self._range:
            self._range = (float(low), float(high))
            self._show()
            self.rangeChanged.emit(*self._range)
            self.setValues(*self._values)

    def propertyWritten(self, name: str) -> None:
        if "_boxes" in self.__dict__:
            self._show()

    def _box_changed(self, _: float) -> None:
        self.setValues(self._boxes[0].value, self._boxes[1].value)

    def _show(self) -> None:
        for box, value in zip(self._boxes, self._values, strict=True):
            box.blockSignals(True)
            box.setDecimals(self.decimals)
            box.setSingleStep(self.singleStep)
            box.setRange(*self._range)
            box.setValue(value)
            box.blockSignals(False)

    minimum = Property(
        float, lambda self: self._range[0], lambda self, v: self.setRange(v, self._range[1])
    )
    maximum = Property(
        float, lambda self: self._range[1], lambda self, v: self.setRange(self._range[0], v)
    )
    minimumValue = Property(
        float, lambda self: self._values[0], lambda self, v: self.setValues(v, self._values[1])
    )
    maximumValue = Property(
        float, lambda self: self._values[1], lambda self, v: self.setValues(self._values[0], v)
    )


class ctkPathLineEdit(
    with_properties(
        qt.QWidget, nameFilters=[], settingKey="", showHistoryButton=True, showBrowseButton=True
    )
):
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._edit, self._browse = qt.QLineEdit(), qt.QToolButton()
        self._browse.text = "..."
        for part in (self._edit, self._browse):
            row.addWidget(part)
        self._edit.connect("textChanged(QString)", self.currentPathChanged.emit)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)

    def addCurrentPathToHistory(self) -> None:
        """Do nothing: the host has no history of paths."""

    currentPath = Property(str, lambda self: self._edit.text, setCurrentPath)


class ctkDirectoryButton(qt.QPushButton):
    directoryChanged = Signal(str)

    def setDirectory(self, path: str) -> None:
        if path != self._directory():
            self._path = path
            self.setText(path)
            self.directoryChanged.emit(path)

    def _directory(self) -> str:
        return self.__dict__.get("_path", "")

    directory = Property(str, _directory, setDirectory)
