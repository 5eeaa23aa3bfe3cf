"""The Segment Editor module, which records what it edits. Tests paint by themselves."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .modules import LoadableModule, modules
from .mrml_widgets import qMRMLWidget


class qMRMLSegmentEditorWidget(qMRMLWidget):
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

    def setActiveEffectByName(self, name: str) -> None:
        self._effect = name


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
