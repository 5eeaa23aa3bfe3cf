"""Helpers for nodes: checks, coordinates, removal, and what a bare scene needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import slicer
import vtk

from surgsam2.errors import InputError

# The sequences logic of each scene that is not an application's. An entry does not keep the
# scene alive; it is removed with the scene's Python object.
_LOGICS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

# A module of Slicer registers these classes; without them markups are not saved, silently.
_MARKUPS_FILES = ("vtkMRMLMarkupsJsonStorageNode", "vtkMRMLMarkupsROIJsonStorageNode")


def prepare_scene(scene: Any) -> None:
    """Give a bare ``vtkMRMLScene`` what Slicer's own scene has from its modules.

    A logic keeps the nodes that show sequences up to date, and markups can be saved. In
    Slicer there is nothing to do.

    Raises:
        InputError: `scene` is no scene.
    """
    if not isinstance(scene, slicer.vtkMRMLScene):
        raise InputError(f"a vtkMRMLScene is needed, got {describe(scene)}")
    # the logic registers this class
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
    """Register labelmaps with the segmentation classes, which cannot copy one otherwise.

    This is done once per process; Slicer has a module that does it at its start.
    """
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    if factory.ConstructRepresentationObjectByRepresentation("Binary labelmap") is None:
        slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(slicer.vtkMRMLScene())


def checked_node(node: Any, class_name: str, what: str) -> Any:
    """Return a node that is of a class and in a scene.

    Args:
        node: the node.
        class_name: name of the VTK class.
        what: what the node is for, for the message.

    Raises:
        InputError: there is no node, it is of another class, or it was deleted.
    """
    if node is None:
        raise InputError(f"no {what} is chosen; choose a {class_name}")
    if not isinstance(node, slicer.vtkMRMLNode) or not node.IsA(class_name):
        raise InputError(f"the {what} must be a {class_name}, got {describe(node)}")
    if node.GetScene() is None:
        raise InputError(f"the {what} {node.GetName()!r} was deleted; choose another")
    return node


def describe(thing: Any) -> str:
    """Return a few words about a node, or anything else, for a message."""
    if isinstance(thing, slicer.vtkMRMLNode):
        return f"the {thing.GetClassName()} {thing.GetName()!r}"
    return "nothing" if thing is None else type(thing).__name__


def world_to_pixels(volume: Any) -> Any:
    """Return the ``vtkGeneralTransform`` from world RAS to the (i, j, k) of a volume's voxels.

    It includes the transforms that the volume lies under, linear or not.
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


def pixel_of(volume: Any, ras: Sequence[float]) -> tuple[float, float]:
    """Return the pixel coordinates (x, y) in a volume's image of a point in world RAS.

    The point may lie outside the image.
    """
    x, y, _ = world_to_pixels(volume).TransformPoint(*map(float, ras))
    return x, y


def ras_of(volume: Any, x: float, y: float) -> tuple[float, float, float]:
    """Return the world RAS coordinates of the pixel coordinates (x, y) in a volume's image."""
    point: tuple[float, float, float] = (
        world_to_pixels(volume).GetInverse().TransformPoint(float(x), float(y), 0.0)
    )
    return point


def attribute_names(node: Any) -> tuple[str, ...]:
    """Return the names of a node's attributes; none for what is not a node."""
    return tuple(node.GetAttributeNames()) if isinstance(node, slicer.vtkMRMLNode) else ()


class NewNodes:
    """Nodes added to a scene in a ``with`` block; they are removed again when the block fails.

    Args:
        scene: a ``vtkMRMLScene``.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._nodes: list[Any] = []

    def add(self, class_name: str, name: str) -> Any:
        """Add a new node of this class, under a name that no other node has, and return it."""
        unique = self._scene.GenerateUniqueName(_saveable(name))
        node = self._scene.AddNewNodeByClass(class_name, unique)
        self._nodes.append(node)
        return node

    def remove(self) -> None:
        """Remove the nodes that were added."""
        for node in reversed(self._nodes):
            remove_node(node)

    def __enter__(self) -> NewNodes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.remove()


def _saveable(name: str) -> str:
    """Return a name under which a node can be saved and read again.

    It names a file in the archive; MRML writes an ampersand there that it cannot read.
    """
    return name.replace("&", "+").strip(". ") or "unnamed"


def remove_node(node: Any) -> None:
    """Remove a node, and the display and storage nodes that only it has, from its scene."""
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


def observe(node: Any, event: int, callback: Callable[[], object]) -> Callable[[], None]:
    """Call a function at every event of a node.

    Args:
        node: a VTK object.
        event: number of the event.
        callback: called without arguments.

    Returns:
        A function that ends the calls.
    """
    tag = node.AddObserver(event, _Caller(callback).fire)
    return lambda: node.RemoveObserver(tag)


class _Caller:
    """Calls a function for an observer.

    It is an object, not a lambda: the garbage collector may clear an observer that VTK still
    calls when nobody ended it. A cleared function crashes the process, a cleared object does not.
    """

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def fire(self, caller: Any, name: str) -> None:
        """Call the function; VTK gives the caller and the name of the event."""
        self._callback()
