"""`slicer.qMRMLNodeComboBox`: chooses a node of the scene."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from PySide6.QtCore import Property, Signal

from .declare import Observers, with_properties

_SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent", "EndCloseEvent")


class qMRMLNodeComboBox(
    with_properties(
        qt.QWidget,
        nodeTypes=[],
        hideChildNodeTypes=[],
        showHidden=False,
        showChildNodeTypes=True,
        baseName="",
        noneEnabled=False,
        addEnabled=True,
        removeEnabled=True,
        editEnabled=False,
        renameEnabled=False,
        selectNodeUponCreation=True,
        noneDisplay="None",
        interactionNodeSingletonTag="",
    )
):
    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._current = ""
        self._attributes: list[tuple[str, str, str | None]] = []
        self._scene_observers, self._node_observers = Observers(self), Observers(self)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._box = qt.QComboBox()
        row.addWidget(self._box)
        self._box.connect("activated(int)", self._chosen_by_user)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene_observers.clear()
        self._scene = scene
        if scene is not None:
            for event in _SCENE_EVENTS:
                self._scene_observers.add(scene, getattr(slicer.vtkMRMLScene, event), "refresh")
        self.refresh()

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        self._attributes.append((node_type, name, value))
        self.refresh()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes()[index]

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node else "")

    def setCurrentNodeID(self, node_id: str | None) -> None:
        known = [node.GetID() for node in self._nodes()]
        self._select(node_id if node_id in known else "")

    def addNode(self, node_type: str | None = None) -> Any:
        node = self._scene.AddNewNodeByClass(node_type or self.nodeTypes[0], self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def propertyWritten(self, name: str) -> None:
        if "_box" in self.__dict__:
            self.refresh()

    def refresh(self) -> None:
        """Fill the list again after a change of the scene, and keep a node selected."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        self._node_observers.clear()
        for node in nodes:
            self._node_observers.add(node, vtk.vtkCommand.ModifiedEvent, "_show")
        known = [node.GetID() for node in nodes]
        if self._current in known:
            self._show()
        else:
            self._select(known[0] if known and not self.noneEnabled else "")

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
        return [node for node in every if self._accepts(node)]

    def _accepts(self, node: Any) -> bool:
        is_a = node.IsA if self.showChildNodeTypes else lambda kind: node.GetClassName() == kind
        if not any(is_a(kind) for kind in self.nodeTypes):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        for kind, name, value in self._attributes:
            found = node.GetAttribute(name)
            if node.IsA(kind) and (found is None or value not in (None, found)):
                return False
        return True

    def _select(self, node_id: str) -> None:
        if node_id == self._current:
            self._show()
            return
        self._current = node_id
        self._show()
        node = self.currentNode()
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def _show(self) -> None:
        self._box.blockSignals(True)
        self._box.clear()
        if self.noneEnabled or not self._nodes():
            self._box.addItem(self.noneDisplay, "")
        for node in self._nodes():
            self._box.addItem(node.GetName(), node.GetID())
        self._box.setCurrentIndex(max(0, self._box.findData(self._current)))
        self._box.blockSignals(False)

    def _chosen_by_user(self, index: int) -> None:
        self._select(self._box.itemData(index))
        self.nodeActivated.emit(self.currentNode())

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)
