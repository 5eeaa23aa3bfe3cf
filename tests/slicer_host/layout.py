"""`slicer.app.layoutManager()`: real slice logics and plot views without windows."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from PySide6.QtCore import Signal

from .plot_view import qMRMLPlotWidget

_VIEWS = ("Red", "Yellow", "Green")


class SliceInteractorStyle:
    """Stands for `vtkMRMLSliceViewInteractorStyle`: which actions of the mouse are enabled."""

    BrowseSlice = slicer.vtkMRMLSliceViewInteractorStyle.BrowseSlice
    AdjustWindowLevelBackground = slicer.vtkMRMLSliceViewInteractorStyle.AdjustWindowLevelBackground
    AdjustWindowLevelForeground = slicer.vtkMRMLSliceViewInteractorStyle.AdjustWindowLevelForeground

    def __init__(self) -> None:
        self.enabled = slicer.vtkMRMLSliceViewInteractorStyle.AllActionsMask
        self._interactor = vtk.vtkRenderWindowInteractor()

    def GetInteractor(self) -> Any:
        return self._interactor

    def SetInteractor(self, interactor: Any) -> None:
        """Let another window's events be observed; a `MouseSliceView` brings its own."""
        self._interactor = interactor

    def SetActionEnabled(self, actions: int, enable: bool) -> None:
        self.enabled = self.enabled | actions if enable else self.enabled & ~actions


class qMRMLSliceView(qt.QWidget):
    """The view of a slice widget, which gives mouse events to observers and draws nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._style = SliceInteractorStyle()

    def interactorObserver(self) -> SliceInteractorStyle:
        return self._style


class qMRMLSliceWidget(qt.QWidget):
    """A slice view that computes its picture (`sliceLogic()`) but does not draw it."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic
        self._view = qMRMLSliceView()

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


class qSlicerLayoutManager(qt.QObject):
    layoutChanged = Signal(int)

    threeDViewCount = 0
    tableViewCount = 0

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._scene = scene
        self._logics = vtk.vtkCollection()
        self._widgets = {name: self._make_view(name, application_logic) for name in _VIEWS}
        application_logic.SetSliceLogics(self._logics)
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(scene)
        self._plots: dict[Any, qMRMLPlotWidget] = {}

    def _make_view(self, name: str, application_logic: Any) -> qMRMLSliceWidget:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(self._scene)
        logic.AddSliceNode(name)
        self._logics.AddItem(logic)
        return qMRMLSliceWidget(logic)

    def mrmlScene(self) -> Any:
        return self._scene

    def layoutLogic(self) -> Any:
        return self._layout_logic

    def mrmlSliceLogics(self) -> Any:
        return self._logics

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        return self._widgets.get(name)

    def _plot_widgets(self) -> list[qMRMLPlotWidget]:
        """Return a widget for each plot view node that a layout has made in the scene."""
        kind = "vtkMRMLPlotViewNode"
        count = self._scene.GetNumberOfNodesByClass(kind)
        nodes = [self._scene.GetNthNodeByClass(k, kind) for k in range(count)]
        self._plots = {node: self._plots.get(node) or qMRMLPlotWidget(node) for node in nodes}
        return list(self._plots.values())

    @property
    def plotViewCount(self) -> int:
        return len(self._plot_widgets())

    def plotWidget(self, index: int) -> qMRMLPlotWidget | None:
        widgets = self._plot_widgets()
        return widgets[index] if 0 <= index < len(widgets) else None

    def setLayout(self, layout: int) -> None:
        self._layout_logic.GetLayoutNode().SetViewArrangement(layout)
        self.layoutChanged.emit(layout)

    @property
    def layout(self) -> int:
        return self._layout_logic.GetLayoutNode().GetViewArrangement()

    def resetSliceViews(self) -> None:
        for widget in self._widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """Do nothing: there are no 3D views."""
