"""Stand-ins for qMRML and qSlicer widgets: containers, sequence controls, place mode."""

from __future__ import annotations

from typing import Any, ClassVar

import qt
import slicer
import vtk
from PySide6.QtCore import Property, Signal

from .ctk_inputs import ctkSliderWidget
from .declare import Observers, with_properties


class qMRMLWidget(qt.QWidget):
    """A container that gives its scene to the widgets that the .ui file connects."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    pass


class qMRMLSliderWidget(ctkSliderWidget):
    def setMRMLScene(self, scene: Any) -> None:
        """Do nothing: the host has no units."""


class _BrowserWidget:
    """Base class of widgets that follow a `vtkMRMLSequenceBrowserNode`."""

    def setMRMLSequenceBrowserNode(self: Any, browser: Any) -> None:
        self._observers.clear()
        self._browser = browser
        if browser is not None:
            self._observers.add(browser, vtk.vtkCommand.ModifiedEvent, "updateWidgetFromMRML")
        self.updateWidgetFromMRML()


class qMRMLSequenceBrowserSeekWidget(_BrowserWidget, qMRMLWidget):
    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._observers, self._browser = Observers(self), None
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider, self._label = qt.QSlider(qt.Qt.Horizontal), qt.QLabel()
        for part in (self._slider, self._label):
            row.addWidget(part)
        self._slider.connect("valueChanged(int)", self.setSelectedItemNumber)
        self.updateWidgetFromMRML()

    def slider(self) -> Any:
        return self._slider

    def setSelectedItemNumber(self, number: int) -> None:
        if self._browser is not None:
            self._browser.SetSelectedItemNumber(number)

    def updateWidgetFromMRML(self) -> None:
        count = self._browser.GetNumberOfItems() if self._browser else 0
        self.enabled = count > 0
        self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, count - 1))
        self._slider.setValue(self._browser.GetSelectedItemNumber() if count else 0)
        self._slider.blockSignals(False)
        self._label.text = str(self._slider.value) if count else ""


class qMRMLSequenceBrowserPlayWidget(
    _BrowserWidget,
    with_properties(
        qMRMLWidget,
        RecordingControlsVisible=True,
        PlayPauseShortcut="",
        PreviousFrameShortcut="",
        NextFrameShortcut="",
    ),
):
    _STEPS = (
        ("SP_MediaSkipBackward", "onVcrFirst"),
        ("SP_MediaSeekBackward", "onVcrPrevious"),
        ("SP_MediaPlay", "onVcrPlayPause"),
        ("SP_MediaSeekForward", "onVcrNext"),
        ("SP_MediaSkipForward", "onVcrLast"),
    )
    _KEYS: ClassVar[dict[str, str]] = {
        "Ctrl+Shift+Down": "onVcrPlayPause",
        "Ctrl+Shift+Left": "onVcrPrevious",
        "Ctrl+Shift+Right": "onVcrNext",
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._observers, self._browser = Observers(self), None
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for icon, slot in self._STEPS:
            button = qt.QToolButton()
            button.icon = self.style().standardIcon(getattr(qt.QStyle, icon))
            button.connect("clicked()", getattr(self, slot))
            row.addWidget(button)
        for key, slot in self._KEYS.items():  # as in Slicer, without a way to change them
            qt.QShortcut(qt.QKeySequence(key), self).connect("activated()", getattr(self, slot))
        self.updateWidgetFromMRML()

    def updateWidgetFromMRML(self) -> None:
        self.enabled = self._browser is not None and self._browser.GetNumberOfItems() > 0

    def onVcrFirst(self) -> None:
        self._browser.SelectFirstItem()

    def onVcrLast(self) -> None:
        self._browser.SelectLastItem()

    def onVcrPrevious(self) -> None:
        self._browser.SelectNextItem(-1)

    def onVcrNext(self) -> None:
        self._browser.SelectNextItem(1)

    def onVcrPlayPause(self) -> None:
        self._browser.SetPlaybackActive(not self._browser.GetPlaybackActive())

    def setPlaybackEnabled(self, play: bool) -> None:
        self._browser.SetPlaybackActive(play)

    def setPlaybackRateFps(self, fps: float) -> None:
        self._browser.SetPlaybackRateFps(fps)

    def setPlaybackLoopEnabled(self, loop: bool) -> None:
        self._browser.SetPlaybackLooped(loop)


class qSlicerMarkupsPlaceWidget(
    with_properties(
        qSlicerWidget,
        buttonsVisible=True,
        deleteAllControlPointsOptionVisible=True,
        unsetLastControlPointOptionVisible=False,
        unsetAllControlPointsOptionVisible=False,
        placeModePersistency=False,
    )
):
    """Controls place mode through the selection and interaction nodes, as in Slicer."""

    activeMarkupsPlaceModeChanged = Signal(bool)
    activeMarkupsFiducialPlaceModeChanged = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._was_placing = False
        self._observers = Observers(self)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._place, self._delete = qt.QToolButton(), qt.QToolButton()
        self._place.text, self._delete.text = "Place", "Delete"
        self._place.checkable = True
        for part in (self._place, self._delete):
            row.addWidget(part)
        self._place.connect("toggled(bool)", self.setPlaceModeEnabled)
        self._delete.connect("clicked()", self.deleteLastPoint)
        self._update()

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._observers.clear()
        for node in (self.interactionNode(), self.selectionNode()):
            if node is not None:
                self._observers.add(node, vtk.vtkCommand.ModifiedEvent, "_update")
        interaction = self.interactionNode()
        if interaction is not None:
            event = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
            self._observers.add(interaction, event, "_update")
        self._update()

    def currentNode(self) -> Any:
        return self._node

    def currentMarkupsNode(self) -> Any:
        return self._node

    def currentMarkupsFiducialNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        if node is not self._node:
            self.setPlaceModeEnabled(False)
            self._node = node
            self._update()

    def interactionNode(self) -> Any:
        return self._singleton("vtkMRMLInteractionNodeSingleton")

    def selectionNode(self) -> Any:
        return self._singleton("vtkMRMLSelectionNodeSingleton")

    def placeButton(self) -> Any:
        return self._place

    def deleteButton(self) -> Any:
        return self._delete

    def deleteLastPoint(self) -> None:
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    def setCurrentNodeActive(self, active: bool) -> None:
        selection = self.selectionNode()
        if active and self._node is not None:
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
        elif self._is_active():
            selection.SetActivePlaceNodeID(None)

    def setPlaceModeEnabled(self, enable: bool) -> None:
        interaction = self.interactionNode()
        if interaction is None or enable == self._is_placing():
            return
        if enable:
            if self._node is None:
                return
            self.setCurrentNodeActive(True)
            interaction.SetPlaceModePersistence(self.placeModePersistency)
            interaction.SetCurrentInteractionMode(interaction.Place)
        else:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._update()

    def _singleton(self, node_id: str) -> Any:
        return self._scene.GetNodeByID(node_id) if self._scene is not None else None

    def _is_active(self) -> bool:
        selection = self.selectionNode()
        if selection is None or self._node is None:
            return False
        return selection.GetActivePlaceNodeID() == self._node.GetID()

    def _is_placing(self) -> bool:
        interaction = self.interactionNode()
        if interaction is None or not self._is_active():
            return False
        return interaction.GetCurrentInteractionMode() == interaction.Place

    def _update(self) -> None:
        placing = self._is_placing()
        self._place.enabled = self._delete.enabled = self._node is not None
        self._place.blockSignals(True)
        self._place.checked = placing
        self._place.blockSignals(False)
        if placing != self._was_placing:
            self._was_placing = placing
            self.activeMarkupsPlaceModeChanged.emit(placing)
            self.activeMarkupsFiducialPlaceModeChanged.emit(placing)

    placeModeEnabled = Property(bool, _is_placing, setPlaceModeEnabled)
    currentNodeActive = Property(bool, _is_active, setCurrentNodeActive)
