"""Showing videos and pictures in the views, and finding a video in the scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import open_video_nodes
from SurgSAM2Lib.live.source import PictureNode
from SurgSAM2Lib.prompts.strokes import StrokeMarkups

VIEW = "Red"
"""Name of the slice view that shows pictures."""


class PictureLayout:
    """The layout with one large slice view, and the user's layout to go back to."""

    def __init__(self) -> None:
        self._before: int | None = None

    def use(self) -> None:
        """Show one large slice view, and remember the present layout."""
        manager = slicer.app.layoutManager()
        wanted = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
        if manager is not None and manager.layout != wanted:
            self._before = manager.layout
            manager.setLayout(wanted)

    def restore(self) -> None:
        """Go back to the remembered layout, unless the user has chosen another one."""
        manager = slicer.app.layoutManager()
        wanted = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
        if manager is not None and self._before is not None and manager.layout == wanted:
            manager.setLayout(self._before)
        self._before = None


class StrokeDrags:
    """Tells what draws strokes about the left mouse button over the picture.

    Args:
        receivers: what draws strokes; `StrokeMarkups.pressed`, `moved` and `released` are called.
    """

    FIRST = 1.0
    """Priority above that of Slicer's own observer, which hides from later ones what it uses."""
    CLICK = 4
    """A mouse that moves by at most this many pixels between press and release has clicked."""

    def __init__(self, receivers: Sequence[StrokeMarkups]) -> None:
        self._receivers = receivers
        self._start: tuple[int, int] | None = None  # where the button went down, until it is a drag
        self._interactor: Any = None
        self._observers: list[int] = []

    def activate(self) -> None:
        """Watch the mouse. Does nothing without views."""
        manager = slicer.app.layoutManager()
        if self._interactor is not None or manager is None:
            return
        view = manager.sliceWidget(VIEW).sliceView()
        self._interactor = view.interactorObserver().GetInteractor()
        for event, action in (
            ("LeftButtonPressEvent", self._pressed),
            ("MouseMoveEvent", self._moved),
            ("LeftButtonReleaseEvent", self._released),
        ):
            self._observers.append(self._interactor.AddObserver(event, action, self.FIRST))

    def deactivate(self) -> None:
        """Stop watching."""
        for tag in self._observers:
            self._interactor.RemoveObserver(tag)
        self._observers.clear()
        self._interactor = None

    def _pressed(self, caller: Any, _event: str) -> None:
        if caller.GetShiftKey() or caller.GetControlKey() or caller.GetAltKey():
            return  # Slicer moves the picture
        self._start = caller.GetEventPosition()
        for receiver in self._receivers:
            receiver.pressed()

    def _moved(self, caller: Any, _event: str) -> None:
        x, y = caller.GetEventPosition()
        if self._start is not None and math.dist(self._start, (x, y)) <= self.CLICK:
            return
        self._start = None
        for receiver in self._receivers:
            receiver.moved()

    def _released(self, _caller: Any, _event: str) -> None:
        for receiver in self._receivers:
            receiver.released()


class WheelSteps:
    """Steps through the frames with the mouse wheel over the picture; Ctrl and wheel still zoom.

    Args:
        on_step: called with 1 or -1, the number of frames to go on.
    """

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self._on_step = on_step
        self._style: Any = None
        self._interactor: Any = None  # that of the style when the wheel was taken
        self._observers: list[int] = []

    def activate(self) -> None:
        """Take the wheel. Does nothing without views."""
        manager = slicer.app.layoutManager()
        if self._style is not None or manager is None:
            return
        self._style = manager.sliceWidget(VIEW).sliceView().interactorObserver()
        self._let_wheel_browse(False)
        self._interactor = self._style.GetInteractor()
        for event, action in (
            ("MouseWheelForwardEvent", self._forward),
            ("MouseWheelBackwardEvent", self._backward),
        ):
            self._observers.append(self._interactor.AddObserver(event, action))

    def deactivate(self) -> None:
        """Let the wheel browse through slices again."""
        if self._style is None:
            return
        for tag in self._observers:
            self._interactor.RemoveObserver(tag)
        self._observers.clear()
        self._let_wheel_browse(True)
        self._style = self._interactor = None

    def _forward(self, _caller: Any, _event: str) -> None:
        self._turned(1)

    def _backward(self, _caller: Any, _event: str) -> None:
        self._turned(-1)

    def _turned(self, step: int) -> None:
        if not self._interactor.GetControlKey():
            self._on_step(step)

    def _let_wheel_browse(self, on: bool) -> None:
        """Switch browsing through slices, which would leave the plane of the picture."""
        style = self._style
        # Slicer switches window and level off unless they are named too
        levels = style.AdjustWindowLevelBackground | style.AdjustWindowLevelForeground
        style.SetActionEnabled(style.BrowseSlice | levels, on)


def show_video(browser: Any) -> None:
    """Show a video in the Red view, with the toolbar that plays it."""
    video = open_video_nodes(browser)
    show_picture(video.volume)
    slicer.modules.sequences.setToolBarActiveBrowserNode(browser)
    slicer.modules.sequences.setToolBarVisible(True)


def show_picture(volume: Any) -> None:
    """Show a volume with one picture upright in the Red view, wherever it lies in space."""
    slicer.util.setSliceViewerLayers(background=volume)
    manager = slicer.app.layoutManager()
    if manager is None or volume.GetImageData() is None:
        return
    widget = manager.sliceWidget(VIEW)
    node = widget.mrmlSliceNode()
    _turn_to(node, PictureNode(volume))
    widget.sliceLogic().FitSliceToBackground()


def first_video(scene: Any) -> Any:
    """Return the first sequence browser of the scene that has a video; None without one."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")
    for number in range(count):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        try:
            return open_video_nodes(browser).browser
        except SurgSAM2Error:  # its sequence is no video, or its files are missing
            continue
    return None


def _turn_to(slice_node: Any, picture: PictureNode) -> None:
    """Move a slice view into the plane of a picture, with the picture's top row at the top."""
    centre = np.array(picture.ras_of(picture.width / 2, picture.height / 2))
    origin = np.array(picture.ras_of(0, 0))
    right = np.array(picture.ras_of(1, 0)) - origin
    up = origin - np.array(picture.ras_of(0, 1))
    right, up = right / np.linalg.norm(right), up / np.linalg.norm(up)
    matrix = slice_node.GetSliceToRAS()
    # the third axis is that of Slicer's own axial view, whose axes are left-handed
    for column, axis in enumerate((right, up, np.cross(up, right), centre)):
        for row in range(3):
            matrix.SetElement(row, column, axis[row])
    slice_node.UpdateMatrices()
