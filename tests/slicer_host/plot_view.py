"""Plot views with their nodes and their signal; they draw nothing."""

from __future__ import annotations

from typing import Any

import qt
from PySide6.QtCore import Signal


class qMRMLPlotView(qt.QWidget):
    """A plot view whose signal for selected points is emitted by tests."""

    dataSelected = Signal(object, object)

    def __init__(self, node: Any, parent: Any = None) -> None:
        super().__init__(parent)
        self._node = node

    def mrmlPlotViewNode(self) -> Any:
        return self._node


class qMRMLPlotWidget(qt.QWidget):
    """The widget of a plot view of the layout."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node
        self._view = qMRMLPlotView(node, self)

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def plotView(self) -> qMRMLPlotView:
        return self._view
