"""Checks of nodes, and what a scene needs to follow its sequence browsers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import slicer
import vtk

from surgsam2.errors import InputError

# The sequences logic of each scene that is not an application's. The scene is not kept
# alive by it: the entry goes with the scene's Python object.
_LOGICS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

# Registered by a module that Slicer loads; without them markups are silently not saved.
_MARKUPS_FILES = ("vtkMRMLMarkupsJsonStorageNode", "vtkMRMLMarkupsROIJsonStorageNode")


def prepare_scene(scene: Any) -> None:
    """Gives a bare ``vtkMRMLScene`` what Slicer's own scene has from its modules.

    A logic keeps the nodes that show sequences up to date, and markups can be saved. In
    Slicer there is nothing to do. Raises `InputError` when `scene` is no scene.
    """
    if not isinstance(scene, slicer.vtkMRMLScene):
        raise InputError(f"a vtkMRMLScene is needed, got {describe(scene)}")
    # the logic is what registers this class
    if not scene.IsNodeClassRegistered("vtkMRMLSequenceBrowserNode"):
        logic = slicer.vtkSlicerSequencesLogic()
        logic.SetMRMLScene(scene)
        _LOGICS[scene] = logic
    for name in _MARKUPS_FILES:
        if not scene.IsNodeClassRegistered(name) and hasattr(slicer, name):
            scene.RegisterNodeClass(getattr(slicer, name)())
    _register_labelmaps()


@cache
def _register_labelmaps() -> None:
    """Tells the segmentation classes what a labelmap is, without which they cannot copy one.

    Registered once per process, by a module that Slicer loads at its start.
    """
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    if factory.ConstructRepresentationObjectByRepresentation("Binary labelmap") is None:
        slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(slicer.vtkMRMLScene())


def checked_node(node: Any, class_name: str, what: str) -> Any:
    """`node`, when it is of this class and in a scene; else `InputError` naming `what`."""
    if node is None:
        raise InputError(f"no {what} is chosen; choose a {class_name}")
    if not isinstance(node, slicer.vtkMRMLNode) or not node.IsA(class_name):
        raise InputError(f"the {what} must be a {class_name}, got {describe(node)}")
    if node.GetScene() is None:
        raise InputError(f"the {what} {node.GetName()!r} was deleted; choose another")
    return node


def describe(thing: Any) -> str:
    """A node, or anything else, in a few words for a message."""
    if isinstance(thing, slicer.vtkMRMLNode):
        return f"the {thing.GetClassName()} {thing.GetName()!r}"
    return "nothing" if thing is None else type(thing).__name__


def world_to_pixels(volume: Any) -> Any:
    """``vtkGeneralTransform`` from world RAS to the (i, j, k) of a volume's voxels.

    With the transforms that the volume lies under, linear or not.
    """
    matrix = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        None, volume.GetParentTransformNode(), transform
    )
    transform.PostMultiply()
    transform.Concatenate(matrix)
    return transform


class NewNodes:
    """Nodes added to a scene inside the block are removed again when it fails."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._nodes: list[Any] = []

    def add(self, class_name: str, name: str) -> Any:
        """A new node of this class, with a name that no other node has."""
        unique = self._scene.GenerateUniqueName(_saveable(name))
        node = self._scene.AddNewNodeByClass(class_name, unique)
        self._nodes.append(node)
        return node

    def remove(self) -> None:
        for node in reversed(self._nodes):
            remove_node(node)

    def __enter__(self) -> NewNodes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.remove()


def _saveable(name: str) -> str:
    """A name under which a node can be saved and read again: it names a file in the archive.

    MRML writes an ampersand there that it cannot read.
    """
    return name.replace("&", "+").strip(". ") or "unnamed"


def remove_node(node: Any) -> None:
    """Takes a node, and the display and storage nodes that only it has, out of its scene."""
    scene = node.GetScene()
    if scene is None:
        return
    helpers = []
    if isinstance(node, slicer.vtkMRMLDisplayableNode):
        helpers += [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    if isinstance(node, slicer.vtkMRMLStorableNode):
        helpers += [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for helper in helpers:
        if helper is not None and helper.GetScene() is scene:
            scene.RemoveNode(helper)


def observe(node: Any, event: int, callback: Callable[[], None]) -> Callable[[], None]:
    """Calls `callback` at every `event` of `node`; returns what ends that."""
    tag = node.AddObserver(event, _Caller(callback).fire)
    return lambda: node.RemoveObserver(tag)


class _Caller:
    """Not a lambda: the garbage collector may empty an observer that VTK still calls, when
    nobody ended it. An emptied function crashes the process, an emptied object does not."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def fire(self, caller: Any, name: str) -> None:
        self._callback()
