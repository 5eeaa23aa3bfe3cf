"""Stand-ins for CTK's buttons, message boxes and collapsible sections."""

from __future__ import annotations

from typing import Any

import qt
from PySide6.QtCore import Property, Signal

from .declare import with_properties
from .dialogs import record

_HEADER = 26
"""Height of a section's title in pixels."""


class Collapsible:
    """Base class of widgets whose children can be hidden."""

    def propertyWritten(self: Any, name: str) -> None:
        if name != "collapsed":
            self.update()
            return
        if self.collapsed:
            shown = [child for child in self._widgets() if not child.isHidden()]
            self._hidden_by_collapse = shown
        for child in self.__dict__.get("_hidden_by_collapse", []):
            child.setVisible(not self.collapsed)
        self.updateGeometry()
        self.setMaximumHeight(_HEADER if self.collapsed else 16777215)
        self.contentsCollapsed.emit(self.collapsed)

    def childEvent(self: Any, event: Any) -> None:
        child = event.child()
        if event.added() and child.isWidgetType() and self.collapsed:
            child.setVisible(False)
            self.__dict__.setdefault("_hidden_by_collapse", []).append(child)

    def _widgets(self: Any) -> list[Any]:
        return [child for child in self.children() if child.isWidgetType()]


class ctkCollapsibleButton(
    Collapsible, with_properties(qt.QWidget, text="", collapsed=False, flat=False)
):
    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    clicked = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        texts = [a for a in arguments if isinstance(a, str)]
        super().__init__(*[a for a in arguments if not isinstance(a, str)])
        self.text = texts[0] if texts else ""
        self.setContentsMargins(0, _HEADER, 0, 0)

    @property
    def checked(self) -> bool:
        return not self.collapsed

    @checked.setter
    def checked(self, value: bool) -> None:
        self.collapsed = not value
        self.toggled.emit(value)

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() < _HEADER:
            self.checked = self.collapsed
            self.clicked.emit(self.checked)

    def paintEvent(self, event: Any) -> None:
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = qt.QRect(0, 0, self.width, _HEADER - 2)
        self.style().drawControl(qt.QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = "▸" if self.collapsed else "▾"
        painter.drawText(
            option.rect.adjusted(8, 0, 0, 0), qt.Qt.AlignVCenter, f"{arrow}  {self.text}"
        )
        painter.end()


class ctkCollapsibleGroupBox(Collapsible, with_properties(qt.QGroupBox, collapsed=False)):
    contentsCollapsed = Signal(bool)


class ctkCheckBox(qt.QCheckBox):
    pass


class ctkMenuButton(qt.QPushButton):
    pass


class ctkComboBox(with_properties(qt.QComboBox, defaultText="")):
    pass


class ctkColorPickerButton(with_properties(qt.QPushButton, displayColorName=True)):
    colorChanged = Signal(qt.QColor)

    def _color(self) -> Any:
        return self.__dict__.get("_chosen", qt.QColor("black"))

    def setColor(self, color: Any) -> None:
        if color != self._color():
            self._chosen = qt.QColor(color)
            self.colorChanged.emit(self._chosen)

    color = Property(qt.QColor, _color, setColor)


class ctkMessageBox(with_properties(qt.QMessageBox, dontShowAgainSettingsKey="")):
    """A message box that records its text and returns the answer that the test chose."""

    def exec_(self) -> Any:
        return record(self)
