"""The Segment Editor module, which records what it edits. Tests paint by themselves."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .modules import LoadableModule, modules
from .mrml_widgets import qMRMLWidget


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Shows the names of its effects as buttons, and records what is set."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._segmentation = self._source = None
        self._segment = self._effect = ""

    def segmentationNode(self) -> Any:
        return self._segmentation

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentation = node

    def sourceVolumeNode(self) -> Any:
        return self._source

    def setSourceVolumeNode(self, node: Any) -> None:
        self._source = node

    def currentSegmentID(self) -> str:
        return self._segment

    def setCurrentSegmentID(self, segment: str) -> None:
        self._segment = segment

    def activeEffectName(self) -> str:
        """Return the name of the active effect; only the host has this method."""
        return self._effect

    def setActiveEffectByName(self, name: str) -> None:
        self._effect = name
        for button in self.findChildren(qt.QPushButton):
            button.setChecked(button.text == name)

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self.node = node

    def setEffectNameOrder(self, names: list[str]) -> None:
        row = qt.QHBoxLayout(self)
        for name in names:
            button = qt.QPushButton(name)
            button.setCheckable(True)
            button.connect("clicked(bool)", lambda _on, name=name: self.setActiveEffectByName(name))
            row.addWidget(button)

    def setUnorderedEffectsVisible(self, on: bool) -> None:
        pass

    setSegmentationNodeSelectorVisible = setUnorderedEffectsVisible
    setSourceVolumeNodeSelectorVisible = setUnorderedEffectsVisible
    setSwitchToSegmentationsButtonVisible = setUnorderedEffectsVisible
    setAddRemoveSegmentButtonsVisible = setUnorderedEffectsVisible
    setShow3DButtonVisible = setUnorderedEffectsVisible

    def installKeyboardShortcuts(self) -> None:
        pass

    def uninstallKeyboardShortcuts(self) -> None:
        pass

    def removeViewObservations(self) -> None:
        pass


class SegmentEditorPanel(qt.QWidget):
    """The module's panel; `slicer.modules.SegmentEditorWidget` is the object with the editor."""

    def __init__(self) -> None:
        super().__init__()
        self.editor = qMRMLSegmentEditorWidget(self)
        self.editor.setMRMLScene(slicer.mrmlScene)

    def enter(self) -> None:
        """Let the editor use the selected nodes."""

    def exit(self) -> None:
        self.editor.setActiveEffectByName("")


class SegmentEditorModule(LoadableModule):
    def __init__(self) -> None:
        super().__init__("SegmentEditor", None)
        self._widget: SegmentEditorPanel | None = None

    def widgetRepresentation(self) -> SegmentEditorPanel:
        if self._widget is None:
            self._widget = modules.SegmentEditorWidget = SegmentEditorPanel()
        return self._widget
