"""A slice view with Slicer's real displayable manager for markups and synthetic mouse events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import slicer
import vtk

_MANAGER = "vtkMRMLMarkupsDisplayableManager"


class MouseSliceView:
    """Sends mouse events to a slice view, which places and moves markups as in Slicer.

    Args:
        name: name of the view, such as ``"Red"``.
        width: width of the view in pixels.
        height: height of the view in pixels.
    """

    def __init__(self, name: str = "Red", width: int = 320, height: int = 240) -> None:
        widget = slicer.app.layoutManager().sliceWidget(name)
        logic = widget.sliceLogic()
        application_logic = slicer.app.applicationLogic()
        markups = slicer.modules.markups.logic()
        application_logic.SetModuleLogic("Markups", markups)
        self._node = logic.GetSliceNode()
        self._node.SetDimensions(width, height, 1)
        logic.FitSliceToBackground()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetSize(width, height)
        renderer = vtk.vtkRenderer()
        self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._observer = widget.sliceView().interactorObserver()
        self._usual_interactor = self._observer.GetInteractor()
        self._observer.SetInteractor(self._interactor)
        self._interactor.SetRenderWindow(self._window)
        # Slicer's style sends what no displayable manager takes to the interactor's own style
        self._rest = vtk.vtkInteractorStyleUser()
        self._interactor.SetInteractorStyle(self._rest)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application_logic)
        if not factory.IsDisplayableManagerRegistered(_MANAGER):
            factory.RegisterDisplayableManager(_MANAGER)
        self._managers = factory.InstantiateDisplayableManagers(renderer)
        self._managers.SetMRMLDisplayableNode(self._node)
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetDisplayableManagers(self._managers)
        self._style.SetSliceLogic(logic)
        self._style.SetInteractor(self._interactor)
        self._shift = False
        self._interactor.Initialize()
        self._window.Render()

    def close(self) -> None:
        """Remove the displayable managers from the scene."""
        self._observer.SetInteractor(self._usual_interactor)
        self._style.SetInteractor(None)
        self._style.SetDisplayableManagers(None)
        self._managers.SetMRMLDisplayableNode(None)
        self._window.Finalize()

    def position_of(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """Return the position in the view of a point in world coordinates, from bottom left."""
        to_view = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._node.GetXYToRAS(), to_view)
        x, y = to_view.MultiplyPoint((*ras, 1.0))[:2]
        return round(x), round(y)

    def move(self, ras: tuple[float, float, float]) -> None:
        """Move the mouse to a point in world coordinates."""
        self._go_to(ras)
        self._interactor.MouseMoveEvent()

    def click(self, ras: tuple[float, float, float]) -> None:
        """Move the mouse to a point and click the left button."""
        self.move(ras)
        self._interactor.LeftButtonPressEvent()
        self._interactor.LeftButtonReleaseEvent()

    def right_click(self, ras: tuple[float, float, float]) -> None:
        """Move the mouse to a point and click the right button."""
        self.move(ras)
        self._interactor.RightButtonPressEvent()
        self._interactor.RightButtonReleaseEvent()

    def double_click(self, ras: tuple[float, float, float]) -> None:
        """Move the mouse to a point and click the left button twice."""
        self.click(ras)
        self._interactor.InvokeEvent("LeftButtonDoubleClickEvent")
        self._interactor.LeftButtonReleaseEvent()

    def drag(self, *places: tuple[float, float, float], shift: bool = False) -> None:
        """Press the left button at the first place and release it at the last one."""
        self._shift = shift
        self.begin_drag(*places)
        self._interactor.LeftButtonReleaseEvent()
        self._shift = False

    def begin_drag(self, *places: tuple[float, float, float]) -> None:
        """Press the left button at the first place and move the mouse over the others."""
        self.move(places[0])
        self._interactor.LeftButtonPressEvent()
        for place in places[1:]:
            self.move(place)

    def end_drag(self, ras: tuple[float, float, float]) -> None:
        """Move the mouse to a point and release the left button."""
        self.move(ras)
        self._interactor.LeftButtonReleaseEvent()

    def _go_to(self, ras: tuple[float, float, float]) -> None:
        x, y = self.position_of(ras)
        self._interactor.SetEventInformation(x, y, 0, int(self._shift), "\0", 0, None)


@contextmanager
def mouse_view(name: str = "Red") -> Iterator[MouseSliceView]:
    """Give a `MouseSliceView` and close it at the end."""
    view = MouseSliceView(name)
    try:
        yield view
    finally:
        view.close()
